-- The name that the owner gave to an endpoint, as Cryptlex's clients send it. Builds from before this migration neither read
-- nor write it. It is not called name, because a statement of theirs has an alias of that name beside the table.
alter table webhook_endpoint add column display_name text;
