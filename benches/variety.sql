-- Accounts of the large reseller in every state: a tenth of a percent of them is inactive, half a percent is suspended, a few by the
-- operator, some with an owner or at a lower level; 4 % are deleted, and 1 % have a member of metadata in common.
update account set status = 'inactive' where id % 10000 = 10;
update account set deleted_at = now(), purge_at = now() + interval '30 days', counted = false where id % 250 = 20;
update reseller r set counted_accounts = n.accounts
  from (select reseller_id, count(*) filter (where deleted_at is null) as accounts from account group by reseller_id) as n where n.reseller_id = r.id;
insert into held (reseller_id, account_id, kind, authority, owner, level, has_begun)
  select reseller_id, id, 'suspend', case when id % 10000 = 30 then 'operator' else 'reseller' end, case when id % 1000 = 230 then 'billing' else '' end,
    case when id % 1000 = 430 then 'warn' else 'block' end, true from account where id % 200 = 30;
update account a set holds = json_build_array(json_build_object('id', gen_random_uuid(), 'kind', h.kind, 'authority', h.authority, 'owner', h.owner,
    'level', nullif(h.level, 'block'), 'revision', 1, 'opened_at', now(), 'opened_by', 'reseller, token'))
  from held h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.kind = 'suspend';
insert into account_metadata (reseller_id, account_id, key, value) select reseller_id, id, 'plan', 'gold' from account where id % 1000 = 50;
vacuum analyze account;
vacuum analyze held;
vacuum analyze account_metadata;
vacuum analyze reseller;
checkpoint
