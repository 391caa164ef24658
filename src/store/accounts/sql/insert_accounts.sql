-- Inserts accounts, and counts them. The caller has locked their resellers.
with grown as (
  update reseller r set counted_accounts = r.counted_accounts + n.accounts
  from (select id, count(*) as accounts from unnest($1::bigint[]) as u(id) group by id) as n
  where r.id = n.id
),
made as (
  insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at,
    deleted_at, purge_at, operator_released_at, version, created_at, updated_at, email_key, plan_id,
    profile, holds, counted)
  select n.reseller_id, n.id, n.uid, n.status, n.status_set_at, n.expires_at, n.expiry_set_at,
    n.deleted_at, n.purge_at, n.operator_released_at, n.version, n.created_at, n.updated_at,
    n.email_key, n.plan_id, n.profile::json, n.holds::json, true
  from unnest($1::bigint[], $2::integer[], $3::uuid[], $4::text[], $5::timestamptz[],
      $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[],
      $10::timestamptz[], $11::bigint[], $12::timestamptz[], $13::timestamptz[], $14::text[],
      $15::uuid[], $16::text[], $17::text[])
    as n(reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, deleted_at,
      purge_at, operator_released_at, version, created_at, updated_at, email_key, plan_id, profile,
      holds)
  returning reseller_id, id, profile
)
insert into account_metadata (reseller_id, account_id, key, value)
select made.reseller_id, made.id, member.key, member.value
from made cross join lateral json_each_text(made.profile -> 'metadata') as member
