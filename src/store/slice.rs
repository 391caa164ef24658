//! Pages that are read from the database: bounded by a number of rows and by their bytes.

/// The most bytes of rows that are read at once for a page. Callers decide how large the texts in a
/// row are, so a number of rows alone would not limit the memory of a request.
pub const READ_AT_ONCE: i64 = 1 << 20;

/// The rows of a page, at least one unless there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice<T> {
    /// The rows in their order.
    pub rows: Vec<T>,
    /// Whether more rows may follow: the page has as many rows as were asked for, or it ended
    /// earlier because its rows are large.
    pub has_more: bool,
}

impl<T> Slice<T> {
    /// The rows until their sizes together reach [`READ_AT_ONCE`]. `limit` is the number of rows
    /// that were asked for.
    pub(super) fn within(rows: Vec<T>, size: impl Fn(&T) -> i64, limit: i64) -> Self {
        Self::up_to(READ_AT_ONCE, rows, size, limit)
    }

    /// As [`Slice::within`], until the sizes reach `budget` bytes.
    pub(super) fn up_to(
        budget: i64,
        mut rows: Vec<T>,
        size: impl Fn(&T) -> i64,
        limit: i64,
    ) -> Self {
        let found = rows.len();
        let mut left = budget;
        let fits = |row: &&T| {
            let fits = left > 0;
            left -= size(row);
            fits
        };
        let fitting = rows.iter().take_while(fits).count();
        rows.truncate(fitting);
        Self {
            rows,
            has_more: fitting < found || i64::try_from(found) == Ok(limit),
        }
    }

    /// The page with each row turned into another.
    #[must_use]
    pub fn map<U>(self, row: impl FnMut(T) -> U) -> Slice<U> {
        Slice {
            rows: self.rows.into_iter().map(row).collect(),
            has_more: self.has_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_with_the_row_that_reaches_the_budget() {
        let percent = READ_AT_ONCE / 100;
        let slice = |sizes: &[i64], limit| {
            let slice = Slice::within(sizes.to_vec(), |size| size * (percent + 1), limit);
            (slice.rows.len(), slice.has_more)
        };
        assert_eq!(slice(&[], 3), (0, false));
        assert_eq!(slice(&[40, 40], 3), (2, false));
        assert_eq!(slice(&[40, 40, 10], 3), (3, true));
        assert_eq!(slice(&[40, 40, 40, 40], 9), (3, true));
        assert_eq!(slice(&[1_000, 1], 9), (1, true));
        assert_eq!(slice(&[60, 40], 3), (2, false));
    }
}
