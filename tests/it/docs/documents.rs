//! What the documents promise: links lead somewhere, commands work as pasted, the table of
//! configuration keys is current, and every file and function they name exists.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use crate::harness::process::{demo, folder, succeed};

/// An Ed25519 key, from RFC 8410.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Every file with one of these endings below a folder.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, endings));
        } else if endings
            .iter()
            .any(|ending| path.extension().is_some_and(|it| it == *ending))
        {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Every document: those beside `Cargo.toml` and those in `docs/`.
fn documents() -> Vec<PathBuf> {
    let beside = fs::read_dir(root()).unwrap();
    beside
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .chain(files(&root().join("docs"), &["md"]))
        .collect()
}

// The table of configuration keys.

/// A section of `config/default.toml`: its name, a text about all of it, and its keys.
#[derive(Default)]
struct Section {
    name: String,
    intro: String,
    keys: Vec<Key>,
}

struct Key {
    name: String,
    value: String,
    /// The line is commented out: the key has no default, and its value is an example.
    is_example: bool,
    comment: String,
}

/// Reads `config/default.toml`. A comment belongs to the section or the keys directly below it.
fn sections() -> Vec<Section> {
    let text = read("config/default.toml");
    // The first paragraph is about the file itself.
    let (_, text) = text.split_once("\n\n").unwrap();
    let mut sections = vec![Section::default()];
    let (mut comment, mut is_complete) = (Vec::new(), true);
    for line in text.lines() {
        let section = sections.last_mut().unwrap();
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            let intro = if is_complete {
                String::new()
            } else {
                comment.join(" ")
            };
            sections.push(Section {
                name: name.to_owned(),
                intro,
                keys: Vec::new(),
            });
            (comment, is_complete) = (Vec::new(), true);
        } else if let Some((name, value)) = key_of(line.strip_prefix("# ").unwrap_or(line)) {
            section.keys.push(Key {
                name: name.to_owned(),
                value: value.to_owned(),
                is_example: line.starts_with('#'),
                comment: comment.join(" "),
            });
            is_complete = true;
        } else if let Some(words) = line.strip_prefix('#') {
            if std::mem::take(&mut is_complete) {
                comment.clear();
            }
            comment.push(words.trim());
        } else {
            assert!(line.is_empty(), "config/default.toml: {line}");
            (comment, is_complete) = (Vec::new(), true);
        }
    }
    sections
}

/// `name = value`, if the line is that.
fn key_of(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(" = ")?;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.chars().all(is_name).then_some((name, value))
}

/// The keys of `config/default.toml` with their sections, those without a default included.
fn documented_keys() -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for section in sections() {
        let prefix = if section.name.is_empty() {
            String::new()
        } else {
            format!("{}.", section.name)
        };
        keys.extend(
            section
                .keys
                .iter()
                .map(|key| format!("{prefix}{}", key.name)),
        );
    }
    keys
}

const CONFIGURATION_INTRO: &str = "\
<!-- Generated from config/default.toml. Edit that file, then run:
     UPDATE_DOCS=1 cargo test --locked --test it documents -->

# Configuration

[`config/default.toml`](../config/default.toml) has every key with its default. Copy what you change
into a file of your own.

A file wins over the defaults, an environment variable over the file, a flag over both:

- **File**: `--config FILE`, or `STEWARD_CONFIG=FILE`.
- **Environment**: `STEWARD_<SECTION>__<KEY>`, for example `STEWARD_SERVER__LISTEN=0.0.0.0:8080`. The one
  key without a section is `STEWARD_ENVIRONMENT`. `DATABASE_URL` sets `database.url`, and
  `OTEL_EXPORTER_OTLP_ENDPOINT` sets `traces.endpoint`.

`steward config show` prints the configuration in force and where each value came from, with secrets
masked. `steward config check` names the first mistake. An unknown key is an error that names the nearest key.
";

/// `docs/configuration.md`, as it must be for the present `config/default.toml`.
fn configuration_document() -> String {
    let mut text = CONFIGURATION_INTRO.to_owned();
    let cell = |words: &str| words.replace('|', "\\|").replace('<', "\\<");
    for section in sections().iter().filter(|it| !it.keys.is_empty()) {
        let (heading, prefix) = if section.name.is_empty() {
            ("The environment", String::new())
        } else {
            (section.name.as_str(), format!("{}.", section.name))
        };
        write!(text, "\n## {heading}\n\n").unwrap();
        if !section.intro.is_empty() {
            write!(text, "{}\n\n", cell(&section.intro)).unwrap();
        }
        text.push_str("| key | default | meaning |\n| --- | --- | --- |\n");
        for key in &section.keys {
            let default = if key.is_example {
                format!("not set; for example `{}`", key.value)
            } else {
                format!("`{}`", key.value)
            };
            let (name, comment) = (&key.name, cell(&key.comment));
            writeln!(
                text,
                "| `{prefix}{name}` | {} | {comment} |",
                cell(&default)
            )
            .unwrap();
        }
    }
    text
}

#[test]
fn the_table_of_configuration_keys_is_current() {
    let path = root().join("docs/configuration.md");
    let wanted = configuration_document();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == wanted,
        "docs/configuration.md is not what config/default.toml gives. Write it anew with:\n  \
         UPDATE_DOCS=1 cargo test --locked --test it documents"
    );
}

#[test]
fn every_key_is_documented_and_known_to_the_program() {
    let keys = documented_keys();
    // The program refuses a key that it does not know.
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
        // The program reads the files that are named and refuses a secret that is too short.
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
    let source = read("src/config/sections.rs");
    let fields = source.lines().filter(|line| {
        line.starts_with("        ")
            && !line.starts_with("         ")
            && line.trim_end().ends_with(',')
            && line.contains(": ")
    });
    let sections = 14;
    assert_eq!(
        fields.filter(|line| !line.contains("///")).count() - sections,
        keys.len(),
        "a key that is not documented"
    );
}

// Commands that are pasted.

/// The shell blocks of a document, in order.
fn shell_blocks(text: &str) -> Vec<&str> {
    text.split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// A running demo, with what `demo --print-env` exports.
struct Demo {
    folder: tempfile::TempDir,
    /// The folder of the shell, where the reader has a clone of the repository.
    clone: tempfile::TempDir,
    /// What stands for `/tmp`.
    temporary: tempfile::TempDir,
    child: Child,
    environment: String,
}

impl Demo {
    fn start() -> Self {
        let folder = folder();
        let (child, _) = demo(folder.path());
        let environment = succeed(folder.path(), &["demo", "--print-env"]);
        Self {
            folder,
            clone: tempfile::tempdir().unwrap(),
            temporary: tempfile::tempdir().unwrap(),
            child,
            environment,
        }
    }

    /// Runs a script as pasted into a shell that has the demo's environment, the variables of the
    /// blocks before, and finds `steward`. Every command must succeed, every request must be answered
    /// with a 2xx status, and no file may be left in the reader's clone.
    #[track_caller]
    fn paste(&self, document: &str, script: &str) -> String {
        let program = Path::new(env!("CARGO_BIN_EXE_steward")).parent().unwrap();
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let script = script.replace("curl ", "curl -s -S -f ");
        let temporary = self.temporary.path().display();
        let script = script.replace("/tmp/", &format!("{temporary}/"));
        let variables = self.temporary.path().join("variables");
        let variables = variables.display();
        let output = Command::new("sh")
            .args([
                "-ec",
                &format!(
                    "[ ! -e {variables} ] || . {variables}\n{}\nset -a\n{script}\nexport -p > {variables}",
                    self.environment
                ),
            ])
            .current_dir(self.clone.path())
            .env("PATH", path)
            .env("STEWARD_DATABASE__DATA_DIR", self.folder.path())
            .output()
            .unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{document}:\n{script}\n{stdout}\n{stderr}"
        );
        let left = fs::read_dir(self.clone.path()).unwrap().count();
        assert_eq!(
            left, 0,
            "{document} writes a file into the clone:\n{script}"
        );
        stdout
    }

    /// `steward doctor` finds nothing wrong after what was pasted.
    #[track_caller]
    fn is_healthy(&self, pasted: &str) {
        let output = Command::new(env!("CARGO_BIN_EXE_steward"))
            .arg("doctor")
            .env("STEWARD_DATABASE__DATA_DIR", self.folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "after\n{pasted}\n{said}");
    }

    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn every_call_of_the_readme_works_as_pasted() {
    let readme = read("README.md");
    assert!(readme.contains("cargo test --locked"));
    assert!(readme.lines().count() <= 180, "the README has grown");
    let calls: Vec<&str> = shell_blocks(&readme)
        .into_iter()
        .filter(|block| block.contains("curl "))
        .collect();
    let answers = [
        "Successful operation",
        "Successful operation",
        r#""error_text":"Successful operation""#,
        r#""effective_status":"suspended:reseller""#,
        r#""effectiveStatus":"suspended:reseller""#,
        r#""cursor":"#,
    ];
    assert_eq!(calls.len(), answers.len());
    let demo = Demo::start();
    for (call, wanted) in calls.iter().zip(answers) {
        let answer = demo.paste("README.md", call);
        assert!(answer.contains(wanted), "{call}\n{answer}");
        demo.is_healthy(call);
    }
    demo.stop();
}

/// What the sections of the tour answer: a text, and how often it is in the answers of a section.
const TOUR: &[(&str, usize)] = &[
    // The admin API: freeze and suspend, owners and levels, activate, expiry, read.
    ("Successful operation", 6),
    ("Successful operation", 5),
    ("Successful operation", 2),
    ("Successful operation", 2),
    ("Successful operation", 3),
    // SOAP.
    ("<Code>Success</Code>", 3),
    // REST: status and access.
    (r#""effectiveStatus":"suspended:reseller""#, 2),
    // Plans and tokens.
    (r#""token":"stw_"#, 1),
    // Webhooks and events.
    (r#""secret":"whsec_"#, 1),
    // Scheduling, purge and bulk.
    (r#""succeeded":2"#, 1),
];

#[test]
fn every_call_of_the_tour_works_as_pasted() {
    let tour = read("docs/tour.md");
    let sections: Vec<Vec<&str>> = tour
        .split("\n## ")
        .map(shell_blocks)
        .filter(|blocks| !blocks.is_empty())
        .collect();
    assert_eq!(sections.len(), TOUR.len());
    let demo = Demo::start();
    for (blocks, (wanted, count)) in sections.iter().zip(TOUR) {
        let answers = blocks.iter().map(|block| {
            let answer = demo.paste("docs/tour.md", block);
            demo.is_healthy(block);
            answer
        });
        let answers: String = answers.collect();
        let found = answers.matches(wanted).count();
        assert_eq!(found, *count, "{blocks:?}\n{answers}");
    }
    demo.stop();
}

/// The guides, in the order in which their commands run on one demo.
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
    let demo = Demo::start();
    for guide in GUIDES {
        let name = format!("docs/{guide}.md");
        let text = read(&name);
        let blocks = shell_blocks(&text);
        assert!(!blocks.is_empty(), "{name}");
        for block in blocks {
            demo.paste(&name, block);
            demo.is_healthy(block);
        }
    }
    demo.stop();
}

/// An interactive zsh, the shell of macOS, takes a comment for a command, and a parenthesis or an
/// apostrophe in it for syntax. What a block is about stands above it.
#[test]
fn no_block_to_paste_has_a_comment() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let mut language = None;
        for line in text.lines() {
            match (line.strip_prefix("```"), language) {
                (Some(_), Some(_)) => language = None,
                (Some(opened), None) => language = Some(opened),
                (None, Some("sh" | "text" | "bash" | "console")) => assert!(
                    !line.trim_start().starts_with('#') && !line.contains(" # "),
                    "{}: {line}",
                    document.display()
                ),
                (None, _) => {}
            }
        }
    }
}

// Links and names.

/// The name that GitHub gives a heading as the target of a link.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut count = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for target in text
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
            .filter(|target| !target.contains("://"))
        {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(file)
            };
            let place = document.display();
            assert!(path.exists(), "{place} links to {target}");
            if !heading.is_empty() {
                let linked = fs::read_to_string(&path).unwrap();
                let mut headings = linked.lines().filter(|line| line.starts_with('#'));
                assert!(
                    headings.any(|line| anchor(line) == heading),
                    "{place} links to {target}"
                );
            }
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

#[test]
fn every_decision_and_guide_is_listed() {
    let list = read("docs/README.md");
    for document in files(&root().join("docs"), &["md"]) {
        let name = document.strip_prefix(root().join("docs")).unwrap();
        let name = name.to_str().unwrap();
        assert!(
            name == "README.md" || list.contains(&format!("({name})")),
            "docs/README.md does not link to {name}"
        );
    }
}

/// The documents that name files and functions of the source.
const MAPS: [&str; 2] = ["docs/architecture.md", "CONTRIBUTING.md"];

#[test]
fn every_file_and_function_that_the_map_names_exists() {
    let mut source = String::new();
    for file in files(&root().join("src"), &["rs"]) {
        source.push_str(&fs::read_to_string(file).unwrap());
    }
    let mut count = 0;
    for map in MAPS {
        let text = read(map);
        // Between backticks, outside of code blocks.
        let prose: String = text.split("```").step_by(2).collect();
        for name in prose.split('`').skip(1).step_by(2) {
            if let Some(function) = name.strip_suffix("()") {
                let function = function.rsplit([':', '.']).next().unwrap();
                assert!(
                    source.contains(&format!("fn {function}("))
                        || source.contains(&format!("fn {function}<")),
                    "{map} names {name}"
                );
            } else if name.contains('/') && Path::new(name).extension().is_some_and(|it| it == "rs")
            {
                let is_there = root().join(name).exists() || root().join("src").join(name).exists();
                assert!(is_there, "{map} names {name}");
            } else {
                continue;
            }
            count += 1;
        }
    }
    assert!(count > 40, "{count}");
}

/// `steward_service` is no metric but the database role.
const DATABASE_ROLE: &str = "service";

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let source = ["mod", "process", "shares", "webhooks"]
        .map(|file| read(&format!("src/metrics/{file}.rs")))
        .concat();
    serde_json::from_str::<serde_json::Value>(&read("docs/grafana/steward.json")).unwrap();
    let mut count = 0;
    for file in [
        "docs/grafana/steward.json",
        "docs/prometheus/alerts.yml",
        "docs/operator.md",
    ] {
        let text = read(file);
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            let Some(name) = word
                .strip_prefix("steward_")
                .filter(|name| *name != DATABASE_ROLE)
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
                "{file} names {word}"
            );
            count += 1;
        }
    }
    assert!(count > 60, "{count}");
}

#[test]
fn the_cluster_in_ha_md_is_the_one_that_the_ha_lane_builds() {
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
