//! What the fixture must have: rows of every table, and of every column both a value and none.
