with written as (
  update account a set version = n.version, updated_at = n.updated_at, status = n.status,
    status_set_at = n.status_set_at, expires_at = n.expires_at, expiry_set_at = n.expiry_set_at,
    deleted_at = n.deleted_at, purge_at = n.purge_at,
    operator_released_at = n.operator_released_at, holds = n.holds::json
  from unnest($1::account_change[]) as n
  where a.id = n.id and a.reseller_id is not distinct from n.reseller_id and a.version = n.was
  returning 1
), placed as (
  insert into held
  select n.* from unnest($2::held[]) as n
  where (select count(*) from written) >= 0
  on conflict on constraint held_pkey do update set level = excluded.level,
    starts_at = excluded.starts_at, ends_at = excluded.ends_at, has_begun = excluded.has_begun
), lifted as (
  delete from held h using unnest($3::held[]) as n
  where h.reseller_id = n.reseller_id and h.kind = n.kind and h.account_id = n.account_id
    and h.authority = n.authority and h.owner = n.owner and (select count(*) from written) >= 0
), entered as (
  insert into journal (reseller_id, account_id, at, sequence, action, outcome, refusal, events,
    authority, actor, token_id, dialect, request_id, before, after)
  select n.reseller_id, n.account_id, n.at, n.sequence, n.action, n.outcome, n.refusal, n.events,
    n.authority, n.actor, n.token_id, n.dialect, n.request_id, n.before::jsonb, n.after::jsonb
  from unnest($4::journal_entry[]) with ordinality as n(reseller_id, account_id, at, sequence,
    action, outcome, refusal, events, authority, actor, token_id, dialect, request_id, before,
    after, place)
  cross join (
    select require_unsuspended($6, count(pg_advisory_xact_lock(id))) from (
      select id from unnest($5::bigint[]) as r(id)
      where (select count(*) from written) >= 0
      order by id) as r) as locked
  order by n.place
)
select case when (select count(*) from written) = $7 then true
  else require_rows((select count(*) from written), $7) end as "done!"
