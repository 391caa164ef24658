//! What the service is measured against, in the same run: pgbench with a hand-written service's transaction, and such a
//! service itself.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::cpu_of_tree;
use crate::world::{World, YARDSTICK};
use crate::{Failure, Sample};

/// A script for pgbench.
pub struct Script {
    pub name: &'static str,
    pub text: &'static str,
}

/// Token look-up, change, audit row, outbox row: six statements.
pub const PLAIN: Script = Script {
    name: "pgbench, plain statements",
    text: include_str!("yardstick/plain.sql"),
};
/// The same as one statement.
pub const CTE: Script = Script {
    name: "pgbench, one CTE",
    text: include_str!("yardstick/cte.sql"),
};
/// One account by its key.
pub const READ: Script = Script {
    name: "pgbench, by key",
    text: include_str!("yardstick/read.sql"),
};

/// Runs pgbench with as many clients; latencies come from its log of transactions.
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
    // The database was started by this program, too.
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
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let rate = said
        .lines()
        .find_map(|line| {
            line.strip_prefix("tps = ")?
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .ok_or("pgbench said no rate")?;
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
    // The rate leaves out the time that connecting took, as ours does.
    let elapsed = Duration::from_secs_f64(f64::from(u32::try_from(latencies.len())?) / rate);
    Ok(Sample::new(
        latencies,
        elapsed,
        0.0,
        after - before,
        driver_after - driver_before,
    ))
}

/// A service such as people write by hand: Fastify and `pg`, two workers, the one-statement transaction.
pub struct Peer {
    child: Child,
    pub address: SocketAddr,
}

impl Peer {
    /// Installs its packages and starts it.
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
