//! `steward demo`: its address, its folder, and what a failed start leaves behind.

use std::net::TcpListener;
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::process::{demo, folder, run, steward, succeed};

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    for word in words {
        assert!(text.contains(word), "no {word} in {text}");
    }
}

#[test]
fn print_env_prints_only_the_address_of_a_running_demo() {
    let folder = folder();
    let name = folder.path().to_str().unwrap();
    let print = || run(folder.path(), ["demo", "--print-env"]);
    refused(&print(), &["there is no demo", name, "database.data_dir"]);

    let (mut child, text) = demo(folder.path());
    let environment = succeed(folder.path(), &["demo", "--print-env"]);
    let url = environment.split('\'').nth(1).unwrap();
    assert!(text.contains(&format!("running at {url}.")), "{text}");

    // A second demo would not be at the address that the first one has printed.
    let second = steward(folder.path())
        .arg("demo")
        .env("STEWARD_SERVER__LISTEN", "127.0.0.1:0")
        .env("STEWARD_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
        .output()
        .unwrap();
    refused(&second, &["is running on the folder", name, url]);
    assert_eq!(
        succeed(folder.path(), &["demo", "--print-env"]),
        environment
    );

    kill(
        Pid::from_raw(i32::try_from(child.id()).unwrap()),
        Signal::SIGKILL,
    )
    .unwrap();
    child.wait().unwrap();
    refused(&print(), &["is not running", name, "steward demo"]);
}

#[test]
fn a_demo_whose_port_is_taken_leaves_nothing_behind() {
    let folder = folder();
    let data = folder.path().join("new");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in [
        "STEWARD_SERVER__LISTEN",
        "STEWARD_SERVER__MANAGEMENT_LISTEN",
    ] {
        let mut command = steward(&data);
        command
            .arg("demo")
            .env("STEWARD_SERVER__LISTEN", "127.0.0.1:0")
            .env("STEWARD_SERVER__MANAGEMENT_LISTEN", "127.0.0.1:0")
            .env(key, &address);
        refused(
            &command.output().unwrap(),
            &[&format!("cannot listen on {address}")],
        );
        assert!(!data.exists());
    }
}
