//! Where a document is not well-formed.

use quick_xml::Reader;
use quick_xml::events::Event;

use super::MAX_ATTRIBUTES;
use crate::wire::xml::well_formed;
use crate::wire::{MAX_DEPTH, text_of};

/// What makes a document not well-formed, and where. `None` if that is not known.
#[must_use]
pub fn not_well_formed(body: &[u8]) -> Option<String> {
    let text = match text_of(body) {
        Ok(text) => text,
        Err(error) => return Some(error.to_string()),
    };
    if text.trim().is_empty() {
        return Some("the body is empty".to_owned());
    }
    let mut reader = Reader::from_str(text);
    let mut depth = 0_usize;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                depth += 1;
                // Beyond these limits the other parser takes too long.
                if depth > MAX_DEPTH || start.attributes().count() > MAX_ATTRIBUTES {
                    return None;
                }
            }
            Ok(Event::Empty(start)) if start.attributes().count() > MAX_ATTRIBUTES => return None,
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Eof) => return well_formed(text).err(),
            Ok(_) => {}
            Err(error) => {
                let at = usize::try_from(reader.error_position()).unwrap_or(usize::MAX);
                let before = text.get(..at).unwrap_or(text);
                let line = before.matches('\n').count() + 1;
                let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
                return Some(format!("not well-formed XML: {error} at {line}:{column}"));
            }
        }
    }
}
