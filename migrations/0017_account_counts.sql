-- How many accounts a reseller has, kept, so that a creation does not count them. A reseller has as many live accounts as
-- reseller.counted_accounts says, plus those that are live and not counted, minus those that are counted and deleted. The two
-- kinds of exceptions are few, and have an index of their own: what was deleted or restored lately, and what a build from
-- before this migration created. A job counts them in and out. Accounts that such a build purges are corrected by the hourly
-- recount.
--
-- The columns only: nobody can read the table until this is committed. The next migration counts.
alter table account add column counted boolean not null default true;
alter table account alter column counted set default false;
alter table reseller add column counted_accounts bigint not null default 0;
