-- What the service stores about a change, in tables that are written by hand for it: accounts with
-- their open holds in one value, a narrow table by which lists find the holds, a journal by day with
-- the values before and after, and row security.
create table reseller (id bigint primary key, name text not null, suspended_at timestamptz);
create table api_token (token_hash bytea primary key, reseller_id bigint not null references reseller (id), revoked_at timestamptz);
create table account (
  reseller_id bigint not null,
  version bigint not null default 1,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  status_set_at timestamptz not null,
  expires_at timestamptz,
  deleted_at timestamptz,
  purge_due_at timestamptz,
  uid uuid not null,
  plan_id uuid,
  id integer not null,
  status text not null,
  email_key text,
  profile jsonb not null,
  holds jsonb,
  check (status in ('active', 'inactive')),
  check (version >= 1)
) with (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02);
create table held (
  reseller_id bigint not null,
  account_id integer not null,
  kind text not null,
  authority text not null,
  owner text not null,
  level text not null,
  starts_at timestamptz,
  ends_at timestamptz
) with (autovacuum_vacuum_scale_factor = 0.02);
create sequence journal_id_seq;
create table journal (
  reseller_id bigint not null,
  account_id integer not null,
  id bigint not null default nextval('journal_id_seq'),
  at timestamptz not null,
  sequence bigint,
  action text not null,
  outcome text not null,
  events text[] not null,
  authority text not null,
  actor text not null,
  request_id text not null,
  entry jsonb not null,
  check (outcome in ('applied', 'unchanged', 'refused')),
  check ((outcome = 'applied') = (sequence is not null))
) partition by range (at);
create table journal_of_now partition of journal for values from (current_date - 1) to (current_date + 2);
insert into reseller (id, name) select n, 'Reseller ' || n from generate_series(1, :resellers) as n;
insert into api_token (token_hash, reseller_id)
  select sha256(('tk_live_' || lpad(n::text, 12, '0') || '_0123456789abcdef0123456789abcdef')::bytea), n from generate_series(1, :resellers) as n;
insert into account (reseller_id, id, uid, created_at, updated_at, status, status_set_at, expires_at, email_key, profile, holds)
  select (n - 1) % :resellers + 1, n, gen_random_uuid(), made, made, 'active', made,
    now() + ((n::bigint * 7919) % 31536000 - 2592000) * interval '1 second', 'user' || n || '@example' || (n % 997) || '.test',
    jsonb_build_object('name', 'user' || n, 'title', 'User Name ' || n, 'email', 'User' || n || '@Example' || (n % 997) || '.test'),
    case when :frozen then jsonb_build_array(jsonb_build_object('id', gen_random_uuid(), 'kind', 'freeze', 'authority', 'reseller',
      'reason', 'suspected fraud, ticket 4711 opened', 'payment_url', 'https://pay.example.com/i/4711', 'revision', 1,
      'opened_at', made, 'opened_by', 'reseller ' || (n - 1) % :resellers + 1)) end
  from (select n, now() - (n % 365) * interval '1 day' as made from generate_series(1, :accounts) as n) as n;
insert into held (reseller_id, account_id, kind, authority, owner, level)
  select reseller_id, id, 'freeze', 'reseller', '', 'block' from account where holds is not null;
set maintenance_work_mem = '1GB';
alter table account add primary key (reseller_id, id);
create unique index on account (id);
create unique index on account (reseller_id, uid);
create unique index on account (reseller_id, email_key) where deleted_at is null;
create index on account (reseller_id, id) where deleted_at is not null;
create index on account (expires_at, id) where expires_at is not null;
create index on account (reseller_id, expires_at, id) where deleted_at is null and expires_at is not null;
create index on account (reseller_id, purge_due_at, id) where purge_due_at is not null;
alter table account add foreign key (reseller_id) references reseller (id);
alter table held add primary key (reseller_id, kind, account_id, authority, owner);
create index on held (kind, account_id);
create index on held (ends_at, account_id) where ends_at is not null;
create unique index on journal (reseller_id, account_id, id, at);
create index on journal (reseller_id, id) where outcome = 'applied';
alter table account enable row level security, force row level security;
create policy of_resellers on account using (reseller_id = any (array(
  select unnest(string_to_array(current_setting('peer.resellers', true), ','))::bigint)));
create policy of_platform on account using ((select current_setting('peer.scope', true)) = 'platform');
alter table held enable row level security, force row level security;
create policy of_resellers on held using (reseller_id = any (array(
  select unnest(string_to_array(current_setting('peer.resellers', true), ','))::bigint)));
create policy of_platform on held using ((select current_setting('peer.scope', true)) = 'platform');
alter table journal enable row level security, force row level security;
create policy of_resellers on journal using (reseller_id = any (array(
  select unnest(string_to_array(current_setting('peer.resellers', true), ','))::bigint)));
create policy of_platform on journal using ((select current_setting('peer.scope', true)) = 'platform');
-- Planning the statement anew would take longer than running it.
do $$ begin execute format('alter database %I set plan_cache_mode = force_generic_plan', current_database()); end $$;
vacuum analyze account;
vacuum analyze held;
analyze reseller;
analyze api_token
