-- The last change of each account up to $3, the last ones of its status and of its expiry date, and
-- the first change after $3.
select w.reseller_id as "reseller_id!", w.id as "account_id!", last.sequence as "version!",
  last.at as "updated_at!", status.at as "status_set_at?", expiry.at as "expiry_set_at?",
  next.sequence as "next_sequence?"
from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
cross join lateral (
  select j.sequence, j.at from journal j
  where j.reseller_id = w.reseller_id and j.account_id = w.id and j.at <= $3
    and j.outcome = 'applied'
  order by j.id desc limit 1
) as last
left join lateral (
  select j.at from journal j
  where j.reseller_id = w.reseller_id and j.account_id = w.id and j.at <= $3
    and j.outcome = 'applied' and j.after ? 'status'
  order by j.id desc limit 1
) as status on true
left join lateral (
  select j.at from journal j
  where j.reseller_id = w.reseller_id and j.account_id = w.id and j.at <= $3
    and j.outcome = 'applied' and j.after ? 'expires_at'
  order by j.id desc limit 1
) as expiry on true
left join lateral (
  select j.sequence from journal j
  where j.reseller_id = w.reseller_id and j.account_id = w.id and j.at > $3
    and j.outcome = 'applied'
  order by j.id limit 1
) as next on true
