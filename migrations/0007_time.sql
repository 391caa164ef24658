-- What time does: exemption from automation, announcements of expiry, the plan of the purge.

alter table account
  add column exempt_until timestamptz,
  add column announce_at  timestamptz,                     -- when its expiry is announced next
  add column purge_due_at timestamptz,                     -- when it will be purged, if that is planned
  add column warn_at      timestamptz,                     -- when its purge is announced next
  add constraint account_warn_ck check (warn_at is null or purge_due_at is not null);

-- What has expired already is not announced any more; what will expire is, from the next of the 14, 7 and 1 days before it.
update account set announce_at = case
    when expires_at - interval '14 days' > now() then expires_at - interval '14 days'
    when expires_at - interval '7 days' > now() then expires_at - interval '7 days'
    when expires_at - interval '1 day' > now() then expires_at - interval '1 day'
    else expires_at
  end
where expires_at > now();

create index account_announce_ix on account (announce_at) where announce_at is not null and deleted_at is null;
create index account_warn_ix on account (warn_at) where warn_at is not null;
create index account_purge_ix on account (reseller_id, purge_due_at, id) where purge_due_at is not null;

-- A reseller's accounts are purged only where it says so, after so many days, and at most so many at once.
alter table reseller
  add column purges            boolean not null default false,
  add column purge_grace_days  integer not null default 30,
  add column purge_limit       integer not null default 100,
  add column purge_ran_at      timestamptz,
  add column purge_held_at     timestamptz,                -- since when more than the limit are due, which an operator has to approve
  add column purge_held_count  integer,
  add column purge_approved_at timestamptz,                -- what was due then may be purged, however many
  add constraint reseller_purge_grace_ck check (purge_grace_days between 1 and 3650),
  add constraint reseller_purge_limit_ck check (purge_limit >= 1),
  add constraint reseller_purge_held_ck check ((purge_held_at is null) = (purge_held_count is null));

-- What is left of an account that was purged, besides its journal.
create table tombstone (
  reseller_id  bigint not null,
  account_id   integer not null,
  uid          uuid not null,
  created_at   timestamptz not null,
  expired_at   timestamptz,
  deleted_at   timestamptz,
  purge_due_at timestamptz not null,
  purged_at    timestamptz not null,
  constraint tombstone_pkey primary key (reseller_id, account_id)
);
alter table tombstone enable row level security;
alter table tombstone force row level security;
create policy of_resellers on tombstone using (reseller_id = any (array(
  select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)));
create policy of_platform on tombstone using ((select current_setting('steward.scope', true)) = 'platform');
grant select, insert on tombstone to steward_service;
grant delete on account, hold, hold_revision to steward_service;

-- Bulk jobs: one command at every account that a selector found, planned, applied, and reverted as far as nobody has changed
-- the same again since.
create table bulk_job (
  reseller_id   bigint not null,
  id            uuid not null,
  command       json not null,
  selector      text not null,                   -- for people
  state         text not null,
  created_at    timestamptz not null,
  created_by    text not null,
  authority     text not null,
  updated_at    timestamptz not null,
  claimed_until timestamptz,                     -- until when a worker has it
  constraint bulk_job_pkey primary key (reseller_id, id),
  constraint bulk_job_state_ck check (state in ('planned', 'applying', 'applied', 'reverting', 'reverted')),
  constraint bulk_job_authority_ck check (authority in ('operator', 'reseller'))
);
create index bulk_job_open_ix on bulk_job (reseller_id, id) where state in ('applying', 'reverting');
create table bulk_item (
  reseller_id bigint not null,
  job_id      uuid not null,
  account_id  integer not null,
  hold_id     uuid not null,                     -- of the hold that is opened, should one be
  state       text not null,
  problem     text,
  constraint bulk_item_pkey primary key (reseller_id, job_id, account_id),
  constraint bulk_item_state_ck check (state in ('pending', 'changed', 'unchanged', 'failed', 'reverted', 'kept'))
);
create index bulk_item_state_ix on bulk_item (reseller_id, job_id, state, account_id);
do $$
declare
  name text;
begin
  foreach name in array array['bulk_job', 'bulk_item'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format($f$create policy of_resellers on %I using (reseller_id = any (array(
      select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)))$f$, name);
    execute format($f$create policy of_platform on %I using ((select current_setting('steward.scope', true)) = 'platform')$f$, name);
  end loop;
end
$$;
grant select, insert, update on bulk_job, bulk_item to steward_service;
