-- Bulk jobs that do not grow without bound, and stored answers that contain a secret.

-- A planned job keeps the accounts that it was planned for in one array, in the order of their ids. Its items are inserted
-- when it is applied. A job that an earlier version planned has no array, and its items exist already.
alter table bulk_job
  add column accounts  integer[],
  add column total      integer,                      -- how many accounts the array has
  add column filled     integer not null default 0,   -- how many of them have become items
  add column filter    json,                         -- the selector, to check each account again when the job is applied
  add column preview   json,                         -- what the job would have done when it was planned
  add column counts    json,                         -- of a finished job: its state, and how many accounts are in each state
  add column trimmed_at timestamptz;                 -- when the items of a finished job were deleted

-- Earlier versions must not touch a job whose accounts are still in the array: they would find no items, and finish at once.
-- So such a job has states of its own, which they do not know: listed (planned) and filling (applying).
alter table bulk_job drop constraint bulk_job_state_ck;
alter table bulk_job add constraint bulk_job_state_ck
  check (state in ('planned', 'listed', 'filling', 'applying', 'applied', 'reverting', 'reverted'));
-- An account that no longer matches the selector when the job is applied is skipped.
alter table bulk_item drop constraint bulk_item_state_ck;
alter table bulk_item add constraint bulk_item_state_ck
  check (state in ('pending', 'changed', 'unchanged', 'failed', 'skipped', 'reverted', 'kept'));

create index bulk_job_working_ix on bulk_job (reseller_id, id) where state in ('filling', 'applying', 'reverting');
create index bulk_job_planned_ix on bulk_job (created_at) where state in ('planned', 'listed');
create index bulk_job_finished_ix on bulk_job (updated_at) where state in ('applied', 'reverted') and trimmed_at is null;
grant delete on bulk_job, bulk_item to steward_service;

-- An answer that contains a secret is encrypted with a key that is derived from the caller's idempotency key, which is then
-- stored as a hash only. The nonce is set for such rows.
alter table idempotency
  add column nonce bytea,
  add constraint idempotency_nonce_ck check (octet_length(nonce) = 24);
