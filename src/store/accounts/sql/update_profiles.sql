update account a set name = n.name, title = n.title, email = n.email, email_key = n.email_key,
  company = n.company, timezone = n.timezone, tariff_id = n.tariff_id, reports_day = n.reports_day,
  reports_hour = n.reports_hour, is_smart = n.is_smart,
  is_subscribers_suspend_all = n.is_subscribers_suspend_all,
  is_tariff_exceed = n.is_tariff_exceed, pixels_enabled = n.pixels_enabled,
  pushes_enabled = n.pushes_enabled, extra = n.extra::json,
  admin_portal_domain = n.admin_portal_domain, customer_portal_domain = n.customer_portal_domain,
  reseller_portal_domain = n.reseller_portal_domain, website = n.website, logo_url = n.logo_url,
  favicon_url = n.favicon_url, google_client_id = n.google_client_id,
  trial_expires_at = n.trial_expires_at, plan_id = n.plan_id, company_id = n.company_id,
  account_alias = n.account_alias, region = n.region, payment_method = n.payment_method,
  psp = n.psp, total_trial_extensions = n.total_trial_extensions, metadata = n.metadata::json
from unnest($1::bigint[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[],
    $7::text[], $8::text[], $9::integer[], $10::integer[], $11::integer[], $12::boolean[],
    $13::boolean[], $14::boolean[], $15::boolean[], $16::boolean[], $17::text[], $18::text[],
    $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[],
    $25::timestamptz[], $26::uuid[], $27::text[], $28::text[], $29::text[], $30::text[],
    $31::text[], $32::integer[], $33::text[])
  as n(reseller_id, id, name, title, email, email_key, company, timezone, tariff_id, reports_day,
    reports_hour, is_smart, is_subscribers_suspend_all, is_tariff_exceed, pixels_enabled,
    pushes_enabled, extra, admin_portal_domain, customer_portal_domain, reseller_portal_domain,
    website, logo_url, favicon_url, google_client_id, trial_expires_at, plan_id, company_id,
    account_alias, region, payment_method, psp, total_trial_extensions, metadata)
-- An account id is unique. With an index on it as the only choice, a plan that was made while the
-- table was empty is right for a large one.
where a.id = n.id and a.reseller_id is not distinct from n.reseller_id
