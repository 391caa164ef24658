//! Release tickets: whoever collects the payment can lift the freeze that asked for it, and nothing else, without a token.
//!
//! A ticket names a hold and is sealed with a key of this database. It is kept nowhere: as long as its hold is the one that is
//! open it lifts it, and afterwards it lifts nothing any more.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use uuid::Uuid;

use super::group_commit::{ChangeKind, Request};
use super::{CommandOutcome, Context, Principal, Service};
use crate::domain::{
    Account, AccountId, Actor, Authority, Command, Dialect, Error, HoldId, HoldKind, ResellerId,
    TICKET_PREFIX,
};

/// The name of the key.
const KEY: &str = "release_tickets";
/// Of whose hold it is 8 bytes, of which account 4, the authority 1, the hold 16.
const NAMED: usize = 29;

/// Makes tickets.
#[derive(Clone)]
pub struct TicketMaker(Arc<[u8]>);

impl std::fmt::Debug for TicketMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketMaker")
    }
}

impl TicketMaker {
    /// The ticket of the freeze that an authority has open at an account.
    #[must_use]
    pub fn ticket(&self, account: &Account, authority: Authority) -> Option<SecretString> {
        let hold = account
            .holds
            .iter()
            .find(|hold| hold.kind == HoldKind::Freeze && hold.authority == authority)?;
        let place = u8::try_from(Authority::ALL.iter().position(|it| *it == authority)?).ok()?;
        let mut named = Vec::with_capacity(NAMED + 32);
        named.extend(account.reseller_id.0.to_be_bytes());
        named.extend(account.id.as_i32().to_be_bytes());
        named.push(place);
        named.extend(hold.id.0.as_bytes());
        let seal = self.seal(&named)?.finalize().into_bytes();
        named.extend(seal);
        Some(SecretString::from(format!(
            "{TICKET_PREFIX}{}",
            BASE64URL_NOPAD.encode(&named)
        )))
    }

    /// What a ticket names, if the seal is ours.
    fn read(&self, ticket: &SecretString) -> Option<(ResellerId, AccountId, Authority, HoldId)> {
        let bytes = BASE64URL_NOPAD
            .decode(
                ticket
                    .expose_secret()
                    .trim()
                    .strip_prefix(TICKET_PREFIX)?
                    .as_bytes(),
            )
            .ok()?;
        let (named, seal) = bytes.split_at_checked(NAMED)?;
        self.seal(named)?.verify_slice(seal).ok()?;
        let (reseller, rest) = named.split_first_chunk::<8>()?;
        let (account, rest) = rest.split_first_chunk::<4>()?;
        let (authority, hold) = rest.split_first()?;
        Some((
            ResellerId(i64::from_be_bytes(*reseller)),
            AccountId::new(i64::from(i32::from_be_bytes(*account))).ok()?,
            *Authority::ALL.get(usize::from(*authority))?,
            HoldId(Uuid::from_slice(hold).ok()?),
        ))
    }

    fn seal(&self, named: &[u8]) -> Option<Hmac<Sha256>> {
        Hmac::<Sha256>::new_from_slice(&self.0)
            .ok()
            .map(|mac| mac.chain_update(named))
    }
}

impl Service {
    /// What makes the tickets of this database.
    ///
    /// # Errors
    /// That the database cannot be asked.
    pub async fn ticket_maker(&self) -> Result<TicketMaker, Error> {
        self.named_key(KEY.to_owned()).await.map(TicketMaker)
    }

    /// Lifts the freeze that a ticket names; a repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::CredentialInvalid`] for what is no ticket of ours, [`Error::AccountNotFound`], or a conflict when the account was
    /// frozen anew.
    pub async fn redeem(
        &self,
        ticket: &SecretString,
        dialect: Dialect,
        request_id: String,
    ) -> Result<CommandOutcome, Error> {
        let (reseller, account, authority, hold) = self
            .ticket_maker()
            .await?
            .read(ticket)
            .ok_or(Error::CredentialInvalid)?;
        let agent = Actor {
            authority,
            name: format!("release ticket of hold {hold}"),
        };
        let principal = Principal {
            agent: Some(agent),
            ..Principal::automation(reseller)
        };
        let command = Command::Lift {
            kind: HoldKind::Freeze,
            only: Some(hold),
        };
        let what = ChangeKind::Command {
            account,
            command,
            only_at: None,
        };
        self.change(Request {
            context: Context {
                principal,
                dialect,
                request_id,
            },
            reseller,
            what,
            once: None,
        })
        .await?
        .done()
    }
}
