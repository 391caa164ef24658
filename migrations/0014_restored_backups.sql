-- Restores of backups. After a restore the ids of events begin at an epoch far above those of the backup, because the
-- events after the backup are gone but their ids were given. One row for each reseller and restore has the gap: ids
-- above last_event and below first_event belong to no event any more. `steward restore` inserts the rows.
create table restoration (
  reseller_id  bigint not null,
  first_event  bigint not null,             -- the ids of later events are not below this one
  last_event   bigint not null,             -- the reseller's last event in the backup
  backed_up_at timestamptz not null,
  restored_at  timestamptz not null,
  constraint restoration_pkey primary key (reseller_id, first_event),
  constraint restoration_gap_ck check (last_event < first_event)
);
alter table restoration enable row level security;
alter table restoration force row level security;
create policy of_resellers on restoration using (reseller_id = any (array(
  select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)));
create policy of_platform on restoration using ((select current_setting('steward.scope', true)) = 'platform');
grant select on restoration to steward_service;
