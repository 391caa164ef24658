//! A database for each test, cloned from a template. There is one template for each set of
//! migrations.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgPool};
use steward::store::embedded::{Cluster, Search, Settings};
use steward::store::{MIGRATOR, Store};
use tokio::sync::OnceCell;

/// The server that all tests of this process use, and the name of its template database.
struct Server {
    /// The superuser, who creates the databases.
    superuser: PgConnectOptions,
    /// The login of the service, which owns them. It is no superuser, unless `TEST_DATABASE_URL`
    /// names one.
    owner: PgConnectOptions,
    template: String,
}

static SERVER: OnceCell<Server> = OnceCell::const_new();
/// Statics are never dropped. The kernel stops the cluster when this process ends.
static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);
static NUMBER: AtomicU32 = AtomicU32::new(0);

async fn server() -> &'static Server {
    SERVER
        .get_or_init(|| async {
            let (superuser, owner) = match std::env::var("TEST_DATABASE_URL") {
                Ok(url) => {
                    let options = PgConnectOptions::from_str(&url)
                        .expect("TEST_DATABASE_URL must be a PostgreSQL URL");
                    (options.clone(), options)
                }
                Err(_) => start_cluster().await,
            };
            let template = ensure_template(&superuser, &owner).await;
            Server {
                superuser,
                owner,
                template,
            }
        })
        .await
}

/// The options of the superuser and of the login that owns the databases.
async fn start_cluster() -> (PgConnectOptions, PgConnectOptions) {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let folder = base.join(format!("steward-test-{}", std::process::id()));
    remove_when_we_are_gone(&folder);
    let settings = Settings {
        data_dir: folder,
        search: Search::usual(None),
        fetch: true,
        durable: false,
        max_connections: 300,
    };
    let cluster = Cluster::start(&settings)
        .await
        .expect("the throwaway cluster must start");
    let options = (
        cluster.superuser_options("postgres"),
        cluster.options("postgres"),
    );
    *CLUSTER.lock().unwrap() = Some(cluster);
    options
}

/// Starts a shell that waits until this process and the server have ended, and then removes the
/// folder.
fn remove_when_we_are_gone(folder: &Path) {
    let script = r#"read -r _; n=0; while [ -e "$1/postgres/data/postmaster.pid" ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done; rm -rf "$1""#;
    let mut janitor = Command::new("sh");
    janitor
        .args(["-c", script, "janitor"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut janitor, 0);
    let child = janitor.spawn().expect("sh must be there");
    // The pipe stays open until this process ends.
    std::mem::forget(child);
}

async fn ensure_template(superuser: &PgConnectOptions, owner: &PgConnectOptions) -> String {
    let checksums: Vec<u8> = MIGRATOR
        .iter()
        .flat_map(|migration| migration.checksum.iter().copied())
        .collect();
    let hash = data_encoding::HEXLOWER.encode(&steward::hash::sha256(&checksums)[..8]);
    let name = format!("steward_template_{hash}");
    let mut admin = superuser
        .connect()
        .await
        .expect("the test server must answer");
    sqlx::query("select pg_advisory_lock(hashtext('steward.template'))")
        .execute(&mut admin)
        .await
        .unwrap();
    let found =
        sqlx::query_scalar::<_, bool>("select datistemplate from pg_database where datname = $1")
            .bind(&name)
            .fetch_optional(&mut admin)
            .await
            .unwrap();
    if found != Some(true) {
        run(&mut admin, &format!("drop database if exists {name}")).await;
        let login = owner.get_username();
        run(
            &mut admin,
            &format!("create database {name} owner \"{login}\""),
        )
        .await;
        Store::migrate(&owner.clone().database(&name))
            .await
            .expect("the migrations must apply");
        run(
            &mut admin,
            &format!("alter database {name} is_template true allow_connections false"),
        )
        .await;
    }
    admin.close().await.unwrap();
    name
}

async fn run(connection: &mut sqlx::PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}

/// A database with the migrations applied. It is dropped if the test succeeds and kept if it fails.
pub struct TestDatabase {
    pub name: String,
    superuser: PgConnectOptions,
    owner: PgConnectOptions,
}

impl TestDatabase {
    pub async fn new() -> Self {
        let template = &server().await.template;
        Self::create(&format!("template {template}")).await
    }

    /// An empty database, without the migrations.
    pub async fn blank() -> Self {
        Self::create("").await
    }

    /// The same, in a database that knows the lower case of letters beyond ASCII.
    pub async fn with_letters() -> Self {
        Self::create("template template0 encoding 'UTF8' locale 'C.UTF-8'").await
    }

    async fn create(template: &str) -> Self {
        let Server {
            superuser, owner, ..
        } = server().await;
        let name = format!(
            "test_{}_{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::SeqCst)
        );
        let mut admin = superuser.connect().await.unwrap();
        let login = owner.get_username();
        run(
            &mut admin,
            &format!("create database {name} owner \"{login}\" {template}"),
        )
        .await;
        admin.close().await.unwrap();
        Self {
            name,
            superuser: superuser.clone(),
            owner: owner.clone(),
        }
    }

    /// The connection options of the service: the login owns the database, and is no superuser.
    pub fn options(&self) -> PgConnectOptions {
        self.owner.clone().database(&self.name)
    }

    /// The connection options of a superuser, to which row level security does not apply.
    pub fn superuser_options(&self) -> PgConnectOptions {
        self.superuser.clone().database(&self.name)
    }

    /// The URL of the database, for another process.
    pub fn url(&self) -> String {
        self.options().to_url_lossy().to_string()
    }

    /// The folder of the server's socket, if it listens on one.
    pub fn socket(&self) -> Option<PathBuf> {
        self.owner.get_socket().cloned()
    }

    /// A pool of a superuser's connections, to which row level security does not apply.
    pub async fn superuser(&self) -> PgPool {
        PgPoolOptions::new()
            .max_connections(2)
            .connect_with(self.superuser_options())
            .await
            .unwrap()
    }

    /// How many rows of `held` differ from the open holds in the accounts' rows, on either side.
    pub async fn wrong_held_rows(&self) -> i64 {
        self.number(
            "with held_now as (
               select reseller_id, account_id, kind, authority, owner, level, starts_at, ends_at, has_begun from held),
             open as (
               select a.reseller_id, a.id, h ->> 'kind', h ->> 'authority', coalesce(h ->> 'owner', ''),
                 coalesce(h ->> 'level', 'block'), (h ->> 'starts_at')::timestamptz, (h ->> 'ends_at')::timestamptz,
                 h ->> 'scheduled' is null
               from account a cross join json_array_elements(a.holds) as h)
             select count(*) from (
               (select * from held_now except all select * from open)
               union all (select * from open except all select * from held_now)) as wrong",
        )
        .await
    }

    /// How many accounts have another text for searches than their profile makes.
    pub async fn wrong_texts(&self) -> i64 {
        self.number("select accounts from wrong_account_texts()")
            .await
    }

    /// The number that a query returns, as superuser.
    pub async fn number(&self, query: &'static str) -> i64 {
        let mut connection = self.superuser_options().connect().await.unwrap();
        let number = sqlx::query_scalar(query)
            .fetch_one(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{query}: {error}"));
        connection.close().await.unwrap();
        number
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the database {} is kept", self.name);
            return;
        }
        let (server, name) = (self.superuser.clone(), self.name.clone());
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut admin = server.connect().await.unwrap();
                run(
                    &mut admin,
                    &format!("drop database if exists {name} with (force)"),
                )
                .await;
            });
        });
        let _ = dropping.join();
    }
}
