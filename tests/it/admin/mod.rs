//! The `admin` dialect: JSON and XML calls, compatible with Altcraft.

mod altcraft_examples;
mod bad_input;
mod calls;
mod lists;
