-- For each fact of these accounts that changed after $3: the first later journal entry that changed
-- it, and the length of the value before. The values stay in the journal until the caller knows how
-- many it can take.
select f.reseller_id as "reseller_id!", f.account_id as "account_id!", f.fact as "fact!",
  f.entry as "entry!", j.size as "size!"
from (
  select later.reseller_id, later.account_id, fact, min(later.id) as entry
  from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
  join journal later on later.reseller_id = w.reseller_id and later.account_id = w.id
  cross join lateral jsonb_object_keys(later.before) as fact
  where later.at > $3 and later.outcome = 'applied'
  group by later.reseller_id, later.account_id, fact
) as f
cross join lateral (
  select octet_length((before -> f.fact)::text)::bigint as size from journal
  where reseller_id = f.reseller_id and account_id = f.account_id and id = f.entry and at > $3
) as j
