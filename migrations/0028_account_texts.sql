-- Text search of accounts by an index: the texts of each account in a narrow table of their own, with an index on their
-- trigrams. A freeze or a status change writes neither.
--
-- Triggers keep the table right, so that a build from before this migration keeps it right too. The service has no grant on it:
-- the operators of text search are not leakproof, so row level security would keep PostgreSQL from using the index. A function
-- that runs as the owner searches the table. It checks the reseller itself and returns nothing but account ids, whose rows the
-- caller reads under the policies of account.
create table account_text (
  reseller_id bigint not null,
  account_id integer not null,
  text text not null,
  constraint account_text_pkey primary key (reseller_id, account_id)
) with (autovacuum_vacuum_scale_factor = 0.02);
-- Without a policy: if somebody grants the table, the grantee still finds no row.
alter table account_text enable row level security;

-- The members that text searches look at. The lists of admin look at the first four, the search of v3 at the last four: both are
-- a connected part of the text. A function in SQL that is stable is written out where it is called.
create function account_text_of(profile json) returns text language sql stable parallel safe as $$
  select lower(concat_ws(' ', profile ->> 'name', profile ->> 'title', profile ->> 'email', profile ->> 'company',
    profile ->> 'company_id', profile ->> 'account_alias'))
$$;

-- The beginning of every key in the index: accounts are indexed in blocks of 262,144 ids and in 8 groups of resellers. A search
-- goes through the blocks in the order of the ids and stops when it has enough. Block 64 has the beginning of block 0 again.
create function account_text_block(reseller_id bigint, account_id integer) returns text language sql immutable parallel safe as $$
  select chr(48 + ((account_id >> 18) & 63)) || chr(48 + (reseller_id & 7)::integer)
$$;

-- The trigrams of a text. The last two characters begin a shorter one each, so that a text of one or two characters is the
-- beginning of a key wherever it stands.
create function account_text_grams(reseller_id bigint, account_id integer, text text) returns tsvector
language plpgsql immutable parallel safe as $$
declare
  block text := chr(48 + ((account_id >> 18) & 63)) || chr(48 + (reseller_id & 7)::integer);
  grams text[] := '{}';
begin
  for i in 1 .. length(text) loop
    grams[i] := block || substr(text, i, 3);
  end loop;
  return array_to_tsvector(grams);
end
$$;

-- What the trigrams of a text that contains another one must match. Every third trigram and the last one cover all characters.
create function account_text_query(reseller_id bigint, account_id integer, needle text) returns tsquery
language plpgsql immutable parallel safe as $$
declare
  block text := account_text_block(reseller_id, account_id);
  last constant integer := length(needle) - 2;
  -- A quote and a backslash have a meaning in a text search query.
  quoted text := '';
begin
  if last < 1 then
    return ('''' || replace(replace(block || needle, '\', '\\'), '''', '''''') || ''':*')::tsquery;
  end if;
  for i in 0 .. (last + 1) / 3 loop
    quoted := quoted || case when i > 0 then '&' else '' end || ''''
      || replace(replace(block || substr(needle, least(1 + 3 * i, last), 3), '\', '\\'), '''', '''''') || '''';
  end loop;
  return quoted::tsquery;
end
$$;

-- The ids of accounts whose text contains another one, by id after an id, at most as many as wanted; fewer only if there are no
-- more. Without a reseller, those of all resellers that the caller may see.
--
-- While every fiftieth account or more fits, it reads the accounts in their order. While they are rarer, it asks the index block
-- by block. The settings keep the order of the ids from being made by sorting all accounts of a reseller.
create function find_account_texts(reseller bigint, needle text, after_account integer, wanted integer) returns setof integer
language plpgsql stable security definer set search_path = pg_catalog, public
set enable_seqscan = off set enable_sort = off set enable_hashjoin = off set enable_mergejoin = off set jit = off
set max_parallel_workers_per_gather = 0 as $$
declare
  -- Null: all.
  allowed bigint[];
  groups bigint[] := array[reseller];
  reached integer := greatest(after_account, 0);
  missing integer := wanted;
  chunk integer := 250;
  read_rows integer;
  last integer;
  ids integer[];
  is_rare boolean := false;
  is_over boolean := false;
begin
  if current_setting('steward.scope', true) is distinct from 'platform' then
    allowed := coalesce(string_to_array(current_setting('steward.resellers', true), ','), '{}')::bigint[];
    if reseller <> all (allowed) then
      return;
    end if;
  end if;
  if reseller is null then
    groups := array(select generate_series(0, 7));
  end if;
  while missing > 0 loop
    if is_rare then
      -- The next account tells the next block that has any.
      if reseller is null then
        select a.id into last from account a where a.id > reached order by a.id limit 1;
      else
        select t.account_id into last from account_text t
        where t.reseller_id = reseller and t.account_id > reached order by t.account_id limit 1;
      end if;
      exit when last is null;
      last := last | 262143;
      -- The conditions on the ids are written so that no other index can answer them.
      select coalesce(array_agg(f.account_id order by f.account_id), '{}') into ids
      from unnest(groups) as g(id) cross join lateral (
        select t.account_id from account_text t
        where account_text_grams(t.reseller_id, t.account_id, t.text) @@ account_text_query(g.id, last, needle)
          and (reseller is null or t.reseller_id is not distinct from reseller)
          and (allowed is null or t.reseller_id = any (allowed) is true)
          and t.account_id - reached > 0 and last - t.account_id >= 0
          and strpos(t.text, needle) > 0) as f;
      is_rare := cardinality(ids) < 5000;
    else
      if reseller is null then
        select count(*), max(r.account_id), coalesce(array_agg(r.account_id order by r.account_id)
          filter (where strpos(r.text, needle) > 0 and (allowed is null or r.reseller_id = any (allowed))), '{}')
        into read_rows, last, ids
        from (
          select t.reseller_id, t.account_id, t.text
          from (select a.reseller_id, a.id from account a where a.id > reached order by a.id limit chunk) as a
          join account_text t on t.reseller_id = a.reseller_id and t.account_id = a.id) as r;
      else
        select count(*), max(r.account_id),
          coalesce(array_agg(r.account_id order by r.account_id) filter (where strpos(r.text, needle) > 0), '{}')
        into read_rows, last, ids
        from (
          select t.account_id, t.text from account_text t
          where t.reseller_id = reseller and t.account_id > reached order by t.account_id limit chunk) as r;
      end if;
      is_rare := chunk >= 1000 and cardinality(ids) * 50 < read_rows;
      is_over := read_rows < chunk;
    end if;
    return query select id from unnest(ids) as id limit missing;
    missing := missing - cardinality(ids);
    exit when is_over;
    reached := last;
    chunk := least(chunk * 4, 1000);
  end loop;
end
$$;

-- Moves what was written since the last call from the index' list of pending entries to where searches find it without reading
-- the list. Returns how many pages of the list that were.
create function flush_account_texts() returns bigint language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  return gin_clean_pending_list('account_text_grams_ix'::regclass);
end
$$;

-- Makes the table and its index anew. Writes wait for it.
create function fill_account_texts() returns bigint language plpgsql set search_path = pg_catalog, public
set maintenance_work_mem = '256MB' as $$
declare
  scope text := coalesce(current_setting('steward.scope', true), '');
  -- How many accounts are read at a time.
  step constant integer := 500000;
  reached integer := 0;
  last integer;
  filled bigint := 0;
  rows bigint;
begin
  perform set_config('steward.scope', 'platform', true);
  drop index if exists account_text_grams_ix;
  truncate account_text;
  loop
    select max(a.id) into last from (select id from account where id > reached order by id limit step) as a;
    exit when last is null;
    insert into account_text (reseller_id, account_id, text)
    select reseller_id, id, account_text_of(profile) from account where id > reached and id <= last order by id;
    get diagnostics rows = row_count;
    filled := filled + rows;
    reached := last;
    raise info 'account texts: % filled, up to account %', filled, reached;
  end loop;
  if filled > 0 then
    raise info 'account texts: building the index, about a minute for a million accounts';
  end if;
  -- New entries go to a pending list first, which a job empties: written one by one, they would cost four times as much.
  create index account_text_grams_ix on account_text using gin (account_text_grams(reseller_id, account_id, text))
    with (fastupdate = on, gin_pending_list_limit = 4096);
  -- No plan needs statistics of the trigrams.
  alter index account_text_grams_ix alter column 1 set statistics 0;
  perform set_config('steward.scope', scope, true);
  return filled;
end
$$;

-- How many accounts have another text than their profile makes, none, or one although they are gone; and the first of them.
create function wrong_account_texts(out accounts bigint, out first integer) language plpgsql security definer
set search_path = pg_catalog, public as $$
declare
  scope text := coalesce(current_setting('steward.scope', true), '');
begin
  perform set_config('steward.scope', 'platform', true);
  select count(*), min(coalesce(a.id, t.account_id)) into accounts, first
  from account a full join account_text t on t.reseller_id = a.reseller_id and t.account_id = a.id
  where t.text is distinct from account_text_of(a.profile);
  perform set_config('steward.scope', scope, true);
end
$$;

-- Triggers of account. Names of old and new rows are only possible for whole statements. An update that does not name profile
-- fires none.
create function write_account_texts() returns trigger language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  insert into account_text (reseller_id, account_id, text)
  select reseller_id, id, account_text_of(profile) from made;
  return null;
end
$$;
create function change_account_text() returns trigger language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  insert into account_text as t (reseller_id, account_id, text) values (new.reseller_id, new.id, account_text_of(new.profile))
  on conflict (reseller_id, account_id) do update set text = excluded.text where t.text <> excluded.text;
  return null;
end
$$;
create function delete_account_text() returns trigger language plpgsql security definer set search_path = pg_catalog, public as $$
begin
  delete from account_text where reseller_id = old.reseller_id and account_id = old.id;
  return null;
end
$$;
create trigger account_text_made after insert on account referencing new table as made
  for each statement execute function write_account_texts();
create trigger account_text_changed after update of profile on account
  for each row when (old.profile::text is distinct from new.profile::text) execute function change_account_text();
create trigger account_text_deleted after delete on account for each row execute function delete_account_text();

revoke all on function account_text_of(json), account_text_block(bigint, integer), account_text_grams(bigint, integer, text),
  account_text_query(bigint, integer, text), find_account_texts(bigint, text, integer, integer), flush_account_texts(),
  fill_account_texts(), wrong_account_texts(), write_account_texts(), change_account_text(), delete_account_text() from public;
grant execute on function find_account_texts(bigint, text, integer, integer), flush_account_texts(), wrong_account_texts()
  to steward_service;

do $$
begin
  perform fill_account_texts();
  -- What is known of an empty table would lead the planner astray.
  if exists (select from account_text) then
    analyze account_text;
  end if;
end
$$;
