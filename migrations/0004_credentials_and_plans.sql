-- What the v3 dialect manages: credentials that are JSON Web Tokens, when each was last used, and plans.

-- A key is a secret that is looked up; a jwt is signed by us and looked up besides, so that it can be revoked.
alter table api_token add column kind text not null default 'key';
alter table api_token add constraint api_token_kind_ck check (kind in ('key', 'jwt'));
-- Written in batches a minute apart, never by the request itself. No index mentions it.
alter table api_token add column last_used_at timestamptz;
alter table api_token set (fillfactor = 80);

-- The platform's own keys for signing JSON Web Tokens; made when the first is issued. Whoever reads one can still make
-- no credential that opens anything: each is kept as a hash, and has random bits that are kept nowhere.
create table signing_key (
  reseller_id bigint not null,                 -- 0, the platform
  id          text not null,
  secret      bytea not null,
  created_at  timestamptz not null,
  constraint signing_key_pkey primary key (reseller_id, id),
  constraint signing_key_reseller_fk foreign key (reseller_id) references reseller (id),
  constraint signing_key_secret_ck check (octet_length(secret) = 32)
);
alter table signing_key enable row level security;
alter table signing_key force row level security;
create policy of_resellers on signing_key using (reseller_id = any (array(
  select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)));
create policy of_platform on signing_key using ((select current_setting('steward.scope', true)) = 'platform');
grant select, insert on signing_key to steward_service;

-- Numbers of plans start at 1 and are never given twice.
alter table plan add constraint plan_number_ck check (number >= 1);
alter table plan add constraint plan_name_ck check (length(name) between 1 and 255);
