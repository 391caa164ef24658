-- While an index is built, accounts can be read and not changed.

-- A freeze, a suspension or a status change writes neither of its columns.
create index account_miscounted_ix on account (reseller_id, counted, id) where counted <> (deleted_at is null);

-- No two accounts have the same number or UUID, whichever resellers they belong to. Until now the sequence alone, and chance,
-- saw to that.
create unique index account_number_uq on account (id);
create unique index account_uuid_uq on account (uid);
