-- What the soap dialect needs: two preferences of a reseller, and look-ups by e-mail address across resellers.

-- Clients that were written from the original's table of numbers get numbers instead of words.
alter table reseller add column soap_numbers boolean not null default false;

-- Whose an address is, when it is not the caller's: an operator's look-up, and "does not belong to you".
create index account_email_ix on account (email_key) where deleted_at is null;
