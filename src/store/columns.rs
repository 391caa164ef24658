//! Turns rows into columns, because `unnest` takes one array for each column.

/// Rows that are sent to `unnest`.
pub(super) struct Columns<'a, T>(pub(super) &'a [T]);

impl<'a, T> Columns<'a, T> {
    /// One column of all rows.
    pub(super) fn of<C>(&self, column: impl Fn(&'a T) -> C) -> Vec<C> {
        self.0.iter().map(column).collect()
    }
}
