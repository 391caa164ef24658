//! Stored answers to requests with an idempotency key.

#![expect(
    clippy::as_conversions,
    reason = "in `query!` it names the type of an array and converts nothing"
)]

use std::time::Duration;

use sqlx::PgConnection;

use super::Store;
use super::errors::{OrDomain as _, internal, is_connection_loss, is_locked};
use super::tenancy::list_of;
use super::transaction::Tx;
use crate::domain::{Conflict, Error, Owner, ResellerId, Time};
use crate::hash::sha256;

/// Identifies a request. Two requests with the same reseller, method, path and key are the same
/// request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey {
    /// The reseller of the credential; [`ResellerId::PLATFORM`] for an operator's credential.
    pub reseller: ResellerId,
    /// The HTTP method.
    pub method: String,
    /// The path, without a trailing slash.
    pub path: String,
    /// The caller's key, 1 ..= 255 characters.
    pub key: String,
}

/// What a request asks for, as hashes. Two requests under one key must have the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// The command.
    pub command: CommandHash,
    /// The SHA-256 hash of the body as it was sent. Answers that versions before migration 0016
    /// stored are compared by it.
    pub body: [u8; 32],
}

impl Fingerprint {
    /// The fingerprint of the same request by a credential that is bound to an owner: it acts for
    /// this owner, so the same words are another command than by others of the reseller. A
    /// credential that is not bound leaves it as it is.
    #[must_use]
    pub fn of_owner(self, owner: Option<&Owner>) -> Self {
        let Some(owner) = owner else {
            return self;
        };
        let mask = sha256(format!("owner {owner}").as_bytes());
        let mix = |hash: [u8; 32]| {
            let mut mixed = hash;
            for (to, from) in mixed.iter_mut().zip(mask) {
                *to ^= from;
            }
            mixed
        };
        let CommandHash(command) = self.command;
        let mixed = mix(command);
        // A command without types keeps the half that is zero.
        let has_types = self.command.0 != self.command.loose();
        let command = if has_types {
            CommandHash(mixed)
        } else {
            CommandHash::of(mixed, None)
        };
        Self {
            command,
            body: mix(self.body),
        }
    }
}

/// Half of the SHA-256 hash of a command, in the form that all formats have, and half of that with
/// the types of its values, which is zero if the format has no types, as XML. 128 bits are enough: a
/// caller that finds two commands with the same half only mistakes its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommandHash([u8; 32]);

impl CommandHash {
    /// From the SHA-256 hashes of the two forms.
    #[must_use]
    pub fn of(loose: [u8; 32], exact: Option<[u8; 32]>) -> Self {
        let exact = exact.unwrap_or_default();
        let halves = loose.iter().take(16).chain(exact.iter().take(16));
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(halves) {
            *to = *from;
        }
        Self(hash)
    }

    /// The hash without the types.
    #[must_use]
    pub fn loose(self) -> [u8; 32] {
        Self::of(self.0, None).0
    }

    /// Whether two hashes are of one command: with the same types, if both have types.
    #[must_use]
    pub fn is_same(self, other: Self) -> bool {
        let has_types = |it: Self| it.0 != it.loose();
        if has_types(self) && has_types(other) {
            self == other
        } else {
            self.loose() == other.loose()
        }
    }
}

/// A request and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRequest {
    /// Identifies the request.
    pub key: IdempotencyKey,
    /// The SHA-256 hash of the request's body. If the answer is encrypted, a keyed hash of the
    /// command's hash.
    pub fingerprint: [u8; 32],
    /// The command. `None` if the answer is encrypted, or if a version before migration 0016 stored
    /// it.
    pub command: Option<CommandHash>,
    /// The nonce that the answer's body is encrypted with. `None` if it is not encrypted.
    pub nonce: Option<[u8; 24]>,
    /// The answer.
    pub answer: StoredAnswer,
}

impl StoredRequest {
    /// A request and its answer, which is not encrypted.
    #[must_use]
    pub fn of(key: IdempotencyKey, fingerprint: Fingerprint, answer: StoredAnswer) -> Self {
        Self {
            key,
            fingerprint: fingerprint.body,
            command: Some(fingerprint.command),
            nonce: None,
            answer,
        }
    }

    /// The answer, for a request with this fingerprint.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if the answer belongs to another command.
    pub fn answer_to(self, fingerprint: &Fingerprint) -> Result<StoredAnswer, Error> {
        let is_same = match self.command {
            Some(command) => command.is_same(fingerprint.command),
            None => self.fingerprint == fingerprint.body,
        };
        if is_same {
            Ok(self.answer)
        } else {
            Err(Error::IdempotencyKeyReused)
        }
    }
}

/// An answer, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// The HTTP status that the outcome has. Where a dialect answers failures with HTTP 200, it
    /// writes 200 instead.
    pub status: u16,
    /// The content type. Empty if the answer has no body.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
    /// The headers that belong to the result.
    pub headers: ResultHeaders,
}

/// The headers of an answer that belong to its result, so that a repeat gets them too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResultHeaders {
    /// The value of `ETag`.
    pub etag: Option<String>,
    /// The value of `Location`.
    pub location: Option<String>,
    /// Whether the request changed anything. `None` if the answer does not tell.
    pub changed: Option<bool>,
}

impl Tx {
    /// Locks a key until the transaction ends. Waits while another transaction has locked it, up to
    /// `wait`.
    ///
    /// # Errors
    /// [`Error::Conflict`] if the other transaction is still not done then.
    pub async fn lock_answer(&mut self, key: &IdempotencyKey, wait: Duration) -> Result<(), Error> {
        let name = format!("{} {} {} {}", key.reseller, key.method, key.path, key.key);
        // The limit is for this lock alone. PostgreSQL evaluates the columns in their order.
        let locked = sqlx::query!(
            "select set_config('lock_timeout', $2, true) as begins,
               pg_advisory_xact_lock(hashtextextended($1, 0)) as locked,
               set_config('lock_timeout', '0', true) as ends",
            name,
            // 0 would mean no limit.
            wait.as_millis().max(1).to_string()
        )
        .fetch_one(self.connection())
        .await;
        match locked {
            Err(error) if is_locked(&error) => Err(Error::Conflict(Conflict::KeyInUse)),
            locked => locked.map(drop).or_domain(),
        }
    }

    /// The stored answers of these keys. Keys without an answer, or with an expired one, are left
    /// out.
    pub async fn fetch_answers(
        &mut self,
        keys: &[IdempotencyKey],
        now: Time,
    ) -> Result<Vec<StoredRequest>, Error> {
        fetch(self.connection(), None, keys, now).await.or_domain()
    }

    /// Stores answers that expire at `expires_at`.
    ///
    /// # Errors
    /// [`Error::Internal`] also if another transaction has stored an answer for one of the keys
    /// meanwhile.
    pub async fn insert_answers(
        &mut self,
        answers: &[StoredRequest],
        now: Time,
        expires_at: Time,
    ) -> Result<(), Error> {
        let keys: Vec<_> = answers.iter().map(|stored| stored.key.clone()).collect();
        let (resellers, methods, paths, names) = columns(&keys);
        let fingerprints: Vec<_> = answers
            .iter()
            .map(|stored| stored.fingerprint.to_vec())
            .collect();
        let statuses: Vec<_> = answers
            .iter()
            .map(|stored| i16::try_from(stored.answer.status).unwrap_or_default())
            .collect();
        let types: Vec<_> = answers
            .iter()
            .map(|stored| stored.answer.content_type.clone())
            .collect();
        let bodies: Vec<_> = answers
            .iter()
            .map(|stored| stored.answer.body.clone())
            .collect();
        let nonces: Vec<_> = answers
            .iter()
            .map(|stored| stored.nonce.map(|nonce| nonce.to_vec()))
            .collect();
        let commands: Vec<_> = answers
            .iter()
            .map(|stored| stored.command.map(|command| command.0.to_vec()))
            .collect();
        let header = |of: fn(&ResultHeaders) -> &Option<String>| -> Vec<Option<String>> {
            let headers = answers.iter().map(|stored| &stored.answer.headers);
            headers.map(|headers| of(headers).clone()).collect()
        };
        let (etags, locations) = (header(|of| &of.etag), header(|of| &of.location));
        let changes: Vec<_> = answers
            .iter()
            .map(|stored| stored.answer.headers.changed)
            .collect();
        let stored = sqlx::query!(
            "insert into idempotency as i (reseller_id, method, path, key, fingerprint, status,
               content_type, body, nonce, command, etag, location, changed, created_at, expires_at)
             select n.*, $14, $15
             from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[],
               $6::smallint[], $7::text[], $8::bytea[], $9::bytea[], $10::bytea[], $11::text[],
               $12::text[], $13::boolean[]) as n
             on conflict on constraint idempotency_pkey do update set
               fingerprint = excluded.fingerprint, status = excluded.status,
               content_type = excluded.content_type, body = excluded.body, nonce = excluded.nonce,
               command = excluded.command, etag = excluded.etag, location = excluded.location,
               changed = excluded.changed,
               created_at = excluded.created_at, expires_at = excluded.expires_at
             where i.expires_at <= $14",
            &resellers,
            &methods,
            &paths,
            &names,
            &fingerprints,
            &statuses,
            &types,
            &bodies,
            &nonces as &[Option<Vec<u8>>],
            &commands as &[Option<Vec<u8>>],
            &etags as &[Option<String>],
            &locations as &[Option<String>],
            &changes as &[Option<bool>],
            now,
            expires_at
        )
        .execute(self.connection())
        .await
        .or_domain()?;
        if stored.rows_affected() == u64::try_from(answers.len()).unwrap_or_default() {
            Ok(())
        } else {
            Err(internal(
                "another transaction has stored an answer for an idempotency key",
            ))
        }
    }

    /// Deletes expired answers, at most `limit`. Returns how many it deleted.
    pub async fn delete_expired_answers(&mut self, now: Time, limit: i64) -> Result<u64, Error> {
        sqlx::query!(
            "delete from idempotency where ctid = any (array(select ctid from idempotency
             where expires_at <= $1 order by expires_at limit $2))",
            now,
            limit
        )
        .execute(self.connection())
        .await
        .map(|done| done.rows_affected())
        .or_domain()
    }
}

impl Store {
    /// As [`Tx::fetch_answers`], in a single round trip on a connection for look-ups by key. The
    /// statement itself admits the resellers of the keys.
    pub async fn look_up_answers(
        &self,
        keys: &[IdempotencyKey],
        now: Time,
    ) -> Result<Vec<StoredRequest>, Error> {
        let admitted = list_of(&keys.iter().map(|key| key.reseller).collect());
        let mut stale_left = self.keyed.options().get_max_connections();
        loop {
            let mut tx = Tx::standalone(&self.keyed).await?;
            match fetch(tx.connection(), Some(&admitted), keys, now).await {
                Ok(stored) => return tx.commit().await.map(|()| stored),
                Err(error) if stale_left > 0 && is_connection_loss(&error) => stale_left -= 1,
                Err(error) => return Err(error).or_domain(),
            }
        }
    }
}

/// Reads stored answers. With `admitted`, a list of resellers, the statement first sets the tenancy
/// of the connection: the condition depends on no row, so PostgreSQL evaluates it before it reads
/// any.
async fn fetch(
    connection: &mut PgConnection,
    admitted: Option<&str>,
    keys: &[IdempotencyKey],
    now: Time,
) -> Result<Vec<StoredRequest>, sqlx::Error> {
    let (resellers, methods, paths, names) = columns(keys);
    let rows = sqlx::query!(
        "select i.reseller_id, i.method, i.path, i.key, i.fingerprint, i.status, i.content_type, i.body,
           i.nonce, i.command, i.etag, i.location, i.changed
         from idempotency i
         join unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
           as wanted(reseller_id, method, path, key) using (reseller_id, method, path, key)
         where i.expires_at > $5
           and (select case when $6::text is null then true
                else set_config('steward.resellers', $6, false) is not null end)",
        &resellers,
        &methods,
        &paths,
        &names,
        now,
        admitted
    )
    .fetch_all(connection)
    .await?;
    let fingerprint = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| StoredRequest {
            key: IdempotencyKey {
                reseller: ResellerId(row.reseller_id),
                method: row.method,
                path: row.path,
                key: row.key,
            },
            fingerprint: fingerprint(row.fingerprint),
            command: row.command.map(|hash| CommandHash(fingerprint(hash))),
            nonce: row.nonce.and_then(|nonce| nonce.try_into().ok()),
            answer: StoredAnswer {
                status: u16::try_from(row.status).unwrap_or_default(),
                content_type: row.content_type,
                body: row.body,
                headers: ResultHeaders {
                    etag: row.etag,
                    location: row.location,
                    changed: row.changed,
                },
            },
        })
        .collect())
}

fn columns(keys: &[IdempotencyKey]) -> (Vec<i64>, Vec<String>, Vec<String>, Vec<String>) {
    let texts =
        |field: fn(&IdempotencyKey) -> &String| keys.iter().map(|key| field(key).clone()).collect();
    (
        keys.iter().map(|key| key.reseller.0).collect(),
        texts(|key| &key.method),
        texts(|key| &key.path),
        texts(|key| &key.key),
    )
}
