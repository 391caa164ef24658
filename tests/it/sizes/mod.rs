//! How large callers can make what is stored and answered.

mod own_members;
mod pages;
mod texts;
