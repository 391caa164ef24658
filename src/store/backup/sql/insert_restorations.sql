-- The last event of a reseller is that of its journal. If retention has removed all of them, it is any that was given.
insert into restoration (reseller_id, first_event, last_event, backed_up_at, restored_at)
select r.id, $1, coalesce(
    (select max(j.id) from journal j where j.reseller_id = r.id and j.outcome = 'applied'),
    (select max(j.id) from journal j where j.outcome = 'applied'),
    $2::bigint
  ), $3, $4
from reseller r where r.id > 0
