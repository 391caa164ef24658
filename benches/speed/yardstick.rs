//! The yardsticks that the service is compared with in the same run: pgbench with the transaction
//! of a hand-written service, and a hand-written service.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::cpu_of_tree;
use crate::world::{World, YARDSTICK};
use crate::{Failure, Sample};

/// A pgbench script and its name in the report.
pub struct Script {
    pub name: &'static str,
    pub text: &'static str,
}

/// Look up the token, change the account, insert an audit row and an outbox row: six statements
/// with BEGIN and COMMIT.
pub const PLAIN: Script = Script {
    name: "pgbench, plain statements",
    text: include_str!("yardstick/plain.sql"),
};
/// The same in one statement.
pub const CTE: Script = Script {
    name: "pgbench, one CTE",
    text: include_str!("yardstick/cte.sql"),
};
/// Reads one account by its key.
pub const READ: Script = Script {
    name: "pgbench, by key",
    text: include_str!("yardstick/read.sql"),
};

/// Runs pgbench with this many clients. The latencies come from its transaction log.
pub fn pgbench(
    world: &World,
    script: &Script,
    accounts: u64,
    resellers: u64,
    clients: usize,
    measured: Duration,
) -> Result<Sample, Failure> {
    let folder = tempfile::tempdir_in(world.folder.path())?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, script.text)?;
    let database = world.database_pid();
    // The database is a child of this program, so its time is part of this program's tree.
    let cpu = || {
        (
            cpu_of_tree(database),
            cpu_of_tree(std::process::id()) - cpu_of_tree(database),
        )
    };
    let (before, driver_before) = cpu();
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
        .arg(YARDSTICK)
        .output()?;
    let (after, driver_after) = cpu();
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
    Ok(Sample::new(
        latencies,
        elapsed,
        0.0,
        after - before,
        driver_after - driver_before,
    ))
}

/// A typical hand-written service: Fastify and `pg` with two workers, one statement for each call.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
}

impl Peer {
    /// Installs the packages from npm and starts the service.
    pub fn start(world: &World) -> Result<Self, Failure> {
        let folder = world.folder.path().join("peer");
        std::fs::create_dir_all(&folder)?;
        for (name, text) in [
            ("package.json", include_str!("peer/package.json")),
            ("app.js", include_str!("peer/app.js")),
            ("cte.sql", include_str!("peer/cte.sql")),
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
            .env("DB", YARDSTICK)
            .stdout(Stdio::null())
            .spawn()?;
        let peer = Self { child, address };
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
