-- Webhooks: endpoints, their secrets, what could not be delivered yet, and every attempt.

-- An endpoint reads the journal from `position` on. Whoever holds the lease delivers to it; nobody else does meanwhile.
-- The columns that delivery writes are in no index.
create table webhook_endpoint (
  reseller_id       bigint not null,
  id                uuid not null,
  url               text not null,
  description       text,
  events            text[] not null,
  signature_style   text not null,
  suspended_by      text,                  -- none: deliveries are made
  revision          bigint not null,       -- one more with every change by its owner, so that who delivers sees it
  position          bigint not null,       -- the journal is delivered, or pending, up to this entry
  failing_since     timestamptz,           -- since when nothing has succeeded, if the latest attempt failed
  last_success_at   timestamptz,
  lease_owner       uuid,
  lease_until       timestamptz,
  created_at        timestamptz not null,
  updated_at        timestamptz not null,
  constraint webhook_endpoint_pkey primary key (reseller_id, id),
  constraint webhook_endpoint_reseller_fk foreign key (reseller_id) references reseller (id),
  constraint webhook_endpoint_style_ck check (signature_style in ('standard', 'plain')),
  constraint webhook_endpoint_suspended_ck check (suspended_by in ('owner', 'failures', 'gone'))
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

-- What deliveries are signed with; several while one is being rotated.
create table webhook_secret (
  reseller_id bigint not null,
  endpoint_id uuid not null,
  id          uuid not null,
  secret      text not null,
  created_at  timestamptz not null,
  expires_at  timestamptz,
  constraint webhook_secret_pkey primary key (reseller_id, endpoint_id, id),
  constraint webhook_secret_endpoint_fk foreign key (reseller_id, endpoint_id) references webhook_endpoint (reseller_id, id) on delete cascade
);

-- What the endpoint's position has passed although it is not delivered: it failed, or it stands behind something of the
-- same account that did, or somebody wants it once more. Only the first of an account has a time of its own.
create table webhook_pending (
  reseller_id     bigint not null,
  endpoint_id     uuid not null,
  account_id      integer not null,
  event_id        bigint not null,         -- the journal's
  event           text not null,
  at              timestamptz not null,    -- the journal's, which finds its partition
  attempts        integer not null,
  next_attempt_at timestamptz,
  constraint webhook_pending_pkey primary key (reseller_id, endpoint_id, account_id, event_id, event),
  constraint webhook_pending_endpoint_fk foreign key (reseller_id, endpoint_id) references webhook_endpoint (reseller_id, id) on delete cascade
);
create index webhook_pending_due_ix on webhook_pending (reseller_id, endpoint_id, next_attempt_at) where next_attempt_at is not null;

-- Every attempt. Trimmed after a while.
create table webhook_attempt (
  reseller_id bigint not null,
  endpoint_id uuid not null,
  id          uuid not null,               -- grows with time
  event_id    bigint not null,
  event       text not null,
  account_id  integer not null,
  event_at    timestamptz not null,
  number      integer not null,            -- 1 is the first
  at          timestamptz not null,
  succeeded   boolean not null,
  status      smallint,                    -- none: no answer arrived
  problem     text,
  answer      text,                        -- how it begins
  duration_ms integer not null,
  constraint webhook_attempt_pkey primary key (reseller_id, id)
);
create index webhook_attempt_at_ix on webhook_attempt (at);

-- Events are read by reseller in the order of the journal. Neither column ever changes. Ids become visible in order within
-- a reseller, because who writes entries locks the reseller first; so readers have no use for the column xid.
create index journal_events_ix on journal (reseller_id, id) where outcome = 'applied';

do $$
declare
  name text;
begin
  foreach name in array array['webhook_endpoint', 'webhook_secret', 'webhook_pending', 'webhook_attempt'] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
    execute format($f$create policy of_resellers on %I using (reseller_id = any (array(
      select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)))$f$, name);
    execute format($f$create policy of_platform on %I using ((select current_setting('steward.scope', true)) = 'platform')$f$, name);
  end loop;
end
$$;
grant select, insert, update, delete on webhook_endpoint, webhook_secret, webhook_pending, webhook_attempt to steward_service;
