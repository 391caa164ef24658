//! Which credential reaches which reseller's data.

mod access_matrix;
mod authority;
mod credential_cache;
mod isolation;
mod jwt;
mod operation_rows;
mod own_rows;
mod tokens;
mod two_layers;
