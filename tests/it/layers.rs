//! The rooms of `src/`: which room may use which, and no circles of imports, neither between rooms
//! nor between the files of one room. The tests read the source files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, the rooms that it may use, and the crates that it must not mention.
const ROOMS: [(&str, &[&str], &[&str]); 17] = [
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
    ("files", &[], &["axum", "sqlx", "serde", "tokio"]),
    ("hash", &[], &["axum", "sqlx", "serde", "tokio"]),
    ("secret_url", &[], &["axum", "sqlx", "tokio", "tracing"]),
    ("metrics", &[], &["axum", "sqlx", "tokio", "tracing"]),
    ("shares", &["domain", "metrics"], &["axum", "sqlx"]),
    ("wire", &[], &["axum", "sqlx", "tokio", "utoipa"]),
    (
        "store",
        &["domain", "hash", "telemetry"],
        &["axum", "utoipa", "clap", "figment", "tower_http"],
    ),
    (
        "jwt",
        &["domain", "secret_url"],
        &["axum", "sqlx", "utoipa", "clap", "figment"],
    ),
    (
        "service",
        &[
            "domain",
            "hash",
            "jwt",
            "metrics",
            "shares",
            "store",
            "telemetry",
        ],
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
        &[
            "domain",
            "metrics",
            "service",
            "shares",
            "store",
            "telemetry",
        ],
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
        &["domain", "hash", "metrics", "service", "shares", "wire"],
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
            "shares",
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
            "secret_url",
            "service",
            "store",
            "telemetry",
            "webhooks",
            "wire",
        ],
        &["axum", "sqlx", "clap"],
    ),
    ("telemetry", &["secret_url"], &["sqlx", "clap", "figment"]),
    (
        "app",
        &[
            "config", "dialects", "domain", "files", "http", "jobs", "jwt", "service", "store",
            "webhooks",
        ],
        &["clap"],
    ),
];

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

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
    let src = src();
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

/// The code of a file, without its comments and its unit tests.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether the code names a crate: `word::`, but not `crate::word::` or `super::word::`.
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

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Expands the lists of one path: `a::{b, c::d}` becomes `a::b` and `a::c::d`. Returns the code
/// behind the path.
fn expand<'a>(code: &'a str, mut path: Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) -> &'a str {
    if let Some(mut rest) = code.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
            if rest.is_empty() || rest.starts_with('}') {
                return rest.strip_prefix('}').unwrap_or(rest);
            }
            let behind = expand(rest, path.clone(), found);
            // Skips `as name` and `*`.
            rest = &behind[behind.find([',', '{', '}']).unwrap_or(behind.len())..];
        }
    }
    let (word, rest) = code.split_at(code.find(|c| !is_word(c)).unwrap_or(code.len()));
    if !word.is_empty() {
        path.push(word);
        if let Some(rest) = rest.strip_prefix("::") {
            return expand(rest, path, found);
        }
    }
    found.push(path);
    rest
}

/// Every path of the code that begins with `crate`, `super`, `self` or one of these modules.
fn paths<'a>(code: &'a str, modules: &[String]) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let before = &code[..at];
        let start = before.rfind(|c| !is_word(c)).map_or(0, |end| end + 1);
        let word = &before[start..];
        let begins = !before[..start].ends_with("::")
            && (["crate", "super", "self"].contains(&word) || modules.iter().any(|it| it == word));
        if begins {
            expand(&code[start..], Vec::new(), &mut found);
        }
    }
    found
}

/// The files of a room by module path, such as `["store", "accounts", "list"]`.
fn modules(room: &str) -> BTreeMap<Vec<String>, PathBuf> {
    files(room)
        .into_iter()
        .map(|path| {
            let module = path.strip_prefix(src()).unwrap().with_extension("");
            let mut names: Vec<String> = module
                .iter()
                .map(|name| name.to_str().unwrap().to_owned())
                .collect();
            if names.last().is_some_and(|name| name == "mod") {
                names.pop();
            }
            (names, path)
        })
        .collect()
}

/// The module that defines what a path names. Follows up to three re-exports of a `mod.rs`.
fn module_of(
    from: &[String],
    path: &[&str],
    modules: &BTreeMap<Vec<String>, PathBuf>,
    re_exports: u8,
) -> Option<Vec<String>> {
    let mut module = from.to_vec();
    let mut rest = path;
    while let Some((&name, behind)) = rest.split_first() {
        match name {
            "self" => {}
            "crate" => module.clear(),
            "super" => drop(module.pop()),
            _ => {
                module.push(name.to_owned());
                if module.len() > 1 && !modules.contains_key(&module) {
                    module.pop();
                    break;
                }
            }
        }
        rest = behind;
    }
    let file = modules.get(&module)?;
    let through = || {
        let item = rest
            .first()
            .filter(|_| re_exports > 0 && file.ends_with("mod.rs"))?;
        let code = code(file);
        let uses = uses(&module, &code, modules);
        let use_of_it = uses.iter().find(|path| path.last() == Some(item))?;
        module_of(&module, use_of_it, modules, re_exports - 1)
    };
    through().or_else(|| Some(module.clone()))
}

/// The paths that a file mentions. They begin with a keyword or with a child module of the file.
fn uses<'a>(
    module: &[String],
    code: &'a str,
    modules: &BTreeMap<Vec<String>, PathBuf>,
) -> Vec<Vec<&'a str>> {
    let children: Vec<String> = modules
        .keys()
        .filter(|path| path.len() == module.len() + 1 && path.starts_with(module))
        .map(|path| path.last().unwrap().clone())
        .collect();
    paths(code, &children)
}

/// The files of a room, each with the files that it imports. A `mod.rs` imports its whole folder
/// and is left out.
fn imports(room: &str) -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules(room);
    let is_mod = |module: &Vec<String>| modules[module].ends_with("mod.rs");
    let mut graph = BTreeMap::new();
    for (module, file) in modules.iter().filter(|(module, _)| !is_mod(module)) {
        let code = code(file);
        let used: BTreeSet<String> = uses(module, &code, &modules)
            .iter()
            .filter_map(|path| module_of(module, path, &modules, 3))
            .filter(|used| used != module && !is_mod(used))
            .map(|used| used.join("::"))
            .collect();
        graph.insert(module.join("::"), used);
    }
    graph
}

fn reachable<'a>(graph: &'a BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut left: Vec<&str> = graph[from].iter().map(String::as_str).collect();
    while let Some(next) = left.pop() {
        if seen.insert(next) {
            left.extend(graph[next].iter().map(String::as_str));
        }
    }
    seen
}

#[test]
fn the_files_of_a_room_import_each_other_without_circles() {
    let mut circles = Vec::new();
    for (room, ..) in ROOMS {
        let graph = imports(room);
        let reach: BTreeMap<&str, _> = graph
            .keys()
            .map(|file| (file.as_str(), reachable(&graph, file)))
            .collect();
        for (file, used) in &graph {
            for used in used
                .iter()
                .filter(|used| reach[used.as_str()].contains(file.as_str()))
            {
                circles.push(format!("{file} -> {used}"));
            }
        }
    }
    assert!(
        circles.is_empty(),
        "circles of imports:\n{}",
        circles.join("\n")
    );
}

#[test]
fn a_room_uses_only_the_rooms_below_it() {
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
fn the_rooms_have_no_circles_and_the_table_names_all_of_them() {
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
    let listed: BTreeSet<String> = fs::read_to_string(src().join("lib.rs"))
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
fn only_the_store_has_sql() {
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
