-- Metadata of accounts, and account numbers that an import brings along.

-- The metadata of an account, as one object of texts. None: it has no metadata.
alter table account add column metadata json;

-- The same, a row for each member, so that lists find accounts by it. An index over the object itself would not do: its
-- operators are not leakproof, and PostgreSQL does not use such an index under row level security. The service writes the rows
-- together with the account. The foreign key removes them with it, also if a build does so that does not know this table.
create table account_metadata (
  reseller_id bigint not null,
  account_id  integer not null,
  key         text not null,
  value       text not null,
  constraint account_metadata_pkey primary key (reseller_id, account_id, key),
  constraint account_metadata_account_fk foreign key (reseller_id, account_id) references account (reseller_id, id)
    on delete cascade,
  constraint account_metadata_key_ck check (length(key) between 1 and 40),
  constraint account_metadata_value_ck check (length(value) between 1 and 500)
);
create index account_metadata_value_ix on account_metadata (reseller_id, key, value, account_id);
alter table account_metadata enable row level security;
alter table account_metadata force row level security;
create policy of_resellers on account_metadata using (reseller_id = any (array(
  select unnest(string_to_array(current_setting('steward.resellers', true), ','))::bigint)));
create policy of_platform on account_metadata using ((select current_setting('steward.scope', true)) = 'platform');
grant select, insert, delete on account_metadata to steward_service;

-- An imported account keeps the number that it had in its earlier system, which may be one that the sequence has not reached
-- yet. The sequence must pass over it, whichever reseller has it, so these functions look at the accounts of all resellers.
-- They return numbers and UUIDs only, and set the scope back: only a superuser could let the function set it.
create index tombstone_account_ix on tombstone (account_id);
create index tombstone_uid_ix on tombstone (uid);

-- Draws numbers for new accounts, each greater than the one before, and passes over those that an account has. It returns
-- fewer when the sequence ends. An import that has not been committed yet is not seen; then the unique key of the
-- numbers refuses it, and the service draws another.
create function draw_account_numbers(wanted integer) returns setof integer
language plpgsql security definer set search_path = pg_catalog, public
set enable_seqscan = off as $$
declare
  scope text := coalesce(current_setting('steward.scope', true), '');
  reached bigint;
  taken bigint;
  missing integer := wanted;
  drawn integer;
  looked_at integer := 10;
  last_of_run integer;
begin
  perform set_config('steward.scope', 'platform', true);
  select coalesce(pg_sequence_last_value('public.account_id_seq'), 0) into reached;
  -- The greatest numbers, each from the end of its index. Usually none is beyond the sequence, and none has to be looked at.
  select greatest(
      coalesce((select id from public.account order by id desc limit 1), 0),
      coalesce((select account_id from public.tombstone order by account_id desc limit 1), 0))
    into taken;
  if taken <= reached and 2147483647 - reached >= wanted then
    return query select nextval('public.account_id_seq')::integer from generate_series(1, wanted);
    missing := 0;
  end if;
  while missing > 0 and coalesce(pg_sequence_last_value('public.account_id_seq'), 0) < 2147483647 loop
    drawn := nextval('public.account_id_seq');
    if not exists (select from public.account where id = drawn)
      and not exists (select from public.tombstone where account_id = drawn) then
      missing := missing - 1;
      return next drawn;
    else
      -- Often an import has taken many numbers in a row. The sequence goes to the end of the row at once: a number that is
      -- drawn and then looked up costs a hundred times as much. Rows end early as a rule, so few numbers are looked at first.
      select max(n.id) from (
          select t.id, t.id - row_number() over (order by t.id) as island from (
            (select id from public.account where id >= drawn order by id limit looked_at)
            union all
            (select account_id from public.tombstone where account_id >= drawn order by account_id limit looked_at)) as t) as n
        where n.island = drawn - 1
        into last_of_run;
      looked_at := case when last_of_run - drawn >= looked_at - 1 then least(looked_at * 10, 100000) else 10 end;
      perform pass_account_numbers(last_of_run);
    end if;
  end loop;
  perform set_config('steward.scope', scope, true);
end
$$;
revoke all on function draw_account_numbers(integer) from public;
grant execute on function draw_account_numbers(integer) to steward_service;

-- Lets the sequence reach a number, so that no new account gets it or one below. Several transactions that do so at the same
-- time may together go on by a thousand numbers each.
create function pass_account_numbers(last integer) returns void
language plpgsql security definer set search_path = pg_catalog, public as $$
declare
  reached bigint := coalesce(pg_sequence_last_value('public.account_id_seq'), 0);
begin
  while reached < last loop
    perform nextval('public.account_id_seq') from generate_series(1, least(last - reached, 1000));
    reached := coalesce(pg_sequence_last_value('public.account_id_seq'), 0);
  end loop;
end
$$;
revoke all on function pass_account_numbers(integer) from public;
grant execute on function pass_account_numbers(integer) to steward_service;

-- Which of these numbers and UUIDs an account has, of any reseller, or had before it was purged.
create function taken_account_identities(numbers integer[], uids uuid[]) returns table (number integer, uid uuid)
language plpgsql security definer set search_path = pg_catalog, public
set enable_seqscan = off as $$
declare
  scope text := coalesce(current_setting('steward.scope', true), '');
begin
  perform set_config('steward.scope', 'platform', true);
  return query
    select a.id, null::uuid from public.account a where a.id = any (numbers)
    union all select t.account_id, null from public.tombstone t where t.account_id = any (numbers)
    union all select null, a.uid from public.account a where a.uid = any (uids)
    union all select null, t.uid from public.tombstone t where t.uid = any (uids);
  perform set_config('steward.scope', scope, true);
end
$$;
revoke all on function taken_account_identities(integer[], uuid[]) from public;
grant execute on function taken_account_identities(integer[], uuid[]) to steward_service;
