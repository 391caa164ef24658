-- An earlier version may have lifted a suspension and left its row open: the reseller then says when.
select id, suspended_at, suspended_by, lifted_at, lifted_by from (
  select s.id, s.suspended_at, s.suspended_by, s.lifted_by, case
      when s.lifted_at is null and r.suspended_at is null then r.suspension_lifted_at
      else s.lifted_at end as lifted_at
  from reseller_suspension s join reseller r on r.id = s.reseller_id
  where s.reseller_id = $1 and ($3::bigint is null or s.id < $3)) as s
where $2::timestamptz is null or lifted_at is null or lifted_at > $2
order by id desc
limit $4
