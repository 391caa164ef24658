-- One job by its id, or a page of jobs, newest first. $1: the reseller, or null for any; $2: the id, or null; $3: the id
-- before which the page begins, or null; $4: the most jobs.
select reseller_id, id, command::text as "command!", selector, state, created_at, created_by, authority, updated_at,
  filter::text, preview::text, counts::text, total, filled, trimmed_at is not null as "is_trimmed!"
from bulk_job
where ($1::bigint is null or reseller_id = $1) and ($2::uuid is null or id = $2) and ($3::uuid is null or id < $3)
order by id desc limit $4
