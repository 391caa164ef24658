-- Expiry dates are spread evenly from 30 days ago to 335 days from now.
insert into reseller (id, name, name_key, created_at, updated_at)
  select n, 'Reseller ' || n, 'reseller ' || n, now(), now() from generate_series(1, :resellers) as n;
select setval('reseller_id_seq', :resellers);
-- Creating the indexes after the load is many times faster.
set maintenance_work_mem = '1GB';
create temp table later as select indexdef from pg_indexes where tablename = 'account' and indexname not in ('account_pkey', 'account_uid_uq');
do $$ declare name text; begin for name in select indexname from pg_indexes where tablename = 'account' and indexname not in ('account_pkey', 'account_uid_uq') loop execute 'drop index ' || name; end loop; end $$;
alter table account drop constraint account_uid_uq, drop constraint account_pkey cascade;
insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, version, created_at, updated_at, email_key, profile)
  select :owner, n, gen_random_uuid(), 'active', made, now() + ((n::bigint * 7919) % 31536000 - 2592000) * interval '1 second', made, 1,
    made, made, 'user' || n || '@example' || (n % 997) || '.test',
    json_build_object('name', 'user' || n, 'title', 'User Name ' || n, 'email', 'User' || n || '@Example' || (n % 997) || '.test')
  from (select n, now() - (n % 365) * interval '1 day' as made from generate_series(1, :accounts) as n) as n;
alter table account add constraint account_pkey primary key (reseller_id, id), add constraint account_uid_uq unique (reseller_id, uid);
do $$ declare definition text; begin for definition in select indexdef from later loop execute definition; end loop; end $$;
select setval('account_id_seq', :accounts);
