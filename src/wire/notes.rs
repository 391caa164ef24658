//! Notes about a document while it is read: where the reader is, and what it does not know.

use super::nearest::nearest;

/// The names of a struct's fields, as serde's derive lists them.
pub(super) type Fields = &'static [&'static str];

/// A member of a document that the request does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownMember {
    /// Its path, such as `selector.stat` or `operations[2].acount`.
    pub path: String,
    /// The path of the member that the caller may have meant. `None` if no name is near enough.
    pub nearest: Option<String>,
    /// The members that the request knows in this place.
    pub known: Vec<String>,
}

impl UnknownMember {
    /// Whether the member stands beside the first members of the document, not inside one.
    #[must_use]
    pub fn is_at_the_top(&self) -> bool {
        !self.path.contains(['.', '['])
    }

    /// What is wrong with it, for the caller.
    #[must_use]
    pub fn problem(&self) -> String {
        match (&self.nearest, self.known.as_slice()) {
            (Some(nearest), _) => {
                format!("is no member of this request; did you mean {nearest}?")
            }
            (None, []) => "is no member of this request, which has none".to_owned(),
            (None, known) => format!(
                "is no member of this request; the members are {}",
                known.join(", ")
            ),
        }
    }
}

/// A step of a path.
#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

/// The largest number of unknown members that are noted. A request is refused for the first one.
const MAX_UNKNOWN: usize = 100;

#[derive(Debug)]
struct Found {
    parent: String,
    name: String,
    fields: Fields,
}

/// The notes about a document while it is read.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// Serde's derive also reads a struct from a sequence. Set in JSON, where this would let an
    /// array pass for an object.
    pub(super) refuses_sequences: bool,
    /// The path of the value that is being read. After an error it is the path of the error.
    path: Vec<Step>,
    unknown: Vec<Found>,
    /// The structs that were read, with the path of the first of each kind.
    structs: Vec<(String, Fields)>,
}

impl Notes {
    pub(super) fn enter_member(&mut self, name: String) {
        self.path.push(Step::Member(name));
    }

    pub(super) fn enter_element(&mut self, index: usize) {
        self.path.push(Step::Element(index));
    }

    pub(super) fn leave(&mut self) {
        self.path.pop();
    }

    /// The path of the value that is being read, such as `operations[2].status`.
    pub(super) fn path(&self) -> String {
        self.path
            .iter()
            .fold(String::new(), |path, step| match step {
                Step::Member(name) => join(&path, name),
                Step::Element(index) => format!("{path}[{index}]"),
            })
    }

    /// The members that no struct knew, each once, in the order of the document.
    pub(super) fn unknown(&self) -> Vec<UnknownMember> {
        let unknown = |found: &Found| {
            let known = found.fields.iter().filter(|name| is_name(name));
            UnknownMember {
                path: join(&found.parent, &found.name),
                nearest: self.nearest(found),
                known: known.map(|name| (*name).to_owned()).collect(),
            }
        };
        self.unknown.iter().map(unknown).collect()
    }

    /// The paths of the same members.
    pub(super) fn unknown_paths(&self) -> Vec<String> {
        let paths = self.unknown.iter();
        paths
            .map(|found| join(&found.parent, &found.name))
            .collect()
    }

    /// The name of the only member of the document. `None` if it can have several, or none.
    pub(super) fn only_member(&self) -> Option<&'static str> {
        match self.structs.first()? {
            (path, [only]) if path.is_empty() => Some(only),
            _ => None,
        }
    }

    /// The names of the unknown members of the object that is being read.
    pub(super) fn unknown_beside(&self) -> Vec<&str> {
        let path = self.path();
        let beside = self.unknown.iter().filter(|found| found.parent == path);
        beside.map(|found| found.name.as_str()).collect()
    }

    /// Notes the member if the struct with these fields does not know it.
    pub(super) fn check(&mut self, name: &str, fields: Fields) {
        if fields.contains(&name) || self.unknown.len() == MAX_UNKNOWN {
            return;
        }
        let parent = self.path();
        let is_same = |found: &Found| found.parent == parent && found.name == name;
        if !self.unknown.iter().any(is_same) {
            self.unknown.push(Found {
                parent,
                name: name.to_owned(),
                fields,
            });
        }
    }

    /// The nearest member in the same object, or the one with the same name in another object.
    fn nearest(&self, found: &Found) -> Option<String> {
        let beside = found.fields.iter().copied().filter(|name| is_name(name));
        nearest(&found.name, beside)
            .map(|name| join(&found.parent, name))
            .or_else(|| {
                let (path, _) = self
                    .structs
                    .iter()
                    .find(|(_, fields)| fields.contains(&found.name.as_str()))?;
                Some(join(path, &found.name))
            })
    }

    pub(super) fn read_struct(&mut self, fields: Fields) {
        if !self
            .structs
            .iter()
            .any(|(_, known)| std::ptr::eq(*known, fields))
        {
            self.structs.push((self.path(), fields));
        }
    }
}

/// Quick-xml presents attributes and texts as members named `@...` and `$text`.
fn is_name(name: &str) -> bool {
    !name.starts_with(['@', '$'])
}

fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}
