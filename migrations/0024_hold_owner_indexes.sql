-- While an index is built, holds can be read and not changed.

alter table hold validate constraint hold_level_ck;

-- At most one open hold per account, kind, authority and owner; no owner in particular counts as one.
create unique index hold_owned_uq on hold (reseller_id, account_id, kind, authority, coalesce(owner, ''))
  where closed_at is null;

-- The begins and the ends that are still to be announced.
create index hold_begins_ix on hold (starts_at) where closed_at is null and not has_begun;
create index hold_ends_ix on hold (ends_at) where closed_at is null and has_begun and ends_at is not null;
