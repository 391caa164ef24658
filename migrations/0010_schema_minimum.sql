-- The oldest build that this schema still serves, as the number of the newest migration that the build must know. A build
-- that knows this one runs on this schema, whatever later migrations there are. Only a migration that takes something away
-- from older builds raises it ("contract", see README.md): it replaces the function. A function and not a table, because
-- every build since the first refuses a table without row level security.
create function schema_minimum() returns bigint language sql immutable parallel safe as 'select 9::bigint';
