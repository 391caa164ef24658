-- Freezes every hundredth account, and gives every account a journal entry.
insert into held (reseller_id, account_id, kind, authority, owner, level, has_begun)
  select reseller_id, id, 'freeze', 'reseller', '', 'block', true from account where id % 100 = 0;
update account set holds = json_build_array(json_build_object('id', gen_random_uuid(), 'kind', 'freeze', 'authority', 'reseller',
    'payment_url', 'https://pay.example.com/i/4711', 'revision', 1, 'opened_at', now(), 'opened_by', 'reseller, token'))
  where id % 100 = 0;
insert into journal (reseller_id, account_id, at, sequence, action, outcome, events, authority, actor, dialect, request_id, before, after)
  select reseller_id, id, now(), 1, 'create', 'applied', '{account.created}', 'reseller', 'reseller, token', 'admin', 'load', '{}', '{"status": "active"}'
  from account;
vacuum analyze account;
vacuum analyze held;
vacuum analyze journal;
checkpoint
