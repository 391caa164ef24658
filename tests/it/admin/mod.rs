//! The `admin` dialect: JSON and XML calls, compatible with Altcraft.

mod accounts;
mod altcraft_examples;
mod bad_bodies;
mod bad_members;
mod formats;
mod holds;
mod lists;
mod save;
mod transcript;

use crate::harness::{App, Client};

/// A client with one account, number 1.
async fn client_with_an_account(app: &App) -> Client {
    let client = app.new_reseller("Acme").await;
    assert_eq!(client.account("a").await, 1);
    client
}
