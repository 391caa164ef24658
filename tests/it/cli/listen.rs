//! `steward listen`: events on their way to a local receiver.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex, mpsc};

use serde_json::Value;

use crate::harness::process::{PATIENCE, Served, folder, lines, run, steward, succeed};

/// A request that the receiver got: its headers and its body.
type Received = (BTreeMap<String, String>, String);

/// A receiver that answers every request with 204.
fn receiver() -> (SocketAddr, mpsc::Receiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let send = send.clone();
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(received) = read_request(&mut reader) {
                    reader
                        .get_mut()
                        .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                        .unwrap();
                    let _ = send.send(received);
                }
            });
        }
    });
    (address, receive)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Received> {
    let mut headers = BTreeMap::new();
    for line in reader.by_ref().lines().map_while(Result::ok) {
        if line.is_empty() {
            let length = headers
                .get("content-length")
                .map_or(0, |text: &String| text.parse().unwrap());
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            return Some((headers, String::from_utf8(body).unwrap()));
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_lowercase(), value.to_owned());
        }
    }
    None
}

/// A connection between a client and the service that the test can cut.
struct Cable {
    address: SocketAddr,
    open: Arc<Mutex<Option<Vec<TcpStream>>>>,
}

impl Cable {
    fn to(service: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let open = Arc::new(Mutex::new(Some(Vec::new())));
        let shared = Arc::clone(&open);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(service) else {
                    // The service has stopped: the test is over.
                    return;
                };
                let mut open = shared.lock().unwrap();
                let Some(open) = open.as_mut() else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                    open.push(client.try_clone().unwrap());
                }
            }
        });
        Self { address, open }
    }

    /// Breaks all connections, and refuses new ones until [`Cable::mend`].
    fn cut(&self) {
        for stream in self.open.lock().unwrap().take().into_iter().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        *self.open.lock().unwrap() = Some(Vec::new());
    }
}

#[test]
fn events_are_forwarded_signed_and_none_is_lost_when_the_stream_breaks() {
    let folder = folder();
    let data = folder.path();
    let served = Served::start(data);
    succeed(data, &["reseller", "create", "--name", "Acme"]);
    // One after the other, so that their numbers are 1 and 2.
    for email in ["a1@example.com", "a2@example.com"] {
        let create = ["account", "create", "--reseller", "1", "--email", email];
        succeed(data, &create);
    }
    let token = succeed(data, &["token", "create", "--reseller", "1", "--json"]);
    let token: Value = serde_json::from_str(&token).unwrap();
    let cable = Cable::to(served.listen);
    let (address, received) = receiver();

    let mut listen = steward(data)
        .args(["listen", "--forward-to", &format!("http://{address}/hook")])
        .args(["--url", &format!("http://{}", cable.address)])
        .args(["--token", token["token"].as_str().unwrap()])
        .args(["--events", "account.frozen,account.updated"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let printed = lines(listen.stdout.take().unwrap(), Arc::default());
    let notes = lines(listen.stderr.take().unwrap(), Arc::default());
    let secret = printed.recv_timeout(PATIENCE).unwrap();
    let secret = secret.strip_prefix("signing secret: ").unwrap().to_owned();
    let note = |expected: &str| {
        while !notes.recv_timeout(PATIENCE).unwrap().contains(expected) {}
    };
    note("connected");

    // The events of before, two creations, are not forwarded.
    succeed(data, &["account", "freeze", "1"]);
    let expect = |event: &str, number: u8| {
        let (headers, body) = received.recv_timeout(PATIENCE).unwrap();
        let message: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&message["event"], &message["data"]["email"]),
            (&event.into(), &format!("a{number}@example.com").into()),
            "{body}"
        );
        assert_eq!(headers["webhook-id"], message["id"].as_str().unwrap());
        let signed = steward::webhooks::signature(
            steward::domain::SignatureStyle::Standard,
            std::slice::from_ref(&secret),
            &headers["webhook-id"],
            headers["webhook-timestamp"].parse().unwrap(),
            &body,
        );
        let signature = signed.iter().find(|(name, _)| *name == "webhook-signature");
        assert_eq!(&headers["webhook-signature"], &signature.unwrap().1);
        let line = printed.recv_timeout(PATIENCE).unwrap();
        assert!(
            line.contains(&format!(" {event} evt_")) && line.contains(" -> 204 in "),
            "{line}"
        );
    };
    expect("account.updated", 1);
    expect("account.frozen", 1);

    cable.cut();
    note("the stream of events ended");
    succeed(data, &["account", "freeze", "2"]);
    cable.mend();
    expect("account.updated", 2);
    expect("account.frozen", 2);

    let pid = nix::unistd::Pid::from_raw(i32::try_from(listen.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(listen.wait().unwrap().success());
}

#[test]
fn a_mistake_is_named_with_the_flag_that_changes_it() {
    let folder = folder();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", taken.local_addr().unwrap());
    drop(taken);
    for (arguments, code, expected) in [
        (
            vec!["--forward-to", "localhost:3000"],
            2,
            "did you mean http://localhost:3000?",
        ),
        (
            vec![
                "--forward-to",
                "http://localhost:3000",
                "--events",
                "account.frozn",
            ],
            2,
            "did you mean account.frozen?",
        ),
        (
            vec!["--forward-to", "http://localhost:3000", "--secret", "x"],
            2,
            "must be whsec_ and the base64 of 24 to 64 bytes",
        ),
        (
            vec!["--forward-to", "http://localhost:3000"],
            1,
            "start a demo with `steward demo`",
        ),
        (
            vec![
                "--forward-to",
                "http://localhost:3000",
                "--url",
                &nobody,
                "--token",
                "x",
            ],
            1,
            "is the service running there? --url (or STEWARD_URL) names another address",
        ),
    ] {
        let output = run(folder.path(), [&["listen"], arguments.as_slice()].concat());
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected), "{expected:?} is not in {stderr}");
    }
}
