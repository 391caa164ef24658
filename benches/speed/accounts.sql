-- Accounts for which :frozen is true are frozen. All are counted, or a job of the service would update each of them while it is
-- measured. Expiry dates are spread evenly from 30 days ago to 335 days from now.
insert into reseller (id, name, name_key, created_at, updated_at)
  select n, 'Reseller ' || n, 'reseller ' || n, now(), now() from generate_series(1, :resellers) as n;
select setval('reseller_id_seq', :resellers);
-- Creating the indexes after the load is many times faster.
set maintenance_work_mem = '1GB';
create temp table later as select indexdef from pg_indexes where tablename = 'account' and indexname not in ('account_pkey', 'account_uid_uq');
do $$ declare name text; begin for name in select indexname from pg_indexes where tablename = 'account' and indexname not in ('account_pkey', 'account_uid_uq') loop execute 'drop index ' || name; end loop; end $$;
alter table account drop constraint account_uid_uq, drop constraint account_pkey cascade;
alter table account disable trigger account_text_made;
insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, version, created_at, updated_at, email_key, counted, profile, holds)
  select :owner, n, gen_random_uuid(), 'active', made, now() + ((n::bigint * 7919) % 31536000 - 2592000) * interval '1 second', made, 1,
    made, made, 'user' || n || '@example' || (n % 997) || '.test', true,
    json_build_object('name', 'user' || n, 'title', 'User Name ' || n, 'email', 'User' || n || '@Example' || (n % 997) || '.test'),
    case when :frozen then json_build_array(json_build_object('id', gen_random_uuid(), 'kind', 'freeze', 'authority', 'reseller',
      'reason', 'suspected fraud, ticket 4711 opened', 'payment_url', 'https://pay.example.com/i/4711', 'revision', 1,
      'opened_at', made, 'opened_by', 'reseller, token')) end
  from (select n, now() - (n % 365) * interval '1 day' as made from generate_series(1, :accounts) as n) as n;
alter table account enable trigger account_text_made;
alter table account add constraint account_pkey primary key (reseller_id, id), add constraint account_uid_uq unique (reseller_id, uid);
do $$ declare definition text; begin for definition in select indexdef from later loop execute definition; end loop; end $$;
update reseller r set counted_accounts = n.accounts from (select reseller_id, count(*) as accounts from account group by reseller_id) as n
  where r.id = n.reseller_id;
insert into held (reseller_id, account_id, kind, authority, owner, level, has_begun)
  select reseller_id, id, 'freeze', 'reseller', '', 'block', true from account where holds is not null order by reseller_id, id;
select setval('account_id_seq', :accounts);
select fill_account_texts();
