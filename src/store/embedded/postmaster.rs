//! The server's process: made by initdb, started, watched, stopped.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::sync::watch;
use tracing::{error, warn};

use super::programs::Programs;
use super::{Account, Failure, Layout, PATIENCE, PORT, SUPERUSER, Settings, at};

/// How often the server's status line is looked at while it starts.
const POLL: Duration = Duration::from_millis(5);
/// How long a fast shutdown may take before an immediate one follows.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// A server that died is started again at most this often; later starts wait longer.
const MAX_RESTARTS: u32 = 6;
/// After this long a server counts as healthy again.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);

/// What `postmaster.pid` says.
#[derive(Debug)]
pub(super) struct PidFile {
    pub(super) pid: i32,
    pub(super) sockets: PathBuf,
    is_ready: bool,
}

impl PidFile {
    /// Line 1 is the process id, line 5 the folder of the socket, line 8 the status.
    pub(super) fn read(data: &Path) -> Option<Self> {
        let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
        let line = |number: usize| text.lines().nth(number - 1).unwrap_or_default().trim();
        Some(Self {
            pid: line(1).parse().ok()?,
            sockets: PathBuf::from(line(5)),
            is_ready: line(8) == "ready",
        })
    }

    /// Whether there really is a server behind it.
    pub(super) fn accepts_connections(&self) -> bool {
        self.is_ready && UnixStream::connect(self.sockets.join(format!(".s.PGSQL.{PORT}"))).is_ok()
    }
}

/// A command that runs as the server's user, free of our environment's settings for PostgreSQL.
fn command(program: &Path, account: &Account, home: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(home)
        .stdin(Stdio::null())
        .env("LC_ALL", "C")
        .env("TZ", "UTC");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    if account.is_other {
        command.uid(account.uid.as_raw()).gid(account.gid.as_raw());
    }
    command
}

/// Makes a new cluster, all or nothing.
pub(super) fn init(
    programs: &Programs,
    layout: &Layout,
    account: &Account,
    durable: bool,
) -> Result<(), Failure> {
    let unfinished = layout.home.join("data.new");
    clear_away(&unfinished)?;
    let mut initdb = command(&programs.bin.join("initdb"), account, &layout.home);
    initdb.arg("-D").arg(&unfinished).args([
        "-U",
        SUPERUSER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
    ]);
    if !durable {
        initdb.arg("--no-sync");
    }
    die_with_us(&mut initdb, Signal::SIGKILL);
    let output = initdb.output().map_err(at(&programs.bin.join("initdb")))?;
    if !output.status.success() {
        return Err(Failure::Program {
            program: "initdb",
            output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    fs::rename(&unfinished, &layout.data).map_err(at(&layout.data))?;
    File::open(&layout.home)
        .and_then(|folder| folder.sync_all())
        .map_err(at(&layout.home))
}

/// Removes what an initdb left that was killed; a process of it may still be writing its last file.
fn clear_away(unfinished: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir_all(unfinished) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(at(unfinished)(error)),
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// A server that this process started.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: Arc<AtomicU32>,
    is_stopping: Arc<AtomicBool>,
    is_dead: watch::Receiver<bool>,
    keeper: Option<JoinHandle<()>>,
}

impl Postmaster {
    /// Starts the server and waits until it is ready.
    pub(super) fn start(
        programs: &Programs,
        layout: &Layout,
        account: &Account,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let launch = Launch {
            program: programs.bin.join("postgres"),
            layout: layout.clone(),
            account: account.clone(),
            settings: settings.clone(),
        };
        let (dead, is_dead) = watch::channel(false);
        let pid = Arc::new(AtomicU32::new(0));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (first, started) = std::sync::mpsc::channel();
        let keeper = {
            let (pid, is_stopping) = (Arc::clone(&pid), Arc::clone(&is_stopping));
            // The kernel signals the server when the thread that started it ends, so one thread lives as long as it.
            let keep = move || {
                launch.keep(&pid, &is_stopping, &first);
                // Nobody may be listening any more.
                let _unheard = dead.send(true);
            };
            thread::Builder::new()
                .name("postmaster".to_owned())
                .spawn(keep)
                .map_err(at(&layout.home))?
        };
        let postmaster = Self {
            pid,
            is_stopping,
            is_dead,
            keeper: Some(keeper),
        };
        started.recv().unwrap_or_else(|_| {
            Err(Failure::NotReady {
                data: layout.data.clone(),
                log: log_tail(&layout.log),
            })
        })?;
        Ok(postmaster)
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Ordering::SeqCst)
    }

    pub(super) async fn died(&self) {
        let mut is_dead = self.is_dead.clone();
        // An error means that the keeper is gone, and so is the server.
        let _gone = is_dead.wait_for(|dead| *dead).await;
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid())
            && pid > 0
            && let Err(error) = signal::kill(Pid::from_raw(pid), signal)
        {
            warn!(%error, pid, "cannot signal the embedded PostgreSQL");
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        let Some(keeper) = self.keeper.take() else {
            return;
        };
        if !keeper.is_finished() {
            self.signal(Signal::SIGINT);
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        while !keeper.is_finished() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        if !keeper.is_finished() {
            warn!(
                "the embedded PostgreSQL does not stop: an immediate shutdown follows, and recovery at the next start"
            );
            self.signal(Signal::SIGQUIT);
        }
        if keeper.join().is_err() {
            error!("the thread that keeps the embedded PostgreSQL panicked");
        }
    }
}

/// Everything it takes to start the server, once more if need be.
struct Launch {
    program: PathBuf,
    layout: Layout,
    account: Account,
    settings: Settings,
}

impl Launch {
    /// Starts the server, tells `first` when it is ready, and starts it again when it dies, until told to stop.
    fn keep(
        &self,
        pid: &AtomicU32,
        is_stopping: &AtomicBool,
        first: &std::sync::mpsc::Sender<Result<(), Failure>>,
    ) {
        let mut restarts = 0;
        let mut is_first = true;
        loop {
            let started_at = Instant::now();
            let mut child = match self.spawn_until_ready() {
                Ok(child) => child,
                Err(failure) => {
                    error!(%failure, "the embedded PostgreSQL does not start");
                    // Nobody listens after the first time.
                    let _unheard = first.send(Err(failure));
                    return;
                }
            };
            pid.store(child.id(), Ordering::SeqCst);
            if std::mem::take(&mut is_first) {
                let _heard = first.send(Ok(()));
            }
            if is_stopping.load(Ordering::SeqCst) {
                // The stop came while there was no server to signal.
                let _gone = child.kill();
            }
            let status = child.wait();
            pid.store(0, Ordering::SeqCst);
            if is_stopping.load(Ordering::SeqCst) {
                return;
            }
            restarts = if started_at.elapsed() > HEALTHY_AFTER {
                1
            } else {
                restarts + 1
            };
            if restarts > MAX_RESTARTS {
                error!(
                    ?status,
                    "the embedded PostgreSQL died again and again; giving up"
                );
                return;
            }
            warn!(
                ?status,
                restarts, "the embedded PostgreSQL died; starting it again"
            );
        }
    }

    /// Starts the server. Right after a crash the remains of the last one may still stand in the way (a process
    /// that nobody has reaped, shared memory of a backend on its way out), so a refusal is retried for a while.
    fn spawn_until_ready(&self) -> Result<std::process::Child, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut child = self.spawn()?;
            loop {
                let pid_file = PidFile::read(&self.layout.data);
                if pid_file.is_some_and(|it| u32::try_from(it.pid) == Ok(child.id()) && it.is_ready)
                {
                    return Ok(child);
                }
                match child.try_wait() {
                    Ok(None) => thread::sleep(POLL),
                    Ok(Some(_)) => break,
                    Err(error) => return Err(at(&self.program)(error)),
                }
            }
            if Instant::now() > deadline {
                return Err(Failure::NotReady {
                    data: self.layout.data.clone(),
                    log: log_tail(&self.layout.log),
                });
            }
            thread::sleep(POLL * 20);
        }
    }

    fn spawn(&self) -> Result<std::process::Child, Failure> {
        let startup = self.layout.log.join("startup.log");
        let log = File::create(&startup).map_err(at(&startup))?;
        let mut postgres = command(&self.program, &self.account, &self.layout.home);
        postgres
            .arg("-D")
            .arg(&self.layout.data)
            .arg("-k")
            .arg(&self.layout.sockets)
            .args(["-h", "", "-p", &PORT.to_string()]);
        let mut set = |name: &str, value: &str| {
            postgres.arg("-c").arg(format!("{name}={value}"));
        };
        set("cluster_name", "steward");
        set(
            "max_connections",
            &self.settings.max_connections.to_string(),
        );
        set("unix_socket_permissions", "0700");
        set("timezone", "UTC");
        if let Some(megabytes) = memory_megabytes() {
            set(
                "shared_buffers",
                &format!("{}MB", shared_buffers(megabytes)),
            );
        }
        if self.settings.durable {
            // Seven files, one for each day of the week.
            set("logging_collector", "on");
            set("log_directory", "../log");
            set("log_filename", "postgresql-%a.log");
            set("log_truncate_on_rotation", "on");
            set("log_rotation_age", "1d");
            set("log_rotation_size", "0");
        } else {
            for name in [
                "fsync",
                "synchronous_commit",
                "full_page_writes",
                "autovacuum",
            ] {
                set(name, "off");
            }
        }
        postgres
            .stdout(log.try_clone().map_err(at(&startup))?)
            .stderr(log)
            .process_group(0);
        // SIGINT is a fast and clean shutdown.
        die_with_us(&mut postgres, Signal::SIGINT);
        postgres.spawn().map_err(at(&self.program))
    }
}

/// What the server caches itself, in MiB: an eighth of the memory, between PostgreSQL's own default and a gigabyte. The index
/// pages that every change touches are worth most there; the rest of the memory caches files as well.
fn shared_buffers(memory: u64) -> u64 {
    (memory / 8).clamp(128, 1_024)
}

/// The memory that this process may use, in MiB: the machine's, or less where its control group is limited. None where the system
/// does not say.
fn memory_megabytes() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo")?.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    })?;
    let group = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = group
        .into_iter()
        .filter_map(|path| read(path)?.trim().parse::<u64>().ok());
    Some(
        limits
            .map(|bytes| bytes >> 20)
            .fold(machine >> 10, u64::min),
    )
}

/// Lets the kernel send a signal to the process when the thread that started it ends. macOS has no such thing: there
/// an orphaned server is joined at the next start.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "the only way to run code between fork and exec; what runs is one async-signal-safe system call"
)]
fn die_with_us(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    let tie = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // The parent may have died before the tie was made.
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::other("the service is gone"))
        }
    };
    // SAFETY: the closure allocates nothing and takes no lock; prctl and getppid are plain system calls.
    unsafe { command.pre_exec(tie) };
}

#[cfg(not(target_os = "linux"))]
fn die_with_us(_command: &mut Command, _signal: Signal) {}

/// The last lines of what the server said while it started, and of its log of the day.
fn log_tail(folder: &Path) -> String {
    let mut files: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .collect();
    files.sort_by_key(|path| fs::metadata(path).and_then(|it| it.modified()).ok());
    let texts = files
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect::<String>();
    let lines: Vec<_> = texts
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines
        .iter()
        .skip(lines.len().saturating_sub(8))
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_caches_an_eighth_of_the_memory_within_bounds() {
        assert_eq!(
            [512, 1_024, 4_096, 65_536].map(shared_buffers),
            [128, 128, 512, 1_024]
        );
    }
}
