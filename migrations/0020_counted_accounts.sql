-- Counts the accounts of each reseller. Whoever counts an account in or out locks its reseller, so the numbers stay right until
-- the commit.
select id from reseller order by id for no key update;

update reseller r set counted_accounts = n.accounts
from (select reseller_id, count(*) filter (where counted) as accounts from account group by reseller_id) as n
where n.reseller_id = r.id;
