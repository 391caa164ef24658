-- Distributes Steward's tables by reseller over the workers of a Citus cluster. Run once, as the owner, on the coordinator of a database that
-- `steward migrate` has prepared, before there is data or with the service stopped. See scale-out.md.

-- Small, read everywhere, with keys of their own: on every node.
select create_reference_table('reseller');

-- A reseller's rows of all tables are on one node, so that its transactions are local.
select create_distributed_table('account', 'reseller_id');
select create_distributed_table('hold', 'reseller_id', colocate_with => 'account');
select create_distributed_table('hold_revision', 'reseller_id', colocate_with => 'account');
select create_distributed_table('journal', 'reseller_id', colocate_with => 'account');
select create_distributed_table('idempotency', 'reseller_id', colocate_with => 'account');
select create_distributed_table('tombstone', 'reseller_id', colocate_with => 'account');
select create_distributed_table('plan', 'reseller_id', colocate_with => 'account');
select create_distributed_table('api_token', 'reseller_id', colocate_with => 'account');
select create_distributed_table('signing_key', 'reseller_id', colocate_with => 'account');
select create_distributed_table('webhook_endpoint', 'reseller_id', colocate_with => 'account');
select create_distributed_table('webhook_secret', 'reseller_id', colocate_with => 'account');
select create_distributed_table('webhook_pending', 'reseller_id', colocate_with => 'account');
select create_distributed_table('webhook_attempt', 'reseller_id', colocate_with => 'account');
select create_distributed_table('bulk_job', 'reseller_id', colocate_with => 'account');
select create_distributed_table('bulk_item', 'reseller_id', colocate_with => 'account');
