-- Freezes every hundredth account, and gives every account a journal entry.
insert into hold (reseller_id, account_id, id, kind, authority, payment_url, revision, opened_at, opened_by)
  select reseller_id, id, gen_random_uuid(), 'freeze', 'reseller', 'https://pay.example.com/i/4711', 1, now(), 'reseller, token' from account where id % 100 = 0;
insert into journal (reseller_id, account_id, at, sequence, action, outcome, events, authority, actor, dialect, request_id, before, after)
  select reseller_id, id, now(), 1, 'create', 'applied', '{account.created}', 'reseller', 'reseller, token', 'admin', 'load', '{}', '{"status": "active"}'
  from account;
vacuum analyze hold;
vacuum analyze journal;
checkpoint
