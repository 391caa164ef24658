with gone as (
  delete from account a
  using unnest($1::bigint[], $2::integer[], $3::bigint[]) as n(reseller_id, id, version), reseller r
  where a.id = n.id and a.reseller_id is not distinct from n.reseller_id and a.version = n.version
    and a.purge_due_at <= $4
    and r.id = a.reseller_id and r.purges and r.suspended_at is null
    and (a.deleted_at is not null
      or greatest(a.expires_at, a.exempt_until) + make_interval(days => r.purge_grace_days) <= $4)
    and not exists (
      select from held h
      where h.reseller_id = a.reseller_id and h.account_id = a.id and h.kind = 'retention' and (h.ends_at is null or h.ends_at > $4))
  returning a.reseller_id, a.id, a.uid, a.created_at, a.expires_at, a.deleted_at, a.purge_due_at,
    a.counted
), shrunk as (
  update reseller r set counted_accounts = r.counted_accounts - n.accounts
  from (select reseller_id, count(*) as accounts from gone where counted group by reseller_id) as n
  where r.id = n.reseller_id
), without_holds as (
  delete from held h using gone g where h.reseller_id = g.reseller_id and h.account_id = g.id
    and h.kind in ('freeze', 'suspend', 'retention')
), without_earlier_holds as (
  delete from earlier_hold h using gone g
  where h.reseller_id = g.reseller_id and h.account_id = g.id
), without_revisions as (
  delete from earlier_hold_revision h
  using gone g where h.reseller_id = g.reseller_id and h.account_id = g.id
), buried as (
  insert into tombstone (reseller_id, account_id, uid, created_at, expired_at, deleted_at,
    purge_due_at, purged_at)
  select g.reseller_id, g.id, g.uid, g.created_at, g.expires_at, g.deleted_at, g.purge_due_at, $4
  from gone g
)
select require_rows((select count(*) from gone), $5) as "done!"
