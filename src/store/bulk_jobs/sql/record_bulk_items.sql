-- Inserts the next accounts of a job as finished items, unless another worker has done so. $3: how many accounts had become
-- items, $4: how many have become items then, $5: the accounts, $6: the ids for holds, $7: the states, $8: the problems.
with moved as (
  update bulk_job set filled = $4
  where reseller_id = $1 and id = $2 and state = 'filling' and filled = $3
  returning id)
insert into bulk_item (reseller_id, job_id, account_id, hold_id, state, problem)
select $1, moved.id, n.account_id, n.hold_id, n.state, n.problem
from moved, unnest($5::integer[], $6::uuid[], $7::text[], $8::text[]) as n(account_id, hold_id, state, problem)
