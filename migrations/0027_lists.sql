-- What lists of accounts need to stop when their page is full.

-- Most holds are their reseller's own, block, and have no owner in particular. Lists of the others find them by indexes that
-- leave out the usual value, so that usual holds are not entered there.
create index held_owner_ix on held (reseller_id, owner, account_id) where owner <> '';
create index held_level_ix on held (reseller_id, level, account_id) where level <> 'block';
create index held_authority_ix on held (reseller_id, authority, account_id) where authority <> 'reseller';
-- The deleted accounts of all resellers, for an operator's list. The condition is spelled so that statements about the deleted
-- accounts of one reseller cannot use this index.
create index account_deleted_number_ix on account (id) where coalesce(deleted_at, purge_at) is not null;

-- The totals of a reseller's accounts by state, for resellers with many accounts whose lists are read. They are exact as of a
-- journal entry and an instant. A list adds what has changed since: the accounts of later entries, and those that an instant
-- since then has begun or ended to block. A job moves the totals on. Changes of accounts write nothing here.
create table reseller_total (
  reseller_id  bigint not null,
  -- The journal entry up to which all changes are counted.
  position     bigint not null,
  -- Later entries of the reseller are not much older than this.
  entries_from timestamptz not null,
  -- The instant at which the accounts were looked at.
  counted_at   timestamptz not null,
  -- The account number from which on the accounts are still to be counted. Null: all are.
  built_to     integer,
  -- When a list last asked for the totals.
  asked_at     timestamptz not null,
  constraint reseller_total_pkey primary key (reseller_id),
  constraint reseller_total_reseller_fk foreign key (reseller_id) references reseller (id)
);
-- How many accounts are blocked by a set of blocks. Its bits: 1 inactive, 2 expired, 4 frozen, 8 suspended by the reseller,
-- 16 suspended by the operator; 32 alone for a deleted account.
create table reseller_total_state (
  reseller_id bigint not null,
  blocks      smallint not null,
  accounts    bigint not null,
  constraint reseller_total_state_pkey primary key (reseller_id, blocks)
);
-- As what each account was counted. Accounts that nothing blocks have no row.
create table counted_block (
  reseller_id bigint not null,
  account_id  integer not null,
  blocks      smallint not null,
  constraint counted_block_pkey primary key (reseller_id, account_id),
  constraint counted_block_ck check (blocks > 0)
);
-- For the lists of these accounts, which have no index of their own.
create index counted_inactive_ix on counted_block (reseller_id, account_id) where blocks & 1 <> 0;
create index counted_expired_ix on counted_block (reseller_id, account_id) where blocks & 2 <> 0;

do $$
declare
  name text;
begin
  foreach name in array array['reseller_total', 'reseller_total_state', 'counted_block'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format($f$create policy of_resellers on %I using (reseller_id = any (array(
      select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)))$f$, name);
    execute format($f$create policy of_platform on %I using ((select current_setting('steward.scope', true)) = 'platform')$f$, name);
  end loop;
end
$$;
grant select, insert, update, delete on reseller_total, reseller_total_state, counted_block to steward_service;
