-- The right side is a row of the table's own type, so its columns always fit the table.
update plan set (name, display_name, version, tier, "interval", paddle_id, paddle_price_id,
  allowed_users, allowed_organizations, allowed_admins, allowed_products,
  allowed_meter_attributes, allowed_feature_flags, allowed_features, allowed_activations,
  allowed_trial_activations, allowed_releases, allowed_product_space, allow_sending_domain, amount,
  allow_customer_portal_access, allow_organization_admins, allow_offline_activations,
  allow_hosted_floating_licenses, allow_on_premise_floating_licenses, allow_custom_domain,
  allow_resellers, allow_sso, allow_custom_roles, allow_legacy_custom_roles, allow_event_logs,
  allow_audit_logs, allow_custom_email_templates, allow_maintenance_policies,
  allow_activation_logs, activation_logs_retention_period, deprecated, updated_at) =
(select n.name, n.display_name, n.version, n.tier, n."interval", n.paddle_id, n.paddle_price_id,
  n.allowed_users, n.allowed_organizations, n.allowed_admins, n.allowed_products,
  n.allowed_meter_attributes, n.allowed_feature_flags, n.allowed_features, n.allowed_activations,
  n.allowed_trial_activations, n.allowed_releases, n.allowed_product_space,
  n.allow_sending_domain, n.amount, n.allow_customer_portal_access, n.allow_organization_admins,
  n.allow_offline_activations, n.allow_hosted_floating_licenses,
  n.allow_on_premise_floating_licenses, n.allow_custom_domain, n.allow_resellers, n.allow_sso,
  n.allow_custom_roles, n.allow_legacy_custom_roles, n.allow_event_logs, n.allow_audit_logs,
  n.allow_custom_email_templates, n.allow_maintenance_policies, n.allow_activation_logs,
  n.activation_logs_retention_period, n.deprecated, n.updated_at
 from jsonb_populate_record(null::plan, $3) n)
where reseller_id = $1 and id = $2
