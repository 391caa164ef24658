-- Credentials are looked for many at a time: steward.token_hash holds several in hexadecimal, separated by commas.
drop policy of_credential on api_token;
create policy of_credential on api_token for select using (encode(hash, 'hex') = any (array(
  select unnest(string_to_array(current_setting('steward.token_hash', true), ',')))));
