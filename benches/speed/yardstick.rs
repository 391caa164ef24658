//! The yardsticks that the service is compared with in the same run: pgbench with the transaction
//! of a hand-written service, and a hand-written service. Each has two variants: a simple one, and
//! one that does the same work as the service in one statement.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::Failure;
use crate::machine::cpu_of_tree;
use crate::sample::{Sample, Usage};
use crate::server::Server;
use crate::world::{SAME, World, YARDSTICK};

/// The statement that does the same work as a freeze or unfreeze of the service. Its parameters are
/// the token's hash, the account's number and the reason.
const SAME_STATEMENT: &str = include_str!("yardstick/same.sql");
/// Settings of the sessions that read lists: those of an operator, as the study of the storage had
/// them.
const LISTS: &str =
    "-c peer.scope=platform -c enable_sort=off -c max_parallel_workers_per_gather=0";

/// A pgbench script and its name in the report.
pub struct Script {
    pub name: &'static str,
    database: &'static str,
    /// Settings of its sessions.
    settings: &'static str,
    text: &'static str,
}

impl Script {
    const fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            database: YARDSTICK,
            settings: "",
            text,
        }
    }

    /// A statement that reads a list.
    const fn list(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            database: SAME,
            settings: LISTS,
            text,
        }
    }

    fn text(&self) -> String {
        if self.text == SAME_STATEMENT {
            same_work()
        } else {
            self.text.to_owned()
        }
    }
}

/// Look up the token, change the account, insert an audit row and an outbox row: six statements
/// with BEGIN and COMMIT.
pub const PLAIN: Script = Script::new(
    "pgbench, plain statements",
    include_str!("yardstick/plain.sql"),
);
/// The same in one statement.
pub const CTE: Script = Script::new("pgbench, one CTE", include_str!("yardstick/cte.sql"));
/// What the service does, in one statement: the version, the hold with its details, the table of
/// open holds, the journal with the values before and after, the lock of the reseller, row security.
pub const SAME_WORK: Script = Script {
    database: SAME,
    ..Script::new("pgbench, same work in one statement", SAME_STATEMENT)
};
/// Reads one account by its key.
pub const READ: Script = Script::new("pgbench, by key", include_str!("yardstick/read.sql"));
/// 50 accounts of a reseller.
pub const PAGE: Script = Script::list(
    "pgbench, page of 50 accounts",
    include_str!("yardstick/page.sql"),
);
/// 50 frozen accounts of a reseller.
pub const FROZEN: Script = Script::list(
    "pgbench, list of frozen accounts",
    include_str!("yardstick/frozen.sql"),
);
/// 50 accounts of all resellers.
pub const OPERATOR: Script = Script::list(
    "pgbench, page of 50 by operator",
    include_str!("yardstick/operator.sql"),
);

/// The script of [`SAME_WORK`]. If another client has changed the account meanwhile, it tries once
/// more; if that changes nothing either, it fails.
fn same_work() -> String {
    let hash =
        "sha256(('tk_live_'||lpad(:rid::text,12,'0')||'_0123456789abcdef0123456789abcdef')::bytea)";
    let statement = SAME_STATEMENT
        .replace("$1", hash)
        .replace("$2", ":id")
        .replace("$3", "'suspected fraud, ticket 4711 opened'")
        .replace('\n', " ");
    format!(
        "\\set id random(1, :accounts)\n\\set rid (:id - 1) % :resellers + 1\n{statement} \\gset\n\\if :changed = 0\n{statement} \\gset\n\\endif\n\\if :changed = 0\nselect 1 / 0;\n\\endif\n"
    )
}

/// Runs pgbench with this many clients. The latencies come from its transaction log.
pub fn pgbench(
    world: &World,
    server: &Server<'_>,
    script: &Script,
    (accounts, resellers): (u64, u64),
    clients: usize,
    measured: Duration,
) -> Result<Sample, Failure> {
    let folder = tempfile::tempdir_in(world.folder.path())?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script.text())?;
    let usage = || {
        let database = server.cpu();
        // The database is a child of this program, so its time is part of this program's tree.
        Ok::<_, Failure>(Usage {
            service: 0.0,
            database,
            driver: cpu_of_tree(std::process::id()) - database,
            wal: server.wal()?,
        })
    };
    let before = usage()?;
    let threads = if clients > 1 { "2" } else { "1" };
    let output = Command::new("pgbench")
        .current_dir(folder.path())
        .args([
            "-n", "-M", "prepared", "-l", "-j", threads, "-U", "steward", "-p", "5432",
        ])
        .arg("-h")
        .arg(world.sockets())
        .args([
            "-c",
            &clients.to_string(),
            "-T",
            &measured.as_secs().to_string(),
        ])
        .args([
            "-D",
            &format!("accounts={accounts}"),
            "-D",
            &format!("resellers={resellers}"),
        ])
        .arg("-f")
        .arg(&file)
        .arg(script.database)
        .env("PGOPTIONS", script.settings)
        .output()?;
    let after = usage()?;
    if !output.status.success() {
        return Err(format!("pgbench: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = report
        .lines()
        .find_map(|line| {
            line.strip_prefix("tps = ")?
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .ok_or("pgbench reported no rate")?;
    let mut latencies = Vec::new();
    for entry in std::fs::read_dir(folder.path())?.flatten() {
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("pgbench_log")
        {
            let log = std::fs::read_to_string(entry.path())?;
            latencies.extend(
                log.lines()
                    .filter_map(|line| line.split(' ').nth(2)?.parse::<u32>().ok()),
            );
        }
    }
    // Pgbench's rate excludes the time for connecting, as the driver's does.
    let elapsed = Duration::from_secs_f64(f64::from(u32::try_from(latencies.len())?) / rate);
    Ok(Sample::new(latencies, elapsed, &before, &after))
}

/// What a call of the Fastify service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PeerKind {
    /// Token, account, audit row, outbox row.
    Simple,
    /// The work of the service, in one statement.
    Same,
}

impl PeerKind {
    /// Its name in the report.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simple => "Fastify and pg, one CTE",
            Self::Same => "Fastify and pg, same work in one statement",
        }
    }

    /// Its database and its statement.
    fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Simple => (YARDSTICK, include_str!("peer/cte.sql")),
            Self::Same => (SAME, SAME_STATEMENT),
        }
    }
}

/// A typical hand-written service: Fastify and `pg` with two workers, one statement for each call.
pub struct Peer {
    pub kind: PeerKind,
    child: Child,
    pub address: SocketAddr,
}

impl Peer {
    /// Installs the packages from npm and starts the service.
    pub fn start(world: &World, kind: PeerKind) -> Result<Self, Failure> {
        let (database, statement) = kind.parts();
        let folder = world.folder.path().join(database);
        std::fs::create_dir_all(&folder)?;
        for (name, text) in [
            ("package.json", include_str!("peer/package.json")),
            ("app.js", include_str!("peer/app.js")),
            ("statement.sql", statement),
        ] {
            std::fs::write(folder.join(name), text)?;
        }
        let npm = Command::new("npm")
            .args(["install", "--no-audit", "--no-fund", "--silent"])
            .current_dir(&folder)
            .status()?;
        if !npm.success() {
            return Err("npm could not install the peer's packages".into());
        }
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let child = Command::new("node")
            .arg(Path::new("app.js"))
            .current_dir(&folder)
            .env("PGSOCK", world.sockets())
            .env("PORT", address.port().to_string())
            .env("DB", database)
            .stdout(Stdio::null())
            .spawn()?;
        let peer = Self {
            kind,
            child,
            address,
        };
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            if started.elapsed() > Duration::from_secs(20) {
                return Err("the peer did not start".into());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _gone = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _status = self.child.wait();
    }
}
