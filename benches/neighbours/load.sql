insert into reseller (id, name, name_key, created_at, updated_at, account_limit)
  values (1, 'First', 'first', now(), now(), :first), (2, 'Second', 'second', now(), now(), null),
    (3, 'Third', 'third', now(), now(), null), (4, 'Fourth', 'fourth', now(), now(), null), (5, 'Fifth', 'fifth', now(), now(), null);
select setval('reseller_id_seq', 5);
alter table account disable trigger account_text_made;
insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, version, created_at, updated_at, email_key, profile)
  select owner, n, gen_random_uuid(), 'active', made, now() + ((n::bigint * 7919) % 31536000 + 86400) * interval '1 second', made, 1,
    made, made, 'user' || n || '@example' || (n % 997) || '.test',
    json_build_object('name', 'user' || n, 'title', 'User Name ' || n, 'email', 'User' || n || '@Example' || (n % 997) || '.test')
  from (
    select n, now() - (n % 365) * interval '1 day' as made,
      case when n <= :first then 1 when n <= :first + :others then 2 when n <= :first + 2 * :others then 3 when n <= :first + 2 * :others + 50 then 4 else 5 end as owner
    from generate_series(1, :first + 2 * :others + 100) as n
  ) as n;
select setval('account_id_seq', :first + 2 * :others + 100);
alter table account enable trigger account_text_made;
select fill_account_texts();
vacuum analyze;
checkpoint
