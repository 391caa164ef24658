\set id random(1, :accounts / 10)
\set rid (:id - 1) % :resellers + 1
SELECT a.reseller_id, a.id, a.uid, a.version, a.updated_at, a.status_set_at, a.created_at, a.expires_at, a.deleted_at, a.purge_due_at, a.status, a.plan_id, a.profile::text, a.holds FROM held h JOIN account a ON a.reseller_id = h.reseller_id AND a.id = h.account_id WHERE h.reseller_id = :rid AND h.kind = 'freeze' AND h.account_id >= :id AND (a.deleted_at IS NULL) = true ORDER BY h.account_id LIMIT 50;
