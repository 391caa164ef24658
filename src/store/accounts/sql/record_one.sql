-- As record_batch.sql, for one account and one entry: without arrays it takes half the time.
with written as (
  update account a set version = $4, updated_at = $5, status = $6, status_set_at = $7,
    expires_at = $8, expiry_set_at = $9, deleted_at = $10, purge_at = $11,
    operator_released_at = $12, holds = $13::text::json
  where a.id = $2 and a.reseller_id is not distinct from $1 and a.version = $3
  returning 1
), placed as (
  insert into held (reseller_id, account_id, kind, authority, owner, level, starts_at, ends_at,
    has_begun)
  select $1, $2, $14, $15, $16, $17, $18, $19, $20
  where $14::text is not null and (select count(*) from written) >= 0
  on conflict on constraint held_pkey do update set level = excluded.level,
    starts_at = excluded.starts_at, ends_at = excluded.ends_at, has_begun = excluded.has_begun
), lifted as (
  delete from held h
  where h.reseller_id = $1 and h.kind = $21 and h.account_id = $2 and h.authority = $22
    and h.owner = $23 and (select count(*) from written) >= 0
), entered as (
  insert into journal (reseller_id, account_id, at, sequence, action, outcome, refusal, events,
    authority, actor, token_id, dialect, request_id, before, after)
  select $1, $2, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35::text::jsonb,
    $36::text::jsonb
  from (
    select require_unsuspended($37, count(pg_advisory_xact_lock($1)))
    where (select count(*) from written) >= 0) as locked
)
select case when (select count(*) from written) = 1 then true
  else require_rows((select count(*) from written), 1) end as "done!"
