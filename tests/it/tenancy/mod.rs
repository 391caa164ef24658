//! Which credential reaches which reseller's data.

mod access_matrix;
mod credentials;
mod isolation;
