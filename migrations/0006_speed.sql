-- What the hot path pays for and does not need.

-- A hold is opened, revised and closed by the statement that writes its account, which must still be there, and in the
-- version that was decided about: nothing can come in between. Looking the account up once more for every hold cost as much
-- as a fifth of the statement.
alter table hold drop constraint hold_account_fk;
alter table hold_revision drop constraint hold_revision_hold_fk;

-- Ends the statement that asks, and with it everything that it did, unless as many rows were found as there must be.
create function require_rows(written bigint, wanted bigint) returns boolean language plpgsql as $$
begin
  if written <> wanted then
    raise exception 'an account was changed meanwhile' using errcode = 'SW001';
  end if;
  return true;
end
$$;

-- Drops the days of the journal that lie before one, the oldest first, as far as everything in them was delivered; says how
-- many. An endpoint that is suspended holds nothing back.
create function drop_journal(before_day date) returns integer
language plpgsql security definer set search_path = pg_catalog, public set lock_timeout = '2s' as $$
declare
  dropped integer := 0;
  part record;
  is_needed boolean;
begin
  perform pg_advisory_xact_lock(hashtext('steward.prepare_journal'));
  for part in
    select c.relname as name, to_date(right(c.relname, 8), 'YYYYMMDD') as day
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.journal'::regclass and c.relname ~ '^journal_[0-9]{8}$' and to_date(right(c.relname, 8), 'YYYYMMDD') < before_day
    order by 2
  loop
    execute format('select exists (
        select from webhook_endpoint e where e.suspended_by is null
          and exists (select from %I j where j.reseller_id = e.reseller_id and j.id > e.position and j.outcome = ''applied''))', part.name)
      into is_needed;
    exit when is_needed or exists (
      select from webhook_pending p join webhook_endpoint e on e.reseller_id = p.reseller_id and e.id = p.endpoint_id
      where e.suspended_by is null and p.at < (part.day + 1)::timestamp at time zone 'UTC');
    execute format('drop table public.%I', part.name);
    dropped := dropped + 1;
  end loop;
  return dropped;
end
$$;
revoke all on function drop_journal(date) from public;
grant execute on function drop_journal(date) to steward_service;

-- Lists by expiry, and of what is deleted, within a reseller. Neither is changed by what is done often.
create index account_expiry_of_reseller_ix on account (reseller_id, expires_at, id) where deleted_at is null and expires_at is not null;
create index account_deleted_ix on account (reseller_id, id) where deleted_at is not null;
