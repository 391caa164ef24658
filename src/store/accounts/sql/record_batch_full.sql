-- As record_batch.sql. It also locks the accounts that were only read (seen), and stores the details
-- of holds that a revision replaced (replaced).
with seen as (
  select from unnest($50::bigint[], $51::integer[], $52::bigint[]) as n(reseller_id, id, was)
  cross join lateral (
    select from account a
    where a.id = n.id and a.reseller_id is not distinct from n.reseller_id and a.version = n.was
    for no key update) as locked
), written as (
  update account a set status = n.status, status_set_at = n.status_set_at,
    expires_at = n.expires_at, expiry_set_at = n.expiry_set_at, deleted_at = n.deleted_at,
    purge_at = n.purge_at, operator_released_at = n.operator_released_at, version = n.version,
    updated_at = n.updated_at
  from unnest($1::bigint[], $2::integer[], $3::text[], $4::timestamptz[], $5::timestamptz[],
      $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::bigint[],
      $11::timestamptz[], $12::bigint[])
    as n(reseller_id, id, status, status_set_at, expires_at, expiry_set_at, deleted_at, purge_at,
      operator_released_at, version, updated_at, was)
  where a.id = n.id and a.reseller_id is not distinct from n.reseller_id and a.version = n.was
    and (select count(*) from seen) >= 0
  returning 1
), placed as (
  insert into hold as h (reseller_id, account_id, id, kind, authority, reason_code, reason,
    public_message, payment_url, starts_at, ends_at, revision, opened_at, opened_by, closed_at,
    closed_by, close_reason, owner, level, has_begun)
  select n.* from unnest($13::bigint[], $14::integer[], $15::uuid[], $16::text[], $17::text[],
    $18::text[], $19::text[], $20::text[], $21::text[], $22::timestamptz[], $23::timestamptz[],
    $24::integer[], $25::timestamptz[], $26::text[], $27::timestamptz[], $28::text[],
    $29::text[], $30::text[], $31::text[], $32::boolean[]) as n
  where (select count(*) from written) >= 0
  on conflict on constraint hold_pkey do update set reason_code = excluded.reason_code,
    reason = excluded.reason, public_message = excluded.public_message,
    payment_url = excluded.payment_url, starts_at = excluded.starts_at,
    ends_at = excluded.ends_at, revision = excluded.revision, closed_at = excluded.closed_at,
    closed_by = excluded.closed_by, close_reason = excluded.close_reason,
    level = excluded.level, has_begun = excluded.has_begun
), replaced as (
  insert into hold_revision (reseller_id, account_id, hold_id, revision, replaced_at, replaced_by,
    reason_code, reason, public_message, payment_url, starts_at, ends_at, level)
  select n.* from unnest($53::bigint[], $54::integer[], $55::uuid[], $56::integer[],
    $57::timestamptz[], $58::text[], $59::text[], $60::text[], $61::text[], $62::text[],
    $63::timestamptz[], $64::timestamptz[], $65::text[]) as n
), entered as (
  insert into journal (reseller_id, account_id, at, sequence, action, outcome, refusal, events,
    authority, actor, token_id, dialect, request_id, before, after)
  select n.reseller_id, n.account_id, n.at, n.sequence, n.action, n.outcome, n.refusal,
    string_to_array(n.events, ' '), n.authority, n.actor, n.token_id, n.dialect, n.request_id,
    n.before, n.after
  from unnest($33::bigint[], $34::integer[], $35::timestamptz[], $36::bigint[], $37::text[],
      $38::text[], $39::text[], $40::text[], $41::text[], $42::text[], $43::bigint[], $44::text[],
      $45::text[], $46::jsonb[], $47::jsonb[])
    with ordinality as n(reseller_id, account_id, at, sequence, action, outcome, refusal, events,
      authority, actor, token_id, dialect, request_id, before, after, place)
  cross join (
    select require_unsuspended($66, count(pg_advisory_xact_lock(id))) from (
      select id from unnest($48::bigint[]) as r(id)
      where (select count(*) from written) >= 0
      order by id) as r) as locked
  order by n.place
)
select require_rows((select count(*) from seen) + (select count(*) from written), $49) as "done!"
