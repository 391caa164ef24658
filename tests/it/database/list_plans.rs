//! The plans of the lists that are read by account id: each walks an index in the order of the ids.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Execute as _, PgConnection, Row as _};
use steward::domain::{
    AccountFilter, AccountId, Authority, Block, Level, Metadata, Owner, ResellerId, StateFilter,
    Time,
};
use steward::store::{KeysetList, LISTING, Tenancy};

use super::query_plans::scans;
use crate::harness::App;

/// Every filter that such a list may have.
fn filters() -> Vec<AccountFilter> {
    let states = Block::ALL
        .into_iter()
        .map(StateFilter::BlockedBy)
        .chain([StateFilter::Active, StateFilter::Suspended]);
    let mut filters: Vec<_> = states
        .map(|state| AccountFilter {
            state: Some(state),
            ..AccountFilter::default()
        })
        .collect();
    let authorities = [Authority::Operator, Authority::Reseller, Authority::System].map(Some);
    let levels = [Level::Block, Level::Limit, Level::Warn].map(Some);
    for held_by in authorities.into_iter().chain([None]) {
        for held_at in levels.into_iter().chain([None]) {
            for owner in [None, Some("billing")] {
                filters.push(AccountFilter {
                    held_by,
                    held_at,
                    held_by_owner: owner.map(|owner| Owner::parse("owner", owner).unwrap()),
                    ..AccountFilter::default()
                });
            }
        }
    }
    filters.push(AccountFilter {
        metadata: Metadata([("plan".to_owned(), "gold".to_owned())].into()),
        ..AccountFilter::default()
    });
    filters
}

/// The plan that a connection of the listing pool keeps for a list.
async fn kept_plan(
    connection: &mut PgConnection,
    list: &KeysetList<'_>,
    tenancy: &Tenancy,
) -> Value {
    let mut statement = list.statement(tenancy);
    let text = statement.build().sql().as_str().to_owned();
    let arguments = (1..100)
        .take_while(|number| text.contains(&format!("${number}")))
        .fold(String::new(), |mut all, number| {
            let separator = if number > 1 { ", " } else { "" };
            write!(all, "{separator}null").unwrap();
            all
        });
    let script = format!("{LISTING}; prepare list as {text}");
    sqlx::raw_sql(AssertSqlSafe(script))
        .execute(&mut *connection)
        .await
        .unwrap_or_else(|error| panic!("{text}: {error}"));
    let explain = format!("explain (format json) execute list ({arguments})");
    let row = sqlx::raw_sql(AssertSqlSafe(explain))
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    sqlx::raw_sql("deallocate list")
        .execute(&mut *connection)
        .await
        .unwrap();
    row.get(0)
}

/// The kinds of the nodes of a plan.
fn nodes(plan: &Value, into: &mut Vec<String>) {
    into.extend(plan["Node Type"].as_str().map(str::to_owned));
    for child in plan["Plans"].as_array().into_iter().flatten() {
        nodes(child, into);
    }
}

/// The indexes that a list may begin with.
fn expected(filter: &AccountFilter, is_of_reseller: bool) -> Vec<&'static str> {
    let by_kind = if is_of_reseller {
        "held_pkey"
    } else {
        "held_kind_ix"
    };
    let by_id = if is_of_reseller {
        "account_pkey"
    } else {
        "account_number_uq"
    };
    match filter.state {
        None if has_member(filter) => vec!["account_metadata_value_ix"],
        Some(StateFilter::BlockedBy(Block::Deleted)) => vec![if is_of_reseller {
            "account_deleted_ix"
        } else {
            "account_deleted_number_ix"
        }],
        Some(StateFilter::BlockedBy(Block::SuspendedByOperator)) if is_of_reseller => {
            vec!["held_authority_ix"]
        }
        Some(
            StateFilter::Suspended
            | StateFilter::BlockedBy(
                Block::Frozen | Block::SuspendedByReseller | Block::SuspendedByOperator,
            ),
        ) => vec![by_kind],
        Some(StateFilter::BlockedBy(Block::ResellerSuspended)) => vec!["account_pkey"],
        Some(StateFilter::BlockedBy(Block::Inactive)) if is_of_reseller => {
            vec!["counted_inactive_ix"]
        }
        Some(StateFilter::BlockedBy(Block::Expired)) if is_of_reseller => {
            vec!["counted_expired_ix"]
        }
        Some(_) => vec![by_id],
        None => {
            let is_usual_authority = filter.held_by.is_none_or(|it| it == Authority::Reseller);
            let is_usual_level = filter.held_at.is_none_or(|it| it == Level::Block);
            let rare = [
                (filter.held_by_owner.is_some(), "held_owner_ix"),
                (!is_usual_level, "held_level_ix"),
                (!is_usual_authority, "held_authority_ix"),
            ];
            let rare = rare.into_iter().filter(|(may, _)| *may && is_of_reseller);
            let rare: Vec<_> = rare.map(|(_, index)| index).collect();
            if !rare.is_empty() {
                rare
            } else if filter.held_by.is_some()
                || filter.held_at.is_some()
                || filter.held_by_owner.is_some()
            {
                vec![by_kind]
            } else {
                vec![by_id]
            }
        }
    }
}

fn has_member(filter: &AccountFilter) -> bool {
    !filter.metadata.0.is_empty()
}

async fn check_lists(connection: &mut PgConnection, now: Time, size: &str) {
    let mut wrong = Vec::new();
    let of_one = Tenancy::of(ResellerId(1));
    for filter in filters() {
        for (reseller, tenancy) in [(Some(ResellerId(1)), &of_one), (None, &Tenancy::Platform)] {
            let from = AccountId::new(1_000).unwrap();
            let list = KeysetList::of_filter(reseller, &filter, &[], from, 50, now);
            let Some(list) = list else {
                let expired = Some(StateFilter::BlockedBy(Block::Expired));
                assert!(reseller.is_none() && (filter.state == expired || has_member(&filter)));
                continue;
            };
            let plan = kept_plan(connection, &list, tenancy).await;
            let name = format!("{size}, {reseller:?}, {filter:?}");
            let root = &plan[0]["Plan"];
            let (mut kinds, mut read) = (Vec::new(), BTreeMap::new());
            nodes(root, &mut kinds);
            scans(root, &mut read);
            // The accounts of several suspended resellers are sorted: a page of each. So are those that
            // changed since the totals were counted.
            let is_sorted = match filter.state {
                Some(StateFilter::Suspended | StateFilter::BlockedBy(Block::ResellerSuspended)) => {
                    reseller.is_none()
                }
                Some(StateFilter::BlockedBy(Block::Inactive | Block::Expired)) => {
                    reseller.is_some()
                }
                _ => false,
            };
            let is_wrong = |kind: &String| {
                kind.contains("Seq Scan")
                    || kind.contains("Bitmap")
                    || kind.contains("Materialize")
                    || (kind.contains("Sort") && !is_sorted)
            };
            // A list of all resellers may read them all, for their kept numbers.
            let all_resellers = read
                .get("reseller")
                .is_some_and(|how| how.iter().any(|it| it == "Seq Scan"));
            let is_total = all_resellers && reseller.is_none();
            if kinds
                .iter()
                .any(|kind| is_wrong(kind) && !(is_total && kind == "Seq Scan"))
            {
                wrong.push(format!("{name}: {kinds:?}"));
            }
            let indexes = expected(&filter, reseller.is_some());
            let has_index = read
                .values()
                .flatten()
                .any(|used| indexes.contains(&used.as_str()));
            if !has_index {
                wrong.push(format!("{name}: {read:?}, not {indexes:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_list_by_id_walks_an_index_in_its_order() {
    let app = App::new().await;
    let superuser = app.database.superuser().await;
    let mut connection = superuser.acquire().await.unwrap();
    let role = "set role steward_service";
    sqlx::raw_sql(role).execute(&mut *connection).await.unwrap();
    check_lists(&mut connection, app.clock.now(), "empty").await;
    sqlx::raw_sql("reset role")
        .execute(&mut *connection)
        .await
        .unwrap();
    // One reseller has a fifth of the accounts.
    let load = "insert into reseller (id, name, name_key, created_at, updated_at) select n, 'r' || n, 'r' || n, now(), now() from generate_series(1, 2000) n;
         insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, version, created_at, updated_at, profile, email_key, deleted_at, purge_at, counted)
           select case when n % 5 = 0 then 1 else n % 2000 + 1 end, n, gen_random_uuid(), case when n % 500 = 5 then 'inactive' else 'active' end, now(),
             now() + (n::bigint * 7919 % 31536000 - 2592000) * interval '1 second', now(), 1, now(), now(),
             json_build_object('email', 'user' || n || '@example7.test'), 'user' || n || '@example7.test',
             case when n % 100 = 7 then now() end, case when n % 100 = 7 then now() end, n % 100 <> 7 from generate_series(1, 200000) n;
         insert into held (reseller_id, account_id, kind, authority, owner, level, has_begun)
           select reseller_id, id, case when id % 50 < 25 then 'freeze' else 'suspend' end,
             case when id % 1000 = 35 then 'operator' else 'reseller' end, case when id % 1000 = 10 then 'billing' else '' end,
             case when id % 1000 = 15 then 'warn' else 'block' end, true
           from account where id % 5 = 0 and id % 50 < 40;
         insert into account_metadata (reseller_id, account_id, key, value)
           select reseller_id, id, 'plan', case when id % 7 = 0 then 'gold' else 'silver' end from account;
         analyze";
    sqlx::raw_sql(load).execute(&mut *connection).await.unwrap();
    sqlx::raw_sql(role).execute(&mut *connection).await.unwrap();
    check_lists(&mut connection, app.clock.now(), "200,000 accounts").await;
}
