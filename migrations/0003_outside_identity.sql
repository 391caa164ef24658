-- The v3 dialect names accounts by their UUID; an operator does so without naming the reseller.
create index account_uid_ix on account (uid);
-- Its lists are sorted by creation, newest first, unless asked otherwise. Creation never changes.
create index account_created_ix on account (reseller_id, created_at, id);
