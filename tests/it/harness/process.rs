//! The real program, in its own process.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long a test waits for another process before it fails.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A temporary folder that an unprivileged PostgreSQL can enter.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::Builder::new()
        .prefix("steward-it-")
        .tempdir_in("/tmp")
        .unwrap();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    folder
}

/// The program with an empty configuration: the environment of the tests does not reach it.
pub fn steward(data_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steward"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("STEWARD_") || name.starts_with("DATABASE_") || name.starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
        .env("STEWARD_DATABASE__DATA_DIR", data_dir)
        .env("STEWARD_LOG__FORMAT", "json")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub fn run<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(data_dir: &Path, arguments: I) -> Output {
    steward(data_dir).args(arguments).output().unwrap()
}

/// Runs a command that must succeed, and answers its standard output.
#[track_caller]
pub fn succeed(data_dir: &Path, arguments: &[&str]) -> String {
    let output = run(data_dir, arguments);
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A running service.
pub struct Served {
    child: Child,
    pub listen: SocketAddr,
    pub management: SocketAddr,
    pub data_dir: PathBuf,
    log: Arc<Mutex<String>>,
}

impl Served {
    /// Starts `steward serve` and waits until it answers.
    pub fn start(data_dir: &Path) -> Self {
        Self::start_with(data_dir, |_| {})
    }

    pub fn start_with(data_dir: &Path, adapt: impl FnOnce(&mut Command)) -> Self {
        let ready = tempfile::NamedTempFile::new_in("/tmp")
            .unwrap()
            .into_temp_path();
        let mut command = steward(data_dir);
        command
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--management-listen",
                "127.0.0.1:0",
                "--ready-file",
            ])
            .arg(&ready);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        adapt(&mut command);
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = lines(child.stderr.take().unwrap(), Arc::clone(&log));
        while !lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("the service did not start: {}", log.lock().unwrap()))
            .contains("listening")
        {}
        let bound: Value = serde_json::from_str(&std::fs::read_to_string(&ready).unwrap()).unwrap();
        let address = |name: &str| bound[name].as_str().unwrap().parse().unwrap();
        Self {
            child,
            listen: address("listen"),
            management: address("management"),
            data_dir: data_dir.to_owned(),
            log,
        }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Stops the service with SIGTERM.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Kills the service with SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The process id of the embedded server.
    pub fn postmaster(&self) -> Option<Pid> {
        postmaster(&self.data_dir)
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn post(&self, call: &str, body: &Value) -> (u16, String) {
        let path = format!("/api/v1.1/admin/accounts/{call}");
        request(
            self.listen,
            "POST",
            &path,
            &[("content-type", "application/json")],
            &body.to_string(),
        )
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `steward demo`. Answers the process and its output.
pub fn demo(data_dir: &Path) -> (Child, String) {
    let mut command = steward(data_dir);
    command
        .arg("demo")
        .env("STEWARD_SERVER__LISTEN", "127.0.0.1:0")
        .env("STEWARD_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0");
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let all = Arc::new(Mutex::new(String::new()));
    let lines = lines(child.stdout.take().unwrap(), Arc::clone(&all));
    while !lines
        .recv_timeout(PATIENCE)
        .unwrap()
        .contains("--print-env")
    {}
    let text = all.lock().unwrap().clone();
    (child, text)
}

/// The process id in the embedded server's `postmaster.pid`.
pub fn postmaster(data_dir: &Path) -> Option<Pid> {
    let text = std::fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok().map(Pid::from_raw)
}

/// Waits until `look` finds something. Fails after [`PATIENCE`].
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what} did not come about");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// As [`eventually`], for an asynchronous look.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come about"))
}

/// Sends one HTTP request over a new connection. Answers the status and the body.
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    try_request(to, method, path, headers, body).expect("the request must be answered")
}

pub fn try_request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let headers = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect::<Vec<_>>()
        .concat();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {to}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
    let (_, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    status
        .map(|status| (status, body.to_owned()))
        .ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
}

/// The lines that a process prints: each as it comes, and all of them so far.
pub fn lines(
    from: impl std::io::Read + Send + 'static,
    all: Arc<Mutex<String>>,
) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut all = all.lock().unwrap();
            all.push_str(&line);
            all.push('\n');
            drop(all);
            // The receiving side may be gone already.
            let _ = send.send(line);
        }
    });
    receive
}
