-- What the soap dialect needs: two preferences of a reseller, and look-ups by e-mail address across resellers.

-- Clients that were written from the original's table of numbers get numbers instead of words.
alter table reseller add column soap_numbers boolean not null default false;

-- Whose an address is, when it is not the caller's: an operator's look-up, and "does not belong to you".
create index account_email_ix on account (email_key) where deleted_at is null;

-- While a credential is checked, its own reseller can be seen, and no other.
create policy of_credential on reseller for select using (
  id in (select reseller_id from api_token where encode(hash, 'hex') = (select current_setting('steward.token_hash', true))));
