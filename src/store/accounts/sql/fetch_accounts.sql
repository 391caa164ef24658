select a.reseller_id, a.id, a.uid,
  (select r.suspended_at from reseller r
   where r.id = a.reseller_id and r.suspended_at is not null) as reseller_suspended_at,
  a.status, a.status_set_at, a.expires_at, a.expiry_set_at, a.exempt_until, a.announce_at,
  a.deleted_at, a.purge_at, a.purge_due_at, a.warn_at, a.operator_released_at, a.version,
  a.created_at, a.updated_at, a.name, a.title, a.email, a.email_key, a.company, a.timezone,
  a.tariff_id, a.reports_day, a.reports_hour, a.is_smart, a.is_subscribers_suspend_all, a.is_tariff_exceed,
  a.pixels_enabled, a.pushes_enabled, a.extra::text as extra, a.admin_portal_domain,
  a.customer_portal_domain, a.reseller_portal_domain, a.website, a.logo_url, a.favicon_url,
  a.google_client_id, a.trial_expires_at, a.plan_id, a.company_id, a.account_alias, a.region,
  a.payment_method, a.psp, a.total_trial_extensions, a.metadata::text as metadata,
  (select json_agg(open) from (
     select h.id, h.kind, h.authority, h.owner, h.level, h.has_begun, h.reason_code, h.reason, h.public_message, h.payment_url,
       h.starts_at, h.ends_at, h.revision, h.opened_at, h.opened_by
     from hold h
     where h.reseller_id = a.reseller_id and h.account_id = a.id and h.closed_at is null) as open
  )::text as holds,
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
