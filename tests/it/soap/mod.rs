//! The `soap` dialect: compatible with Zoolz.

mod account_info;
mod creation;
mod faults;
mod operations;
mod passwords;
mod plans;
mod transcript;
mod wsdl;

use crate::harness::soap::Soap;
use crate::harness::{App, Client};

/// Two resellers, each with one account: a client of the first in two dialects, and the number of
/// its account.
async fn two_resellers(app: &App) -> (Client, Soap, i64) {
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let id = client.account("jo").await;
    assert_eq!((id, other.account("theirs").await), (1, 2));
    let soap = Soap::of(&client);
    (client, soap, id)
}
