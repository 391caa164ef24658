-- Writes the rows of these accounts in held anew. The caller has locked the accounts.
with wanted as (
  select a.reseller_id, a.id, h ->> 'kind' as kind, h ->> 'authority' as authority,
    coalesce(h ->> 'owner', '') as owner, coalesce(h ->> 'level', 'block') as level,
    (h ->> 'starts_at')::timestamptz as starts_at, (h ->> 'ends_at')::timestamptz as ends_at,
    h ->> 'scheduled' is null as has_begun
  from unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
  join account a using (reseller_id, id)
  cross join json_array_elements(a.holds) as h
), superfluous as (
  delete from held using unnest($1::bigint[], $2::integer[]) as w(reseller_id, id)
  where held.reseller_id = w.reseller_id and held.account_id = w.id
    and not exists (
      select from wanted n
      where n.reseller_id = held.reseller_id and n.id = held.account_id and n.kind = held.kind
        and n.authority = held.authority and n.owner = held.owner)
)
insert into held
select * from wanted
on conflict on constraint held_pkey do update set level = excluded.level,
  starts_at = excluded.starts_at, ends_at = excluded.ends_at, has_begun = excluded.has_begun
