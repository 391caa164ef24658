-- An account is one narrow row: what the rules read has columns, what describes it is one value (profile), and its open
-- holds are another (holds). A change of its state writes no index, and reads no other table.
--
-- Takes the old tables away, so older builds stop with this migration. It is one transaction: interrupted, it begins again.
-- It says how far it is. Ten million accounts take some minutes.

create table account_row (
  reseller_id bigint not null,
  version bigint not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  status_set_at timestamptz not null,
  expires_at timestamptz,
  expiry_set_at timestamptz,
  exempt_until timestamptz,
  announce_at timestamptz,
  deleted_at timestamptz,
  purge_at timestamptz,
  purge_due_at timestamptz,
  warn_at timestamptz,
  operator_released_at timestamptz,
  uid uuid not null,
  plan_id uuid,
  id integer not null,
  counted boolean not null default false,
  status text not null,
  email_key text,
  -- The members that describe the account, without those that are not known. No rule reads them. json and not jsonb, because
  -- members that a client made up are given back as they came.
  profile json not null default '{}',
  -- The open holds with their details; null if there are none.
  holds json,
  constraint account_id_ck check (id >= 1),
  constraint account_owner_ck check (reseller_id > 0),
  constraint account_status_ck check (status in ('active', 'inactive')),
  constraint account_version_ck check (version >= 1),
  constraint account_deleted_ck check ((deleted_at is null) = (purge_at is null)),
  constraint account_warn_ck check (warn_at is null or purge_due_at is not null)
) with (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02);

-- A row for each open hold, only so that lists and jobs find it: what it says is in the account's row.
create table held (
  reseller_id bigint not null,
  account_id integer not null,
  kind text not null,
  authority text not null,
  -- Empty for no owner in particular.
  owner text not null,
  level text not null,
  starts_at timestamptz,
  ends_at timestamptz,
  -- Whether the begin was announced.
  has_begun boolean not null
) with (autovacuum_vacuum_scale_factor = 0.02);

-- A row of a batch of changes: the batch comes as one array of each type. An array for each column would cost more than the
-- changes.
create type account_change as (
  reseller_id bigint,
  id integer,
  was bigint,
  version bigint,
  updated_at timestamptz,
  status text,
  status_set_at timestamptz,
  expires_at timestamptz,
  expiry_set_at timestamptz,
  deleted_at timestamptz,
  purge_at timestamptz,
  operator_released_at timestamptz,
  holds text
);
create type journal_entry as (
  reseller_id bigint,
  account_id integer,
  at timestamptz,
  sequence bigint,
  action text,
  outcome text,
  refusal text,
  events text[],
  authority text,
  actor text,
  token_id bigint,
  dialect text,
  request_id text,
  before text,
  after text
);

do $$
declare
  -- How many numbers are read at a time.
  step constant integer := 500000;
  last integer := coalesce((select max(id) from account), 0);
  reached integer := 0;
  copied bigint := 0;
  rows bigint;
begin
  while reached < last loop
    -- concat_ws leaves out what is null. A text of json is taken over as it is.
    insert into account_row (reseller_id, version, created_at, updated_at, status_set_at, expires_at, expiry_set_at, exempt_until,
      announce_at, deleted_at, purge_at, purge_due_at, warn_at, operator_released_at, uid, plan_id, id, counted, status, email_key,
      profile, holds)
    select a.reseller_id, a.version, a.created_at, a.updated_at, a.status_set_at, a.expires_at, a.expiry_set_at, a.exempt_until,
      a.announce_at, a.deleted_at, a.purge_at, a.purge_due_at, a.warn_at, a.operator_released_at, a.uid, a.plan_id, a.id, a.counted,
      a.status, a.email_key,
      ('{' || concat_ws(',',
        '"name":' || to_json(a.name)::text,
        '"title":' || to_json(a.title)::text,
        '"email":' || to_json(a.email)::text,
        '"company":' || to_json(a.company)::text,
        '"timezone":' || to_json(a.timezone)::text,
        '"tariff_id":' || a.tariff_id::text,
        '"reports_day":' || a.reports_day::text,
        '"reports_hour":' || a.reports_hour::text,
        '"is_smart":' || a.is_smart::text,
        '"is_subscribers_suspend_all":' || a.is_subscribers_suspend_all::text,
        '"is_tariff_exceed":' || a.is_tariff_exceed::text,
        '"pixels_enabled":' || a.pixels_enabled::text,
        '"pushes_enabled":' || a.pushes_enabled::text,
        '"extra":' || a.extra::text,
        '"admin_portal_domain":' || to_json(a.admin_portal_domain)::text,
        '"customer_portal_domain":' || to_json(a.customer_portal_domain)::text,
        '"reseller_portal_domain":' || to_json(a.reseller_portal_domain)::text,
        '"website":' || to_json(a.website)::text,
        '"logo_url":' || to_json(a.logo_url)::text,
        '"favicon_url":' || to_json(a.favicon_url)::text,
        '"google_client_id":' || to_json(a.google_client_id)::text,
        '"trial_expires_at":' || to_json(a.trial_expires_at)::text,
        '"company_id":' || to_json(a.company_id)::text,
        '"account_alias":' || to_json(a.account_alias)::text,
        '"region":' || to_json(a.region)::text,
        '"payment_method":' || to_json(a.payment_method)::text,
        '"psp":' || to_json(a.psp)::text,
        '"total_trial_extensions":' || a.total_trial_extensions::text,
        '"metadata":' || a.metadata::text
      ) || '}')::json,
      (select json_agg(json_strip_nulls(json_build_object('id', h.id, 'kind', h.kind, 'authority', h.authority, 'owner', h.owner,
          'level', nullif(h.level, 'block'), 'scheduled', nullif(not h.has_begun, false), 'reason_code', h.reason_code,
          'reason', h.reason, 'public_message', h.public_message, 'payment_url', h.payment_url, 'starts_at', h.starts_at,
          'ends_at', h.ends_at, 'revision', h.revision, 'opened_at', h.opened_at, 'opened_by', h.opened_by))
          order by h.kind, h.authority, h.owner nulls first)
        from hold h where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null)
    from account a where a.id > reached and a.id <= reached::bigint + step;
    get diagnostics rows = row_count;
    copied := copied + rows;
    -- Numbers that imports gave may lie far apart.
    reached := coalesce((select min(id) - 1 from account where id > reached::bigint + step), last);
    raise info 'migration 26: copied % accounts, up to number % of %', copied, reached, last;
  end loop;
  raise info 'migration 26: building the indexes';
end
$$;

insert into held (reseller_id, account_id, kind, authority, owner, level, starts_at, ends_at, has_begun)
select reseller_id, account_id, kind, authority, coalesce(owner, ''), level, starts_at, ends_at, has_begun from hold
where closed_at is null order by reseller_id, kind, account_id;

-- The journal has closed holds from now on. Those of before stay: an account at an earlier instant is read from them.
drop index hold_owned_uq;
drop index hold_begins_ix;
drop index hold_ends_ix;
alter table hold rename to earlier_hold;
alter index hold_pkey rename to earlier_hold_pkey;
alter table hold_revision rename to earlier_hold_revision;
alter index hold_revision_pkey rename to earlier_hold_revision_pkey;
revoke insert, update on earlier_hold, earlier_hold_revision from steward_service;

alter sequence account_id_seq owned by none;
alter table account_metadata drop constraint account_metadata_account_fk;
drop table account;
alter table account_row rename to account;

alter table account add constraint account_pkey primary key (reseller_id, id);
create unique index account_number_uq on account (id);
alter table account add constraint account_uid_uq unique (reseller_id, uid);
create unique index account_uuid_uq on account (uid);
create unique index account_email_uq on account (reseller_id, email_key) where deleted_at is null;
create index account_email_ix on account (email_key) where deleted_at is null;
create index account_email_wide_ix on account (reseller_id, id) where octet_length(email_key) > length(email_key);
create index account_created_ix on account (reseller_id, created_at, id);
create index account_deleted_ix on account (reseller_id, id) where deleted_at is not null;
create index account_expiry_ix on account (expires_at, id) where expires_at is not null;
create index account_expiry_of_reseller_ix on account (reseller_id, expires_at, id) where deleted_at is null and expires_at is not null;
create index account_announce_ix on account (announce_at) where announce_at is not null and deleted_at is null;
create index account_warn_ix on account (warn_at) where warn_at is not null;
create index account_exempt_ix on account (exempt_until, id) where exempt_until is not null;
create index account_exempt_of_reseller_ix on account (reseller_id, exempt_until, id) where exempt_until is not null;
create index account_purge_due_ix on account (purge_due_at, id) where purge_due_at is not null;
create index account_purge_ix on account (reseller_id, purge_due_at, id) where purge_due_at is not null;
create index account_miscounted_ix on account (reseller_id, counted, id) where counted <> (deleted_at is null);

-- The list of one kind, by number: of a reseller, and of all for an operator.
alter table held add constraint held_pkey primary key (reseller_id, kind, account_id, authority, owner);
create index held_kind_ix on held (kind, account_id);
-- The begins and the ends that are still to be announced.
create index held_begins_ix on held (starts_at, account_id) where not has_begun;
create index held_ends_ix on held (ends_at, account_id) where ends_at is not null;
-- The same of a reseller, for the list of what time will do.
create index held_begins_of_reseller_ix on held (reseller_id, starts_at, account_id) where not has_begun;
create index held_ends_of_reseller_ix on held (reseller_id, ends_at, account_id) where ends_at is not null;

alter table account add constraint account_reseller_fk foreign key (reseller_id) references reseller (id);
alter table account add constraint account_plan_fk foreign key (reseller_id, plan_id) references plan (reseller_id, id);
alter table account_metadata add constraint account_metadata_account_fk
  foreign key (reseller_id, account_id) references account (reseller_id, id) on delete cascade;

do $$
declare
  name text;
begin
  foreach name in array array['account', 'held'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format($f$create policy of_resellers on %I using (reseller_id = any (array(
      select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)))$f$, name);
    execute format($f$create policy of_platform on %I using ((select current_setting('steward.scope', true)) = 'platform')$f$, name);
  end loop;
end
$$;
grant select, insert, update, delete on account, held to steward_service;

-- Transaction ids, which nothing reads.
alter table journal drop column xid;

create or replace function schema_minimum() returns bigint language sql immutable parallel safe as 'select 26::bigint';

-- What is known of an empty table would lead the planner astray.
do $$
begin
  if exists (select from account) then
    analyze account;
    analyze held;
  end if;
end
$$;
