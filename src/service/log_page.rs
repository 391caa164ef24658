//! Pages of logs by number. A log grows without end, so its entries are counted up to a limit.

use crate::domain::Error;

/// The most entries of a log that are counted, that a page can skip, and in which a text is looked
/// for: the database reads all of them.
pub const MAX_LOGGED: i64 = 100_000;

/// A page of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogPage {
    /// How many entries the pages before it have, at most [`MAX_LOGGED`].
    pub skip: i64,
    /// The largest number of entries on it.
    pub limit: i64,
    /// Whether the oldest entry comes first.
    pub is_ascending: bool,
    /// Whether the entries on all pages are counted.
    pub is_counted: bool,
    /// In how many of the newest entries a text is looked for, from 1 on.
    pub searched: i64,
}

impl LogPage {
    /// How many of `count` entries to skip and how many to read, newest first. A page of the oldest
    /// entries is read from the other end, and turned around.
    pub(super) fn newest_first(self, count: Option<i64>) -> Result<(i64, i64), Error> {
        if !self.is_ascending {
            return Ok((self.skip, self.limit));
        }
        let count = count.unwrap_or_default();
        if count > MAX_LOGGED {
            let problem = "must be -createdAt, the newest first: the list has more than 100,000 \
                           entries";
            return Err(Error::invalid("sort", problem));
        }
        let left = (count - self.skip).clamp(0, self.limit);
        Ok(((count - self.skip - left).max(0), left))
    }

    /// The rows that were read, in the order of the page.
    pub(super) fn in_order<R>(self, mut rows: Vec<R>) -> Vec<R> {
        if self.is_ascending {
            rows.reverse();
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_from_the_oldest_entry_on_have_every_entry_once() {
        let page = |skip| LogPage {
            skip,
            limit: 3,
            is_ascending: true,
            is_counted: true,
            searched: MAX_LOGGED,
        };
        // Seven entries, of which the newest is number 0.
        let read = [0, 3, 6, 9].map(|skip| page(skip).newest_first(Some(7)).unwrap());
        assert_eq!(read, [(4, 3), (1, 3), (0, 1), (0, 0)]);
        assert!(page(0).newest_first(Some(MAX_LOGGED + 1)).is_err());
    }
}
