//! Cursors: positions in lists. A cursor ends with a short checksum over its list, position and
//! reseller, so that invented cursors and those of other resellers are refused.

use data_encoding::BASE64URL_NOPAD;

use crate::dialects::failure::Failure;
use crate::domain::{AccountId, ComingKind, ComingPlace, HoldId, ResellerId, Time};
use crate::hash::sha256;

/// The lists that cursors point into.
const ACCOUNTS: u8 = 1;
const EVENTS: u8 = 2;
const COMING: u8 = 3;

/// The length of a cursor of the list of coming changes before its checksum: its list, the instant,
/// the account, the kind, and the hold.
const COMING_LENGTH: usize = 1 + 8 + 4 + 1 + 16;

/// A position in a list of one reseller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    kind: u8,
    place: i64,
    checksum: [u8; 4],
}

impl Cursor {
    pub(super) fn account(last: AccountId, reseller: ResellerId) -> Self {
        Self::new(ACCOUNTS, i64::from(last.as_i32()), reseller)
    }

    pub(super) fn event(last: i64, reseller: ResellerId) -> Self {
        Self::new(EVENTS, last, reseller)
    }

    fn new(kind: u8, place: i64, reseller: ResellerId) -> Self {
        let [a, b, c, d, ..] = sha256(format!("cursor {kind} {reseller} {place}").as_bytes());
        Self {
            kind,
            place,
            checksum: [a, b, c, d],
        }
    }

    pub(super) fn encode(self) -> String {
        let mut bytes = vec![self.kind];
        bytes.extend(self.place.to_be_bytes());
        bytes.extend(self.checksum);
        BASE64URL_NOPAD.encode(&bytes)
    }

    pub(super) fn decode(text: &str) -> Result<Self, Failure> {
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| refuse())?;
        let (kind, rest) = bytes.split_first().ok_or_else(refuse)?;
        let (place, rest) = rest.split_first_chunk::<8>().ok_or_else(refuse)?;
        let checksum = <[u8; 4]>::try_from(rest).map_err(|_| refuse())?;
        Ok(Self {
            kind: *kind,
            place: i64::from_be_bytes(*place),
            checksum,
        })
    }

    pub(super) fn account_of(self, reseller: ResellerId) -> Result<AccountId, Failure> {
        AccountId::new(self.checked(ACCOUNTS, reseller)?).map_err(|_| refuse())
    }

    pub(super) fn event_of(self, reseller: ResellerId) -> Result<i64, Failure> {
        self.checked(EVENTS, reseller)
    }

    fn checked(self, kind: u8, reseller: ResellerId) -> Result<i64, Failure> {
        if self == Self::new(kind, self.place, reseller) {
            Ok(self.place)
        } else {
            Err(refuse())
        }
    }
}

/// A cursor behind every event of a reseller: a stream that begins there has only new events.
pub(crate) fn end_of_events(reseller: ResellerId) -> String {
    Cursor::event(i64::MAX, reseller).encode()
}

/// Whether a text has the form of a cursor of events.
pub(crate) fn is_cursor_of_events(text: &str) -> bool {
    Cursor::decode(text).is_ok_and(|cursor| cursor.kind == EVENTS)
}

/// The cursor behind a place in the list of coming changes.
pub(super) fn coming(place: ComingPlace, reseller: ResellerId) -> String {
    let kind = ComingKind::ALL.iter().position(|kind| *kind == place.kind);
    let kind = kind.and_then(|position| u8::try_from(position).ok());
    let hold = place.hold.map(|hold| hold.0).unwrap_or_default();
    let mut bytes = vec![COMING];
    bytes.extend(place.at.timestamp_micros().to_be_bytes());
    bytes.extend(place.account.as_i32().to_be_bytes());
    bytes.extend(kind);
    bytes.extend(hold.into_bytes());
    bytes.extend(checksum_of_coming(&bytes, reseller));
    BASE64URL_NOPAD.encode(&bytes)
}

/// The place in the list of coming changes that a cursor is behind.
pub(super) fn coming_of(text: &str, reseller: ResellerId) -> Result<ComingPlace, Failure> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    let place = bytes.and_then(|bytes| {
        let (place, checksum) = bytes.split_at_checked(COMING_LENGTH)?;
        if checksum != checksum_of_coming(place, reseller) {
            return None;
        }
        let (list, rest) = place.split_first()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (account, rest) = rest.split_first_chunk::<4>()?;
        let (kind, hold) = rest.split_first_chunk::<1>()?;
        let hold = uuid::Uuid::from_slice(hold).ok()?;
        Some(ComingPlace {
            at: Time::from_timestamp_micros(i64::from_be_bytes(*at)).filter(|_| *list == COMING)?,
            account: AccountId::new(i32::from_be_bytes(*account).into()).ok()?,
            kind: *ComingKind::ALL.get(usize::from(u8::from_be_bytes(*kind)))?,
            hold: (!hold.is_nil()).then_some(HoldId(hold)),
        })
    });
    place.ok_or_else(refuse)
}

fn checksum_of_coming(place: &[u8], reseller: ResellerId) -> [u8; 4] {
    let named = [
        b"cursor ".as_slice(),
        place,
        reseller.to_string().as_bytes(),
    ]
    .concat();
    let [a, b, c, d, ..] = sha256(&named);
    [a, b, c, d]
}

fn refuse() -> Failure {
    Failure::parameter("after", "must be a cursor of this list, or empty")
}
