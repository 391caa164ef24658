//! Which credential reaches which reseller's data.

mod access_matrix;
mod credential_cache;
mod isolation;
mod jwt;
mod operation_rows;
mod tokens;
mod two_layers;
