-- The accounts whose rows in held are not those of the open holds in their own row, at most $1.
with open as (
  select a.reseller_id, a.id, h ->> 'kind', h ->> 'authority', coalesce(h ->> 'owner', ''),
    coalesce(h ->> 'level', 'block'), (h ->> 'starts_at')::timestamptz,
    (h ->> 'ends_at')::timestamptz, h ->> 'scheduled' is null
  from account a cross join json_array_elements(a.holds) as h
  where a.holds is not null
)
select distinct reseller_id as "reseller_id!", account_id as "account_id!" from (
  (select * from held except all select * from open)
  union all
  (select * from open except all select * from held)
) as wrong
order by 1, 2 limit $1
