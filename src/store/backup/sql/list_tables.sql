-- The tables of the service: those on which its role has a grant. Partitions are left out.
-- Columns of the type xid8 are left out, because transaction ids mean nothing in another cluster, and generated columns.
select c.relname::text as "name!", c.relrowsecurity as "is_secured!",
  array(
    select a.attname::text from pg_attribute a
    where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
      and a.atttypid <> 'xid8'::regtype
    order by a.attnum
  ) as "columns!",
  array(
    select distinct p.relname::text from pg_constraint f join pg_class p on p.oid = f.confrelid
    where f.conrelid = c.oid and f.contype = 'f' and p.oid <> c.oid
  ) as "parents!",
  array(
    select p.relname::text from pg_inherits i join pg_class p on p.oid = i.inhrelid
    where i.inhparent = c.oid
    order by p.relname
  ) as "partitions!",
  exists (
    select from pg_policy p
    where p.polrelid = c.oid and p.polname = 'of_platform' and p.polpermissive and p.polcmd = '*' and p.polroles = '{0}'
      and regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+', ' ', 'g')
        = '(( SELECT current_setting(''steward.scope''::text, true) AS current_setting) = ''platform''::text)'
  ) and not exists (
    select from pg_policy p where p.polrelid = c.oid and not p.polpermissive
  ) as "is_readable!"
from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
  and c.relname <> '_sqlx_migrations'
  and exists (
    select from aclexplode(c.relacl) g join pg_roles r on r.oid = g.grantee
    where r.rolname = 'steward_service'
  )
order by c.relname
