-- Counts accounts of a reseller in or out, at most $2, and returns how many.
with miscounted as (
  select a.id from account a
  where a.reseller_id = $1 and a.counted <> (a.deleted_at is null)
  order by a.reseller_id, a.counted, a.id limit $2
  for no key update skip locked
), settled as (
  update account a set counted = a.deleted_at is null
  from miscounted m where a.reseller_id = $1 and a.id = m.id
  returning case when a.counted then 1 else -1 end as difference
)
update reseller r
set counted_accounts = r.counted_accounts + (select coalesce(sum(difference), 0) from settled)
where r.id = $1
returning (select count(*) from settled) as "settled!"
