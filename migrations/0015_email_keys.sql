-- E-mail addresses are the same if the lower case of their normalization form KC is the same. The service makes this key, as
-- before, and keeps it in account.email_key. For an address in ASCII it is the key that it was; the keys of other addresses
-- are made anew by `steward migrate` after the migrations, some at a time, and by every later one for accounts that a build
-- from before this migration wrote meanwhile. Where two accounts of a reseller then had the same key, the second one keeps
-- the key that it had, and `steward doctor` names both.

-- The accounts whose address is not ASCII. No status change, freeze or suspension writes the column.
create index account_email_wide_ix on account (reseller_id, id) where octet_length(email_key) > length(email_key);
