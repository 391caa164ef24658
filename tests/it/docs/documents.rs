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
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = format!("{name}.");
        } else if let Some((key, _)) = bare.split_once(" = ")
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
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
    let (key, set) = (
        folder.path().join("jwt.pem"),
        folder.path().join("jwks.json"),
    );
    fs::write(&key, PUBLIC_KEY).unwrap();
    fs::write(&set, r#"{"keys":[]}"#).unwrap();
    let all: Vec<String> = read("config/default.toml")
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|bare| bare.contains(" = \""))
                .unwrap_or(line)
                .to_owned()
        })
        // Files that are named are read; a secret that is too short is refused.
        .map(|line| {
            if line.ends_with("_file = \"/etc/steward/jwt.pem\"") {
                format!("public_key_file = {key:?}")
            } else {
                line
            }
        })
        .map(|line| {
            if line.starts_with("jwks_file = ") {
                format!("jwks_file = {set:?}")
            } else {
                line
            }
        })
        .map(|line| {
            if line.starts_with("secret = ") {
                format!("secret = {:?}", "s".repeat(32))
            } else {
                line
            }
        })
        .collect();
    let file = folder.path().join("all.toml");
    fs::write(&file, all.join("\n")).unwrap();
    let shown = succeed(
        folder.path(),
        &["config", "show", "--config", file.to_str().unwrap()],
    );
    for key in &keys {
        let last = key.rsplit('.').next().unwrap();
        assert!(
            shown
                .lines()
                .any(|line| line.starts_with(&format!("{last} = "))),
            "{key}: {shown}"
        );
    }
    let source = read("src/config/mod.rs");
    let fields = source.lines().filter(|line| {
        line.starts_with("        ")
            && !line.starts_with("         ")
            && line.trim_end().ends_with(',')
            && line.contains(": ")
    });
    let sections = 13;
    assert_eq!(
        fields.filter(|line| !line.contains("///")).count() - sections,
        keys.len(),
        "a key that is not documented"
    );
}

#[test]
fn every_call_of_the_readme_works_as_pasted() {
    let folder = folder();
    let (mut child, _) = demo(folder.path());
    let environment = succeed(folder.path(), &["demo", "--print-env"]);

    let readme = read("README.md");
    let block = readme
        .split("```sh\n")
        .find(|block| block.contains("curl -X POST"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let calls: Vec<&str> = block
        .split("\n\n")
        .filter(|part| part.contains("curl"))
        .collect();
    assert!(calls.len() >= 12, "{}", calls.len());
    let soap = readme
        .split("```sh\n")
        .find(|block| block.contains("soap12:Envelope"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let envelopes: Vec<&str> = soap.split("\n\n").collect();
    assert_eq!(envelopes.len(), 3);
    for call in envelopes {
        let output = Command::new("sh")
            .args([
                "-c",
                &format!("{environment}\n{}", call.replace("curl -X", "curl -s -X")),
            ])
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains("<Code>Success</Code>"), "{call}\n{answer}");
    }
    let rest = readme
        .split("```sh\n")
        .find(|block| block.contains("/v3/accounts/7/status"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    for call in rest.split("\n\n") {
        let output = Command::new("sh")
            .args([
                "-c",
                &format!("{environment}\n{}", call.replace("curl ", "curl -s -f ")),
            ])
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success() && answer.contains(r#""effectiveStatus":"suspended:reseller""#),
            "{call}\n{answer}"
        );
    }
    let managed = readme
        .split("```sh\n")
        .find(|block| block.contains("/v3/plans"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let output = Command::new("sh")
        .args([
            "-ec",
            &format!(
                "{environment}\n{}",
                managed.replace("curl -X", "curl -s -f -X")
            ),
        ])
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success()
            && answer.contains(r#""name":"pro""#)
            && answer.contains(r#""token":"stw_"#),
        "{answer}"
    );
    let told = readme
        .split("```sh\n")
        .find(|block| block.contains("/v3/webhooks"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let output = Command::new("sh")
        .args([
            "-ec",
            &format!("{environment}\n{}", told.replace("curl ", "curl -s -f ")),
        ])
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success()
            && answer.contains(r#""secret":"whsec_"#)
            && answer.contains(r#""cursor":"#),
        "{answer}"
    );
    let times = readme
        .split("```sh\n")
        .find(|block| block.contains("/v3/bulk"))
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let output = Command::new("sh")
        .args([
            "-ec",
            &format!("{environment}\n{}", times.replace("curl ", "curl -s -f ")),
        ])
        .output()
        .unwrap();
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success()
            && answer.contains(r#"{"changed":true,"effectiveStatus":"active"}"#),
        "{answer}"
    );
    assert!(
        answer.contains(r#""succeeded":2"#)
            && answer.contains(r#""exemptUntil":"2099-12-31T23:59:59"#),
        "{answer}"
    );
    for call in calls {
        let output = Command::new("sh")
            .args([
                "-c",
                &format!("{environment}\n{}", call.replace("curl -X", "curl -s -X")),
            ])
            .output()
            .unwrap();
        let answer = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(answer.contains("Successful operation"), "{call}\n{answer}");
        if call.contains("verbose") {
            assert!(
                answer.contains(r#""effective_status":"suspended:reseller""#),
                "{answer}"
            );
        }
    }
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The guides, whose commands are run one after the other as they are pasted: those first in which the doctor is asked, who
/// finds that the receivers of the others are not there.
const GUIDES: [&str; 6] = [
    "operator",
    "security",
    "reseller-backend",
    "panel-developer",
    "data-retention",
    "migrating",
];

#[test]
fn every_command_of_the_guides_works_as_pasted() {
    let folder = folder();
    let (mut child, _) = demo(folder.path());
    let environment = succeed(folder.path(), &["demo", "--print-env"]);
    let program = Path::new(env!("CARGO_BIN_EXE_steward")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    for guide in GUIDES {
        let text = read(&format!("docs/{guide}.md"));
        let blocks: Vec<&str> = text
            .split("```sh\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
            .collect();
        assert!(!blocks.is_empty(), "{guide}");
        let script = blocks.join("\n").replace("curl ", "curl -s -S -f ");
        let mut command = Command::new("sh");
        command
            .args(["-ec", &format!("{environment}\n{script}")])
            .current_dir(folder.path());
        let output = command
            .env("PATH", &path)
            .env("STEWARD_DATABASE__DATA_DIR", folder.path())
            .output()
            .unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{guide}: {said}");
    }
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_the_dashboard_and_the_alerts_ask_for_is_counted() {
    let source = read("src/metrics.rs");
    serde_json::from_str::<serde_json::Value>(&read("docs/grafana/steward.json")).unwrap();
    let mut asked = 0;
    for file in [
        "docs/grafana/steward.json",
        "docs/prometheus/alerts.yml",
        "docs/operator.md",
    ] {
        let text = read(file);
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let Some(name) = word
                .strip_prefix("steward_")
                .or_else(|| word.strip_prefix("process_").map(|_| word))
            else {
                continue;
            };
            let mut names = vec![name];
            for ending in [
                "_total", "_bucket", "_sum", "_count", "_info", "_seconds", "_bytes",
            ] {
                names.extend(
                    names
                        .clone()
                        .iter()
                        .filter_map(|name| name.strip_suffix(ending)),
                );
            }
            assert!(
                names
                    .iter()
                    .any(|name| source.contains(&format!("\"{name}\""))),
                "{file} asks for {word}"
            );
            asked += 1;
        }
    }
    assert!(asked > 60, "{asked}");
}

#[test]
fn the_cluster_that_is_described_is_the_one_that_is_tested() {
    let described: serde_json::Value = serde_json::from_str(
        read("docs/ha.md")
            .split("```json\n")
            .nth(1)
            .unwrap()
            .split("```")
            .next()
            .unwrap(),
    )
    .unwrap();
    let tested: serde_json::Value = serde_json::from_str(&read("tests/ha/dcs.json")).unwrap();
    assert_eq!(described, tested);
    let lane = read("tests/ha/run");
    let haproxy = read("docs/ha.md")
        .split("```text\ndefaults\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap()
        .to_owned();
    for line in haproxy.lines().map(str::trim).filter(|line| {
        !line.starts_with("listen") && !line.starts_with("bind") && !line.starts_with("server")
    }) {
        let setting = line.replace("OPTIONS /primary", "OPTIONS");
        assert!(lane.contains(&setting), "{setting} is not in tests/ha/run");
    }
}
