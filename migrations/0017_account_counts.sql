-- How many accounts a reseller has, kept, so that a creation does not count them. A reseller has as many live accounts as
-- reseller.counted_accounts says, plus those that are live and not counted, minus those that are counted and deleted. The two
-- kinds of exceptions are few, and have an index of their own: what was deleted or restored lately, and what a build from
-- before this migration created. A job counts them in and out. Accounts that such a build purges are corrected by the hourly
-- recount.
--
-- The tables are changed one by one, because whoever changes accounts locks their reseller first: a migration that locked both
-- could wait for a transaction that waits for it.
alter table account add column counted boolean not null default true;
alter table account alter column counted set default false;
