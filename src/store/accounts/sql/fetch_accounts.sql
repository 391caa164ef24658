select a.reseller_id, a.id, a.uid,
  (select r.suspended_at from reseller r
   where r.id = a.reseller_id and r.suspended_at is not null) as reseller_suspended_at,
  a.status, a.status_set_at, a.expires_at, a.expiry_set_at, a.exempt_until, a.announce_at,
  a.deleted_at, a.purge_at, a.purge_due_at, a.warn_at, a.operator_released_at, a.version,
  a.created_at, a.updated_at, a.email_key, a.plan_id, a.profile::text as "profile!",
  a.holds::text as holds,
  -- Most accounts have no plan; the table of plans is then not read.
  case when $3 and a.plan_id is not null then (
    select to_json(p)::text from plan p
    where p.reseller_id = a.reseller_id and p.id = a.plan_id) end as plan
from account a
-- The setting depends on no row, so PostgreSQL writes it before it reads a row. The caller compares
-- the resellers: an account id is unique over all resellers, and with a condition on the reseller
-- the planner would choose any index that begins with it while the table is empty.
where a.id = any($1)
  and (select case when $2::text is null then true
    else set_config('steward.resellers', $2, false) is not null end)
