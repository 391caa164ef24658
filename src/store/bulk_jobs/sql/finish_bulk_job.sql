-- Finishes a job and keeps its counts, so that they outlive its items. $3: its state and its other name, $4: the new state.
update bulk_job j set state = $4, updated_at = $5, claimed_until = null,
  counts = json_build_object('state', $4::text, 'items', coalesce((
    select json_object_agg(c.state, c.count) from (
      select i.state, count(*) as count from bulk_item i
      where i.reseller_id = $1 and i.job_id = $2 group by i.state) as c), '{}'))
where j.reseller_id = $1 and j.id = $2 and j.state = any($3)
