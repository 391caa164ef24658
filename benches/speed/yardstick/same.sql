with caller as materialized (
  select t.reseller_id, set_config('peer.resellers', t.reseller_id::text, true)
  from api_token t join reseller r on r.id = t.reseller_id
  where t.token_hash = $1 and t.revoked_at is null and r.suspended_at is null
), was as materialized (
  select a.reseller_id, a.id, a.version, a.holds, case when a.holds is null then
    jsonb_build_array(jsonb_build_object('id', gen_random_uuid(), 'kind', 'freeze', 'authority', 'reseller',
      'reason', $3::text, 'payment_url', 'https://pay.example.com/i/4711', 'revision', 1, 'opened_at', now(),
      'opened_by', 'reseller ' || a.reseller_id)) end as next
  from caller c join account a on a.id = $2 and a.reseller_id = c.reseller_id
), written as (
  update account a set version = was.version + 1, updated_at = now(), holds = was.next
  from was
  where a.id = was.id and a.reseller_id = was.reseller_id and a.version = was.version
  returning a.reseller_id, a.id, a.version, was.holds as before, was.next as after
), placed as (
  insert into held (reseller_id, account_id, kind, authority, owner, level)
  select reseller_id, id, 'freeze', 'reseller', '', 'block' from written where after is not null
), lifted as (
  delete from held h using written w
  where h.reseller_id = w.reseller_id and h.kind = 'freeze' and h.account_id = w.id and w.after is null
), entered as (
  insert into journal (reseller_id, account_id, at, sequence, action, outcome, events, authority, actor, request_id, entry)
  select w.reseller_id, w.id, now(), w.version, case when w.after is null then 'unfreeze' else 'freeze' end, 'applied',
    array[case when w.after is null then 'account.unfrozen' else 'account.frozen' end], 'reseller', 'reseller ' || w.reseller_id,
    gen_random_uuid()::text, jsonb_build_object('before', w.before, 'after', w.after)
  from written w cross join lateral (select pg_advisory_xact_lock(w.reseller_id)) as locked
)
select (select count(*) from caller) as tokens, (select count(*) from written) as changed
