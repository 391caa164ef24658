-- Counts the accounts of each reseller. The index comes first: while it is built, accounts can be read and not changed, so the
-- numbers are right until the commit. A freeze, a suspension or a status change writes neither of its columns.
create index account_miscounted_ix on account (reseller_id, counted, id) where counted <> (deleted_at is null);

update reseller r set counted_accounts = n.accounts
from (select reseller_id, count(*) filter (where counted) as accounts from account group by reseller_id) as n
where n.reseller_id = r.id;
