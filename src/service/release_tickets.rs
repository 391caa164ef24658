//! Release tickets: a payment page can lift one freeze with a ticket, without a token.
//!
//! A ticket names a hold and its revision, and is signed (HMAC) with a key of this database. It is
//! not stored. It lifts the freeze as long as that very hold is open and was not revised since: a
//! freeze that was revised for another invoice is not lifted by paying the old one.
//!
//! Earlier versions made tickets without a revision. Such a ticket is one for revision 1: that a
//! later one was meant is not known.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use uuid::Uuid;

use super::group_commit::{ChangeKind, Request};
use super::{Completion, Context, IdempotentRequest, Principal, Service};
use crate::domain::{
    Account, AccountId, Actor, Authority, Command, Dialect, Error, HoldId, HoldKind, Owner,
    ResellerId, TICKET_PREFIX,
};

/// The name of the signing key in the database.
const KEY: &str = "release_tickets";
/// The length of the signed part: 8 bytes for the reseller, 4 for the account, 1 for the authority,
/// 16 for the hold, 4 for its revision.
const SIGNED: usize = 33;
/// The same without the revision, which earlier versions left out.
const SIGNED_WITHOUT_REVISION: usize = 29;
/// The length of the signature.
const SIGNATURE: usize = 32;

/// The freeze that a ticket lifts.
struct Ticket {
    reseller: ResellerId,
    account: AccountId,
    authority: Authority,
    hold: HoldId,
    revision: i32,
}

/// Makes and reads tickets.
#[derive(Clone)]
pub struct TicketMaker(Arc<[u8]>);

impl std::fmt::Debug for TicketMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketMaker")
    }
}

impl TicketMaker {
    /// The ticket for the freeze that an authority has placed on an account for an owner. `None` if
    /// there is no such freeze.
    #[must_use]
    pub fn ticket(
        &self,
        account: &Account,
        authority: Authority,
        owner: Option<&Owner>,
    ) -> Option<SecretString> {
        let hold = account
            .holds
            .iter()
            .find(|hold| hold.kind == HoldKind::Freeze && hold.is_of(authority, owner))?;
        let index = u8::try_from(Authority::ALL.iter().position(|it| *it == authority)?).ok()?;
        let mut bytes = Vec::with_capacity(SIGNED + SIGNATURE);
        bytes.extend(account.reseller_id.0.to_be_bytes());
        bytes.extend(account.id.as_i32().to_be_bytes());
        bytes.push(index);
        bytes.extend(hold.id.0.as_bytes());
        bytes.extend(hold.revision.to_be_bytes());
        let signature = self.mac(&bytes)?.finalize().into_bytes();
        bytes.extend(signature);
        Some(SecretString::from(format!(
            "{TICKET_PREFIX}{}",
            BASE64URL_NOPAD.encode(&bytes)
        )))
    }

    /// The freeze that a ticket names. `None` if the signature is not ours.
    fn read(&self, ticket: &SecretString) -> Option<Ticket> {
        let bytes = BASE64URL_NOPAD
            .decode(
                ticket
                    .expose_secret()
                    .trim()
                    .strip_prefix(TICKET_PREFIX)?
                    .as_bytes(),
            )
            .ok()?;
        let signed = bytes.len().checked_sub(SIGNATURE);
        let signed = signed.filter(|it| [SIGNED, SIGNED_WITHOUT_REVISION].contains(it))?;
        let (signed, signature) = bytes.split_at_checked(signed)?;
        self.mac(signed)?.verify_slice(signature).ok()?;
        let (reseller, rest) = signed.split_first_chunk::<8>()?;
        let (account, rest) = rest.split_first_chunk::<4>()?;
        let (authority, rest) = rest.split_first()?;
        let (hold, revision) = rest.split_first_chunk::<16>()?;
        let revision = revision.first_chunk::<4>();
        Some(Ticket {
            reseller: ResellerId(i64::from_be_bytes(*reseller)),
            account: AccountId::new(i64::from(i32::from_be_bytes(*account))).ok()?,
            authority: *Authority::ALL.get(usize::from(*authority))?,
            hold: HoldId(Uuid::from_bytes(*hold)),
            revision: revision.map_or(1, |bytes| i32::from_be_bytes(*bytes)),
        })
    }

    fn mac(&self, signed: &[u8]) -> Option<Hmac<Sha256>> {
        Hmac::<Sha256>::new_from_slice(&self.0)
            .ok()
            .map(|mac| mac.chain_update(signed))
    }
}

/// A ticket whose signature is ours.
#[derive(Debug, Clone)]
pub struct ReleaseTicket {
    /// The caller that the ticket makes of its bearer.
    pub bearer: Principal,
    account: AccountId,
    hold: HoldId,
    revision: i32,
}

impl Service {
    /// The maker of this database's tickets.
    pub async fn ticket_maker(&self) -> Result<TicketMaker, Error> {
        self.named_key(KEY.to_owned()).await.map(TicketMaker)
    }

    /// Reads a ticket.
    ///
    /// # Errors
    /// [`Error::TicketInvalid`] if it is not ours.
    pub async fn release_ticket(&self, ticket: &SecretString) -> Result<ReleaseTicket, Error> {
        let Ticket {
            reseller,
            account,
            authority,
            hold,
            revision,
        } = self
            .ticket_maker()
            .await?
            .read(ticket)
            .ok_or(Error::TicketInvalid)?;
        let agent = Actor {
            authority,
            bound_to: None,
            name: format!("release ticket of hold {hold}"),
        };
        Ok(ReleaseTicket {
            bearer: Principal::of_reseller(reseller).acting_as(agent),
            account,
            hold,
            revision,
        })
    }

    /// Lifts the freeze that a ticket names, also if the reseller is suspended: its customers still
    /// pay. A repeat changes nothing.
    ///
    /// # Errors
    /// [`Error::AccountNotFound`], or [`Error::Conflict`] if the account was frozen again, or the
    /// freeze revised, after this ticket.
    pub async fn redeem(
        &self,
        ticket: &ReleaseTicket,
        dialect: Dialect,
        request_id: String,
        idempotency: Option<IdempotentRequest>,
    ) -> Result<Completion, Error> {
        let (account, reseller) = (ticket.account, ticket.bearer.storage_reseller());
        let command = Command::Redeem {
            hold: ticket.hold,
            revision: ticket.revision,
        };
        self.change(Request {
            context: Context {
                principal: ticket.bearer.clone(),
                dialect,
                request_id,
            },
            reseller,
            kind: ChangeKind::Command {
                account,
                command,
                expected_versions: None,
                filter: None,
            },
            idempotency,
        })
        .await
    }
}
