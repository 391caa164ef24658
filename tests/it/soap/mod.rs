//! The `soap` dialect: compatible with Zoolz.

mod calls;
