-- account_number_uq and account_uuid_uq have taken their places. For a moment nobody can read accounts.
drop index account_id_ix;
drop index account_uid_ix;
