\set id random(1, :accounts / 2)
SELECT a.reseller_id, a.id, a.uid, a.version, a.updated_at, a.status_set_at, a.created_at, a.expires_at, a.deleted_at, a.purge_due_at, a.status, a.plan_id, a.profile::text, a.holds FROM account a WHERE a.id >= :id AND (a.deleted_at IS NULL) = true ORDER BY a.id LIMIT 50;
