-- The facts are written out once, to be measured, and returned as they were written.
-- $5 is the number of entries, $6 the number of those to skip, $7 the number of bytes after which the page ends.
select account_id, id, at, sequence, action, outcome, refusal, events, authority, actor, token_id,
  (select t.name from api_token t
   where t.id = measured.token_id and (t.reseller_id = $1 or t.reseller_id = 0)) as token_name,
  dialect, request_id, old::json as "before!", new::json as "after!", size as "size!"
from (
  select page.*, (sum(size) over (order by id desc))::bigint as up_to_here
  from (
    select written.*, 300 + octet_length(old)::bigint + octet_length(new)
      + octet_length(concat(refusal, actor, request_id)) as size
    from (
      select account_id, id, at, sequence, action, outcome, refusal, events, authority, actor,
        token_id, dialect, request_id, before::text as old, after::text as new
      from journal
      where reseller_id = $1 and outcome = 'applied' and id >= $2 and id < $3
        and ($4::text is null
          or position(lower($4) in lower(concat_ws(' ', action, actor))) > 0)
      order by id desc limit $5 offset $6
    ) as written
  ) as page
) as measured
where up_to_here - size < $7
order by id desc
