//! Rows as columns: what `unnest` takes.

/// Rows, to be read column by column for `unnest`.
pub(super) struct Columns<'a, T>(pub(super) &'a [T]);

impl<'a, T> Columns<'a, T> {
    pub(super) fn of<C>(&self, column: impl Fn(&'a T) -> C) -> Vec<C> {
        self.0.iter().map(column).collect()
    }
}
