update account a set email_key = n.email_key, plan_id = n.plan_id, profile = n.profile::json
from unnest($1::bigint[], $2::integer[], $3::text[], $4::uuid[], $5::text[])
  as n(reseller_id, id, email_key, plan_id, profile)
-- An account id is unique. With an index on it as the only choice, a plan that was made while the
-- table was empty is right for a large one.
where a.id = n.id and a.reseller_id is not distinct from n.reseller_id
