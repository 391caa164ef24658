//! The rooms of `src/` and the one-way road between them, held by walking the files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room with what it may use of ours, and what it must never mention of others'.
const ROOMS: [(&str, &[&str], &[&str]); 14] = [
    (
        "domain",
        &[],
        &[
            "axum",
            "sqlx",
            "serde",
            "serde_json",
            "tokio",
            "tracing",
            "quick_xml",
            "utoipa",
            "figment",
        ],
    ),
    ("hash", &[], &["axum", "sqlx", "serde", "tokio"]),
    ("metrics", &[], &["axum", "sqlx", "tokio", "tracing"]),
    ("wire", &[], &["axum", "sqlx", "tokio", "utoipa"]),
    (
        "store",
        &["domain", "hash", "telemetry"],
        &["axum", "utoipa", "clap", "figment", "tower_http"],
    ),
    (
        "jwt",
        &["domain"],
        &["axum", "sqlx", "utoipa", "clap", "figment"],
    ),
    (
        "service",
        &["domain", "hash", "jwt", "metrics", "store", "telemetry"],
        &[
            "axum",
            "sqlx",
            "serde",
            "serde_json",
            "quick_xml",
            "utoipa",
            "clap",
        ],
    ),
    (
        "jobs",
        &["domain", "service", "store"],
        &["axum", "sqlx", "utoipa"],
    ),
    (
        "webhooks",
        &["domain", "service", "store", "telemetry"],
        &[
            "axum",
            "sqlx",
            "utoipa",
            "clap",
            "figment",
            "serde",
            "serde_json",
        ],
    ),
    (
        "dialects",
        &["domain", "hash", "metrics", "service", "wire"],
        &["sqlx", "clap", "figment", "tower_http"],
    ),
    (
        "http",
        &[
            "dialects",
            "domain",
            "hash",
            "metrics",
            "service",
            "telemetry",
            "wire",
        ],
        &["sqlx", "clap", "figment"],
    ),
    (
        "config",
        &[
            "dialects",
            "http",
            "jobs",
            "jwt",
            "service",
            "store",
            "telemetry",
            "webhooks",
        ],
        &["axum", "sqlx", "clap"],
    ),
    ("telemetry", &[], &["sqlx", "clap", "figment"]),
    (
        "app",
        &[
            "config", "dialects", "domain", "http", "jobs", "jwt", "service", "store", "webhooks",
        ],
        &["clap"],
    ),
];

fn files(room: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            if entry.is_dir() {
                walk(&entry, into);
            } else if entry.extension().is_some_and(|it| it == "rs") {
                into.push(entry);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let file = src.join(format!("{room}.rs"));
    if file.is_file() {
        found.push(file);
    }
    if src.join(room).is_dir() {
        walk(&src.join(room), &mut found);
    }
    assert!(!found.is_empty(), "{room} has no files");
    found
}

/// The code of a file, without comments and without what only tests see.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The words that stand right before `::`, or in `use` lists of the crate, as `crate::word`.
fn mentions(code: &str, word: &str) -> bool {
    let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_');
    code.match_indices(&format!("{word}::")).any(|(at, _)| {
        boundary(code[..at].chars().next_back())
            && !code[..at].ends_with("crate::")
            && !code[..at].ends_with("super::")
    })
}

fn rooms_used(code: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + 7..];
        let list = rest.strip_prefix('{').map_or_else(
            || {
                rest.split(|c: char| !c.is_alphanumeric() && c != '_')
                    .next()
                    .unwrap()
            },
            |list| list.split('}').next().unwrap(),
        );
        used.extend(
            list.split(',')
                .map(|name| name.trim().split("::").next().unwrap().to_owned()),
        );
    }
    used
}

#[test]
fn no_room_uses_what_lies_above_it() {
    let known: BTreeSet<&str> = ROOMS
        .iter()
        .map(|(room, ..)| *room)
        .chain(["cli"])
        .collect();
    for (room, may_use, never) in ROOMS {
        for path in files(room) {
            let code = code(&path);
            for used in rooms_used(&code) {
                let is_room = known.contains(used.as_str());
                assert!(
                    !is_room || used == room || may_use.contains(&used.as_str()),
                    "{} uses {used}",
                    path.display()
                );
            }
            for word in never {
                assert!(!mentions(&code, word), "{} mentions {word}", path.display());
            }
        }
    }
}

#[test]
fn the_road_has_no_circles_and_every_room_is_on_it() {
    let mut standing: Vec<&str> = Vec::new();
    let mut left: Vec<_> = ROOMS.to_vec();
    while !left.is_empty() {
        let (free, blocked): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|(_, uses, _)| uses.iter().all(|room| standing.contains(room)));
        assert!(!free.is_empty(), "a circle among {blocked:?}");
        standing.extend(free.iter().map(|(room, ..)| *room));
        left = blocked;
    }
    let listed: BTreeSet<String> =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs"))
            .unwrap()
            .lines()
            .filter_map(|line| {
                line.strip_prefix("pub mod ")
                    .map(|name| name.trim_end_matches(';').to_owned())
            })
            .collect();
    let on_the_road: BTreeSet<String> = standing
        .iter()
        .map(|room| (*room).to_owned())
        .chain(["cli".to_owned()])
        .collect();
    assert_eq!(listed, on_the_road);
}

#[test]
fn statements_stand_in_the_store_only() {
    for room in [
        "service", "jobs", "dialects", "http", "config", "app", "cli",
    ] {
        for path in files(room) {
            let code = code(&path);
            for word in [
                "\"select ",
                "\"insert into",
                "\"update ",
                "\"delete from",
                "\"begin",
                "query!(",
                "query_as!(",
                "raw_sql",
            ] {
                assert!(!code.contains(word), "{} has SQL: {word}", path.display());
            }
        }
    }
}

#[test]
fn files_stay_small() {
    for (room, ..) in ROOMS {
        for path in files(room) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= 500, "{} has {lines} lines", path.display());
        }
    }
}
