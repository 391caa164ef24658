-- What a stored answer is compared by and repeated with.
--
-- `command` is the SHA-256 of the command: the members of the body in a canonical order, without the credential and the
-- format of the answer, with the version that the request required. Versions before this migration compare
-- `fingerprint`, the SHA-256 of the body itself, so it is still written. Null in rows that they wrote, and in encrypted
-- ones.
-- The other columns are the headers that a repeat gets too. Null where the answer had none.
alter table idempotency
  add column command  bytea,
  add column etag     text,
  add column location text,
  add column changed  boolean,
  add constraint idempotency_command_ck check (octet_length(command) = 32);
