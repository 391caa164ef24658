-- Inserts accounts, and counts them. The caller has locked their resellers.
with grown as (
  update reseller r set counted_accounts = r.counted_accounts + n.accounts
  from (select id, count(*) as accounts from unnest($1::bigint[]) as u(id) group by id) as n
  where r.id = n.id
),
made as (
  insert into account (reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at,
    deleted_at, purge_at, operator_released_at, version, created_at, updated_at, name, title, email,
    email_key, company, timezone, tariff_id, reports_day, reports_hour, is_smart,
    is_subscribers_suspend_all, is_tariff_exceed, pixels_enabled, pushes_enabled, extra,
    admin_portal_domain, customer_portal_domain, reseller_portal_domain, website, logo_url,
    favicon_url, google_client_id, trial_expires_at, plan_id, company_id, account_alias, region,
    payment_method, psp, total_trial_extensions, counted, metadata)
  select n.reseller_id, n.id, n.uid, n.status, n.status_set_at, n.expires_at, n.expiry_set_at,
    n.deleted_at, n.purge_at, n.operator_released_at, n.version, n.created_at, n.updated_at, n.name,
    n.title, n.email, n.email_key, n.company, n.timezone, n.tariff_id, n.reports_day,
    n.reports_hour, n.is_smart, n.is_subscribers_suspend_all, n.is_tariff_exceed, n.pixels_enabled,
    n.pushes_enabled, n.extra::json, n.admin_portal_domain, n.customer_portal_domain,
    n.reseller_portal_domain, n.website, n.logo_url, n.favicon_url, n.google_client_id,
    n.trial_expires_at, n.plan_id, n.company_id, n.account_alias, n.region, n.payment_method, n.psp,
    n.total_trial_extensions, true, n.metadata::json
  from unnest($1::bigint[], $2::integer[], $3::uuid[], $4::text[], $5::timestamptz[],
      $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[],
      $10::timestamptz[], $11::bigint[], $12::timestamptz[], $13::timestamptz[], $14::text[],
      $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::integer[],
      $21::integer[], $22::integer[], $23::boolean[], $24::boolean[], $25::boolean[], $26::boolean[],
      $27::boolean[], $28::text[], $29::text[], $30::text[], $31::text[], $32::text[], $33::text[],
      $34::text[], $35::text[], $36::timestamptz[], $37::uuid[], $38::text[], $39::text[],
      $40::text[], $41::text[], $42::text[], $43::integer[],
      $44::text[])
    as n(reseller_id, id, uid, status, status_set_at, expires_at, expiry_set_at, deleted_at,
      purge_at, operator_released_at, version, created_at, updated_at, name, title, email, email_key,
      company, timezone, tariff_id, reports_day, reports_hour, is_smart, is_subscribers_suspend_all,
      is_tariff_exceed, pixels_enabled, pushes_enabled, extra, admin_portal_domain,
      customer_portal_domain, reseller_portal_domain, website, logo_url, favicon_url,
      google_client_id, trial_expires_at, plan_id, company_id, account_alias, region,
      payment_method, psp, total_trial_extensions, metadata)
  returning reseller_id, id, metadata
)
insert into account_metadata (reseller_id, account_id, key, value)
select made.reseller_id, made.id, member.key, member.value
from made cross join lateral json_each_text(made.metadata) as member
where made.metadata is not null
