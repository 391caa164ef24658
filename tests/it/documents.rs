//! What the documents promise: every key is in the defaults and in the README, every call of the README works.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::process::{demo, folder, succeed};

/// An Ed25519 key, from RFC 8410.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The keys of `config/default.toml`, those without a default included.
fn documented_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    let mut section = String::new();
    for line in read("config/default.toml").lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = bare.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            keys.insert(format!("{section}{key}"));
        }
    }
    keys
}

#[test]
fn every_key_is_in_the_defaults_and_in_the_readme() {
    let keys = documented_keys();
    let table: BTreeSet<String> = read("README.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|rest| rest.split_once("` | "))
        .map(|(key, _)| key.to_owned())
        .collect();
    assert_eq!(table, keys);
    // A key that the program does not know would be refused, one that the file does not have would be missing.
    let folder = folder();
    let (key, set) = (folder.path().join("jwt.pem"), folder.path().join("jwks.json"));
    fs::write(&key, PUBLIC_KEY).unwrap();
    fs::write(&set, r#"{"keys":[]}"#).unwrap();
    let all: Vec<String> = read("config/default.toml")
        .lines()
        .map(|line| line.strip_prefix("# ").filter(|bare| bare.contains(" = \"")).unwrap_or(line).to_owned())
        // Files that are named are read; a secret that is too short is refused.
        .map(|line| if line.ends_with("_file = \"/etc/steward/jwt.pem\"") { format!("public_key_file = {key:?}") } else { line })
        .map(|line| if line.starts_with("jwks_file = ") { format!("jwks_file = {set:?}") } else { line })
        .map(|line| if line.starts_with("secret = ") { format!("secret = {:?}", "s".repeat(32)) } else { line })
        .collect();
    let file = folder.path().join("all.toml");
    fs::write(&file, all.join("\n")).unwrap();
    let shown = succeed(folder.path(), &["config", "show", "--config", file.to_str().unwrap()]);
    for key in &keys {
        let last = key.rsplit('.').next().unwrap();
        assert!(shown.lines().any(|line| line.starts_with(&format!("{last} = "))), "{key}: {shown}");
    }
    let source = read("src/config.rs");
    let fields = source
        .lines()
        .filter(|line| line.starts_with("        ") && !line.starts_with("         ") && line.trim_end().ends_with(',') && line.contains(": "));
    let sections = 12;
    assert_eq!(fields.filter(|line| !line.contains("///")).count() - sections, keys.len(), "a key that is not documented");
}

#[test]
fn every_call_of_the_readme_works_as_pasted() {
    let folder = folder();
    let (mut child, _) = demo(folder.path());
    let environment = succeed(folder.path(), &["demo", "--print-env"]);

    let readme = read("README.md");
    let block = readme.split("```sh\n").find(|block| block.contains("curl -X POST")).unwrap().split("```").next().unwrap();
    let calls: Vec<&str> = block.split("\n\n").filter(|part| part.contains("curl")).collect();
    assert!(calls.len() >= 12, "{}", calls.len());
    let soap = readme.split("```sh\n").find(|block| block.contains("soap12:Envelope")).unwrap().split("```").next().unwrap();
    let envelopes: Vec<&str> = soap.split("\n\n").collect();
    assert_eq!(envelopes.len(), 3);
    for call in envelopes {
        let output = Command::new("sh").args(["-c", &format!("{environment}\n{}", call.replace("curl -X", "curl -s -X"))]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains("<Code>Success</Code>"), "{call}\n{answer}");
    }
    let rest = readme.split("```sh\n").find(|block| block.contains("/v3/accounts/7/status")).unwrap().split("```").next().unwrap();
    for call in rest.split("\n\n") {
        let output = Command::new("sh").args(["-c", &format!("{environment}\n{}", call.replace("curl ", "curl -s -f "))]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && answer.contains(r#""effectiveStatus":"suspended:reseller""#), "{call}\n{answer}");
    }
    let managed = readme.split("```sh\n").find(|block| block.contains("/v3/plans")).unwrap().split("```").next().unwrap();
    let output = Command::new("sh").args(["-ec", &format!("{environment}\n{}", managed.replace("curl -X", "curl -s -f -X"))]).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && answer.contains(r#""name":"pro""#) && answer.contains(r#""token":"stw_"#), "{answer}");
    let told = readme.split("```sh\n").find(|block| block.contains("/v3/webhooks")).unwrap().split("```").next().unwrap();
    let output = Command::new("sh").args(["-ec", &format!("{environment}\n{}", told.replace("curl ", "curl -s -f "))]).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && answer.contains(r#""secret":"whsec_"#) && answer.contains(r#""cursor":"#), "{answer}");
    let times = readme.split("```sh\n").find(|block| block.contains("/v3/bulk")).unwrap().split("```").next().unwrap();
    let output = Command::new("sh").args(["-ec", &format!("{environment}\n{}", times.replace("curl ", "curl -s -f "))]).output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && answer.contains(r#"{"changed":true,"effectiveStatus":"active"}"#), "{answer}");
    assert!(answer.contains(r#""succeeded":2"#) && answer.contains(r#""exemptUntil":"2099-12-31T23:59:59"#), "{answer}");
    for call in calls {
        let output = Command::new("sh").args(["-c", &format!("{environment}\n{}", call.replace("curl -X", "curl -s -X"))]).output().unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains("Successful operation"), "{call}\n{answer}");
        if call.contains("verbose") {
            assert!(answer.contains(r#""effective_status":"suspended:reseller""#), "{answer}");
        }
    }
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), nix::sys::signal::Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
