//! The keys of e-mail addresses that an earlier version stored: made anew after the migrations, and
//! checked by `steward doctor`.
//!
//! Keys of ASCII addresses never change, also if a label of the domain begins with `xn--`: the key of
//! another spelling of the domain is the same ASCII. So only keys that are not ASCII are read, by an
//! index that has no more.

use sqlx::PgConnection;

use super::Finding;
use crate::domain::email_key;

/// How many accounts are read and written at a time.
const PAGE: i64 = 1_000;
/// How many accounts a report names.
const NAMED: usize = 20;

/// An account whose stored key is not the key of its address.
struct Outdated {
    reseller: i64,
    account: i32,
    email: String,
    stored: String,
    key: String,
}

/// Makes the outdated keys anew. Each page is a transaction of its own, so it can be interrupted and
/// called again. If another live account has the key already, the account keeps its old one.
pub(super) async fn renew(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut after = (0, 0);
    loop {
        let (outdated, last) = read(connection, after).await?;
        // All at once; one by one if two accounts have the same key.
        if !outdated.is_empty() && write(connection, &outdated).await.is_err() {
            for account in outdated.chunks(1) {
                match write(connection, account).await {
                    Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {}
                    written => written?,
                }
            }
        }
        match last {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// The outdated keys among the next accounts, and the last account that was read. `None` if none was.
async fn read(
    connection: &mut PgConnection,
    (reseller, account): (i64, i32),
) -> Result<(Vec<Outdated>, Option<(i64, i32)>), sqlx::Error> {
    let rows = sqlx::query!(
        r#"select reseller_id, id, profile ->> 'email' as "email!", email_key as "email_key!" from account
           where octet_length(email_key) > length(email_key) and (reseller_id, id) > ($1, $2)
           order by reseller_id, id limit $3"#,
        reseller,
        account,
        PAGE
    )
    .fetch_all(connection)
    .await?;
    let last = rows.last().map(|row| (row.reseller_id, row.id));
    let outdated = rows.into_iter().filter_map(|row| {
        let key = email_key(&row.email);
        (key != row.email_key).then_some(Outdated {
            reseller: row.reseller_id,
            account: row.id,
            email: row.email,
            stored: row.email_key,
            key,
        })
    });
    Ok((outdated.collect(), last))
}

/// Writes the keys, unless the service has written another address meanwhile.
async fn write(connection: &mut PgConnection, outdated: &[Outdated]) -> Result<(), sqlx::Error> {
    let resellers: Vec<i64> = outdated.iter().map(|it| it.reseller).collect();
    let accounts: Vec<i32> = outdated.iter().map(|it| it.account).collect();
    let stored: Vec<String> = outdated.iter().map(|it| it.stored.clone()).collect();
    let keys: Vec<String> = outdated.iter().map(|it| it.key.clone()).collect();
    sqlx::query!(
        "update account a set email_key = n.key
         from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[])
           as n(reseller_id, id, stored, key)
         where a.reseller_id = n.reseller_id and a.id = n.id and a.email_key = n.stored",
        &resellers,
        &accounts,
        &stored,
        &keys
    )
    .execute(connection)
    .await
    .map(drop)
}

/// The findings about keys that are still outdated.
pub(super) async fn check(connection: &mut PgConnection) -> Result<Vec<Finding>, sqlx::Error> {
    let (mut after, mut findings, mut count) = ((0, 0), Vec::new(), 0_usize);
    loop {
        let (outdated, last) = read(connection, after).await?;
        count += outdated.len();
        for account in outdated {
            if findings.len() < NAMED {
                findings.push(finding(connection, &account).await?);
            }
        }
        match last {
            Some(last) => after = last,
            None => break,
        }
    }
    if count > findings.len() {
        let unnamed = count - findings.len();
        findings.push(Finding::new(
            format!("{unnamed} more accounts have such addresses"),
            "solve the problems that are named, and check again",
        ));
    }
    Ok(findings)
}

async fn finding(
    connection: &mut PgConnection,
    outdated: &Outdated,
) -> Result<Finding, sqlx::Error> {
    let Outdated {
        reseller,
        account,
        email,
        key,
        ..
    } = outdated;
    let other = sqlx::query!(
        r#"select id, profile ->> 'email' as "email!" from account
           where reseller_id = $1 and email_key = $2 and id <> $3 and deleted_at is null"#,
        reseller,
        key,
        account
    )
    .fetch_optional(connection)
    .await?;
    Ok(match other {
        Some(other) => Finding::new(
            format!(
                "accounts {} and {account} of reseller {reseller} have the same e-mail address \
                 since addresses are compared by Unicode's rules for case and for domains: {:?} and \
                 {email:?}",
                other.id, other.email
            ),
            format!(
                "change the address of one of them, for example with `PATCH /v3/accounts/{account}`, \
                 and run `steward migrate`; until then both addresses stay as they are"
            ),
        ),
        None => Finding::new(
            format!(
                "an earlier version wrote the address {email:?} of account {account} of reseller \
                 {reseller}, and compares it in another way"
            ),
            "run `steward migrate` once all replicas have this version",
        ),
    })
}
