-- Everything that decides which rows the service's role reaches: the policies and the forcing of row
-- level security, what the role may do with which relation and with which function that runs as its
-- owner, and what the role itself is. Objects of extensions are left out: extensions grant to public. So are those in
-- schemas that the role cannot use, and functions that only a trigger can call.
-- Partitions have no policies of their own: they must have no grants either.
with service as (
  select oid, rolsuper from pg_roles where rolname = 'steward_service'
), relation as (
  select c.oid, c.relacl, c.relkind, c.relispartition, c.relrowsecurity, c.relforcerowsecurity, c.relowner,
    case when n.nspname = 'public' then c.relname::text else n.nspname || '.' || c.relname end as name,
    case c.relkind when 'S' then 'sequence' when 'v' then 'view' when 'm' then 'view' when 'f' then 'foreign table'
      else 'table' end as kind
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
    and n.nspname not in ('pg_catalog', 'information_schema') and n.nspname !~ '^pg_(toast|temp)'
    and has_schema_privilege('steward_service', n.oid, 'usage')
    and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
), routine as (
  select p.oid, p.proacl, p.proowner,
    case when n.nspname = 'public' then p.proname::text else n.nspname || '.' || p.proname end
      || '(' || pg_get_function_identity_arguments(p.oid) || ')' as name
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where p.prosecdef and n.nspname not in ('pg_catalog', 'information_schema')
    and has_schema_privilege('steward_service', n.oid, 'usage')
    and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
    and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
)
select kind as "kind!", name as "name!", aspect as "aspect!", value as "value!"
from (
  select r.kind, r.name, 'row level security' as aspect,
    case when r.relrowsecurity and r.relforcerowsecurity then 'forced' when r.relrowsecurity then 'not forced'
      else 'disabled' end as value
  from relation r where r.relkind in ('r', 'p') and not r.relispartition
  union all
  select r.kind, r.name, 'policy ' || quote_ident(p.polname),
    'as ' || case when p.polpermissive then 'permissive' else 'restrictive' end
      || ' for ' || case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
        else 'all' end
      || ' to ' || case when p.polroles = '{0}' then 'public' else (
        select string_agg(coalesce(quote_ident(o.rolname), 'public'), ', ' order by o.rolname)
        from unnest(p.polroles) m(id) left join pg_roles o on o.oid = m.id) end
      || coalesce(' using (' || regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+', ' ', 'g') || ')', '')
      || coalesce(' with check (' || regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '\s+', ' ', 'g') || ')', '')
  from relation r join pg_policy p on p.polrelid = r.oid
  union all
  select r.kind, r.name, 'grant to ' || case when a.grantee = 0 then 'public' else 'steward_service' end,
    string_agg(distinct lower(a.privilege_type), ', ' order by lower(a.privilege_type))
  from relation r, aclexplode(r.relacl) a
  where a.grantee in (select oid from service union select 0)
  group by r.kind, r.name, a.grantee
  union all
  select r.kind, r.name,
    'grant on column ' || quote_ident(c.attname) || ' to ' || case when a.grantee = 0 then 'public' else 'steward_service' end,
    string_agg(distinct lower(a.privilege_type), ', ' order by lower(a.privilege_type))
  from relation r join pg_attribute c on c.attrelid = r.oid and not c.attisdropped, aclexplode(c.attacl) a
  where a.grantee in (select oid from service union select 0)
  group by r.kind, r.name, c.attname, a.grantee
  union all
  select r.kind, r.name, 'owner', 'steward_service'
  from relation r, service s where not s.rolsuper and pg_has_role(s.oid, r.relowner, 'usage')
  union all
  select 'function', r.name, 'grant to ' || case when a.grantee = 0 then 'public' else 'steward_service' end, 'execute'
  from routine r, aclexplode(coalesce(r.proacl, acldefault('f', r.proowner))) a
  where a.grantee in (select oid from service union select 0)
  union all
  select 'role', 'steward_service', 'attribute ' || v.name, 'on'
  from pg_roles r, lateral (values ('superuser', r.rolsuper), ('bypassrls', r.rolbypassrls), ('createrole', r.rolcreaterole),
    ('replication', r.rolreplication)) v (name, is_on)
  where r.rolname = 'steward_service' and v.is_on
  union all
  select 'role', 'steward_service', 'member of ' || quote_ident(o.rolname), 'on'
  from service s join pg_auth_members m on m.member = s.oid join pg_roles o on o.oid = m.roleid
) found
order by 1, 2, 3, 4
