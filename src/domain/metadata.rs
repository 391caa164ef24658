//! Metadata: members that a reseller gives an account for its own programs.

use std::collections::BTreeMap;

use super::{Error, Fact, text};

/// The most members that the metadata of an account may have.
pub const MAX_METADATA: usize = 50;
/// The maximum length of the name of a member, in characters.
const MAX_KEY: usize = 40;
/// The maximum length of the value of a member, in characters.
const MAX_VALUE: usize = 500;

/// The most members by which accounts can be selected at a time. Each costs the database a join.
pub const MAX_METADATA_CONDITIONS: usize = 10;

/// Texts by name. In a change, an empty text removes the member of this name. Stored metadata
/// contains no empty text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata(pub BTreeMap<String, String>);

impl Metadata {
    /// This metadata after a change. Members that the change does not name stay as they are, and so
    /// may those that an earlier version accepted by other rules.
    ///
    /// # Errors
    /// [`Error::InvalidField`] for `metadata`, naming the member that breaks a limit.
    pub fn with(&self, change: &Self) -> Result<Self, Error> {
        let mut all = self.clone();
        for (key, value) in &change.0 {
            check_key(key).map_err(refuse)?;
            if value.is_empty() {
                all.0.remove(key);
                continue;
            }
            let before = self.0.get(key);
            if before == Some(value) {
                continue;
            }
            if before.is_none() {
                check_visible(key)
                    .map_err(|problem| refuse(format!("the name {key:?} {problem}")))?;
            }
            check_value(value).map_err(|problem| refuse(format!("{key}: {problem}")))?;
            all.0.insert(key.clone(), value.clone());
        }
        let (before, after) = (self.0.len(), all.0.len());
        if after > MAX_METADATA && after > before {
            return Err(refuse(format!(
                "an account has at most {MAX_METADATA} members, and would have {after}; null \
                 removes one"
            )));
        }
        Ok(all)
    }
}

fn refuse(problem: String) -> Error {
    Error::invalid("metadata", problem)
}

/// Checks the name of a member. A name must also be the name of an XML element, because all
/// documents of accounts are written in XML too.
///
/// # Errors
/// What is wrong with it and what is accepted, for the caller.
pub fn check_key(key: &str) -> Result<(), String> {
    let length = key.chars().count();
    if !(1..=MAX_KEY).contains(&length) {
        return Err(format!(
            "the name {key:?} has {length} characters; a name has 1 to {MAX_KEY}"
        ));
    }
    if key.starts_with(is_name_start) && key.chars().all(is_name_part) {
        Ok(())
    } else {
        Err(format!(
            "the name {key:?} is not accepted; a name begins with a letter or _, and has letters, \
             digits, _, - and . only"
        ))
    }
}

fn check_value(value: &str) -> Result<(), String> {
    let length = value.chars().count();
    if length > MAX_VALUE {
        return Err(format!(
            "the value has {length} characters; a value has at most {MAX_VALUE}"
        ));
    }
    if value.trim() != value {
        return Err("the value must not begin or end with white space".to_owned());
    }
    let is_legal = |c: char| {
        matches!(c, '\n' | '\t') || !(c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}'))
    };
    if !value.chars().all(is_legal) {
        return Err("the value must not contain control characters".to_owned());
    }
    check_visible(value).map_err(|problem| format!("the value {problem}"))
}

/// Refuses invisible characters, as in other short texts. Names that differ in one alone look the
/// same to people.
///
/// # Errors
/// What is wrong, without the name of what has it.
fn check_visible(text: &str) -> Result<(), String> {
    match text::check_visible("metadata", text) {
        Err(Error::InvalidField { problem, .. }) => Err(problem),
        _ => Ok(()),
    }
}

/// `NameStartChar` of XML 1.0, without the colon.
fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}'
        | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
        | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

/// `NameChar` of XML 1.0, without the colon.
fn is_name_part(c: char) -> bool {
    is_name_start(c)
        || matches!(c,
            '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

impl From<&Metadata> for Fact {
    fn from(metadata: &Metadata) -> Self {
        if metadata.0.is_empty() {
            Self::Null
        } else {
            Self::Texts(metadata.0.clone())
        }
    }
}
