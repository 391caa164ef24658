//! Runs initdb, and starts, watches and stops the server.

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
use super::{Failure, Layout, PORT, START_TIMEOUT, SUPERUSER, ServerUser, Settings, at, guarded};

/// How often `postmaster.pid` is read while the server starts, and how often a stop looks whether
/// it has ended.
const POLL: Duration = Duration::from_millis(5);
/// How long a fast shutdown may take before an immediate one follows.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a server that died is started again before the service gives up.
const MAX_RESTARTS: u32 = 6;
/// A server that ran this long counts as healthy: the count of restarts begins again at 1.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);

/// The contents of `postmaster.pid`.
#[derive(Debug)]
pub(super) struct PidFile {
    pub(super) pid: i32,
    pub(super) sockets: PathBuf,
    is_ready: bool,
}

impl PidFile {
    /// Line 1 is the process id, line 5 the folder of the socket, line 8 the status.
    pub(super) fn read(data: &Path) -> Option<Self> {
        let text = guarded::read(data, "postmaster.pid")?;
        let line = |number: usize| text.lines().nth(number - 1).unwrap_or_default().trim();
        Some(Self {
            pid: line(1).parse().ok()?,
            sockets: PathBuf::from(line(5)),
            is_ready: line(8) == "ready",
        })
    }

    /// Whether a server accepts connections on its socket.
    pub(super) fn accepts_connections(&self) -> bool {
        let socket = self.sockets.join(format!(".s.PGSQL.{PORT}"));
        self.is_ready && guarded::is_socket(&socket) && UnixStream::connect(socket).is_ok()
    }
}

/// A command that runs as the server's user, without the PG variables of this process's
/// environment.
fn command(program: &Path, user: &ServerUser, home: &Path) -> Command {
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
    if user.is_other {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
}

/// Creates a cluster. If it fails midway, no data directory is left.
pub(super) fn init(
    programs: &Programs,
    layout: &Layout,
    user: &ServerUser,
    durable: bool,
) -> Result<(), Failure> {
    let unfinished = layout.home.join("data.new");
    remove_unfinished(&unfinished)?;
    // The server's user cannot create it: the folder around it belongs to root, if this is root.
    user.own_folder(&unfinished)?;
    let mut initdb = command(&programs.bin.join("initdb"), user, &layout.home);
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
    end_with_service(&mut initdb, Signal::SIGKILL);
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

/// Removes the folder of an initdb that was killed. One of its processes may still be writing, so
/// this is retried.
fn remove_unfinished(unfinished: &Path) -> Result<(), Failure> {
    let deadline = Instant::now() + START_TIMEOUT;
    loop {
        match fs::remove_dir_all(unfinished) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(at(unfinished)(error)),
            Err(_) => thread::sleep(POLL),
        }
    }
}

/// A server that this process started, with the thread that watches it.
#[derive(Debug)]
pub(super) struct Postmaster {
    pid: Arc<AtomicU32>,
    is_stopping: Arc<AtomicBool>,
    is_dead: watch::Receiver<bool>,
    watcher: Option<JoinHandle<()>>,
}

impl Postmaster {
    /// Starts the server and waits until it is ready.
    pub(super) fn start(
        programs: &Programs,
        layout: &Layout,
        user: &ServerUser,
        settings: &Settings,
    ) -> Result<Self, Failure> {
        let launch = Launch {
            program: programs.bin.join("postgres"),
            layout: layout.clone(),
            user: user.clone(),
            settings: settings.clone(),
        };
        let (dead, is_dead) = watch::channel(false);
        let pid = Arc::new(AtomicU32::new(0));
        let is_stopping = Arc::new(AtomicBool::new(false));
        let (first, started) = std::sync::mpsc::channel();
        let watcher = {
            let (pid, is_stopping) = (Arc::clone(&pid), Arc::clone(&is_stopping));
            // The kernel signals the server when the thread that started it ends. So the thread
            // lives as long as the server.
            let watch = move || {
                launch.watch(&pid, &is_stopping, &first);
                // It fails if the service has stopped waiting for it.
                let _ignored = dead.send(true);
            };
            thread::Builder::new()
                .name("postmaster".to_owned())
                .spawn(watch)
                .map_err(at(&layout.home))?
        };
        let postmaster = Self {
            pid,
            is_stopping,
            is_dead,
            watcher: Some(watcher),
        };
        started.recv().unwrap_or_else(|_| {
            Err(Failure::NotReady {
                data: layout.data.clone(),
                log: log_tail(layout),
            })
        })?;
        Ok(postmaster)
    }

    /// The process id of the server; 0 while it is down.
    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Ordering::SeqCst)
    }

    /// Resolves when the server has died and is not started again.
    pub(super) async fn died(&self) {
        let mut is_dead = self.is_dead.clone();
        // An error means that the watching thread has ended, and so has the server.
        let _ignored = is_dead.wait_for(|dead| *dead).await;
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid())
            && pid > 0
            && let Err(error) = signal::kill(Pid::from_raw(pid), signal)
        {
            warn!(%error, pid, "cannot send a signal to the embedded PostgreSQL");
        }
    }
}

impl Drop for Postmaster {
    fn drop(&mut self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        let Some(watcher) = self.watcher.take() else {
            return;
        };
        if !watcher.is_finished() {
            self.signal(Signal::SIGINT);
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        while !watcher.is_finished() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        if !watcher.is_finished() {
            warn!(
                "the embedded PostgreSQL does not stop: shutting it down at once; its next start \
                 recovers the data first and takes longer"
            );
            self.signal(Signal::SIGQUIT);
        }
        if watcher.join().is_err() {
            error!("the thread that watches the embedded PostgreSQL panicked");
        }
    }
}

/// Everything that a start of the server needs.
struct Launch {
    program: PathBuf,
    layout: Layout,
    user: ServerUser,
    settings: Settings,
}

impl Launch {
    /// Starts the server and starts it again when it dies, until `is_stopping` is set. Sends the
    /// outcome of the first start to `first`.
    fn watch(
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
                    error!(%failure, "the embedded PostgreSQL does not start; the service gives up");
                    // Fails after the first start, when the receiver is gone.
                    let _ignored = first.send(Err(failure));
                    return;
                }
            };
            pid.store(child.id(), Ordering::SeqCst);
            if std::mem::take(&mut is_first) {
                let _ignored = first.send(Ok(()));
            }
            if is_stopping.load(Ordering::SeqCst) {
                // The stop came before this server could get the signal.
                let _ignored = child.kill();
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
                    "the embedded PostgreSQL died again and again; the service gives up"
                );
                return;
            }
            warn!(
                ?status,
                restarts, "the embedded PostgreSQL died; starting it again"
            );
        }
    }

    /// Starts the server and waits until it is ready. Right after a crash a start can fail, because
    /// a process of the old server has not been reaped or a backend still uses the shared memory.
    /// So a failed start is retried for a while.
    fn spawn_until_ready(&self) -> Result<std::process::Child, Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
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
                    log: log_tail(&self.layout),
                });
            }
            thread::sleep(POLL * 20);
        }
    }

    fn spawn(&self) -> Result<std::process::Child, Failure> {
        // Not in the folder of the server's own logs: that one belongs to the server's user.
        let startup = self.layout.home.join("startup.log");
        let log = guarded::fresh_file(&startup)?;
        let mut postgres = command(&self.program, &self.user, &self.layout.home);
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
        // A restore makes all partitions of the journal in one transaction.
        set("max_locks_per_transaction", "256");
        if let Some(megabytes) = memory_megabytes() {
            set(
                "shared_buffers",
                &format!("{}MB", shared_buffers(megabytes)),
            );
        }
        if self.settings.durable {
            // Seven log files, one for each day of the week.
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
        // On SIGINT PostgreSQL does a fast and clean shutdown.
        end_with_service(&mut postgres, Signal::SIGINT);
        postgres.spawn().map_err(at(&self.program))
    }
}

/// The server's own cache (`shared_buffers`), in MiB: an eighth of the memory, but at least
/// PostgreSQL's default and at most a gigabyte. It holds the index pages that every change touches;
/// the operating system caches files in the rest.
fn shared_buffers(memory: u64) -> u64 {
    (memory / 8).clamp(128, 1_024)
}

/// The memory that this process may use, in MiB: that of the machine, or less if its control group
/// has a limit. `None` on systems without `/proc/meminfo`.
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

/// Makes the kernel send a signal to the process when the thread that started it ends. macOS cannot
/// do this: there the server goes on running, and the next start joins it.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "no safe way to run code between fork and exec; the code makes two system calls only"
)]
fn end_with_service(command: &mut Command, signal: Signal) {
    let parent = nix::unistd::getpid();
    let bind = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        // The parent may have died before the call.
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(nix::errno::Errno::ESRCH.into())
        }
    };
    // SAFETY: the closure allocates nothing and takes no lock; prctl and getppid are plain system
    // calls.
    unsafe { command.pre_exec(bind) };
}

#[cfg(not(target_os = "linux"))]
fn end_with_service(_command: &mut Command, _signal: Signal) {}

/// The last lines of the server's startup log and its log of the day.
fn log_tail(layout: &Layout) -> String {
    let mut files: Vec<_> = fs::read_dir(&layout.log)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| (layout.log.as_path(), entry.file_name()))
        .chain([(layout.home.as_path(), "startup.log".into())])
        .collect();
    files.sort_by_key(|(folder, name)| {
        let metadata = fs::symlink_metadata(folder.join(name));
        metadata.and_then(|it| it.modified()).ok()
    });
    let texts = files
        .iter()
        .filter_map(|(folder, name)| guarded::read(folder, name.to_str()?))
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
