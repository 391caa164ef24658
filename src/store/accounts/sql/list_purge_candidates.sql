select id as "id!" from (
  select a.id, a.reseller_id from account a
  where a.reseller_id = $1 and a.deleted_at is null and a.expires_at <= $2
    and a.expires_at <= $3::timestamptz - make_interval(days => $4)
    and (a.exempt_until is null or a.exempt_until <= $2)
    and greatest(a.exempt_until, a.expiry_set_at, a.operator_released_at)
      <= $3::timestamptz - make_interval(days => $4)
    and a.purge_due_at is null
  union all
  select a.id, a.reseller_id from account a
  where a.reseller_id = $1 and a.deleted_at is not null and a.purge_at <= $3
    and (a.exempt_until is null or a.exempt_until <= $2)
    and a.purge_due_at is null) as a
where a.id > $5 and not exists (
  select from held h
  where h.reseller_id = a.reseller_id and h.account_id = a.id
    and h.kind in ('freeze', 'suspend', 'retention') and (h.kind = 'retention' or h.authority = 'operator')
    and (h.ends_at is null or h.ends_at > $2))
order by a.id
limit $6
