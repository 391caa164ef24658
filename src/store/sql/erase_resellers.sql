-- Removes the resellers whose numbers and names the setting steward.erased lists, and all that they have. Only resellers that
-- `steward doctor isolation` made are removed. The tables are found in the catalogue, so that none is forgotten. A table
-- that another one still refers to is emptied in a later turn.
do $$
declare
  gone constant bigint[] := array(
    select id from reseller
    where id || ' ' || name = any(string_to_array(current_setting('steward.erased'), ','))
      and name like 'doctor-isolation-%');
  owned regclass;
  is_done boolean;
begin
  for turn in 1..20 loop
    is_done := true;
    for owned in
      select c.oid::regclass from pg_class c
      join pg_attribute a on a.attrelid = c.oid and a.attname = 'reseller_id' and not a.attisdropped
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
    loop
      begin
        execute format('delete from %s where reseller_id = any($1)', owned) using gone;
      exception when foreign_key_violation then
        is_done := false;
      end;
    end loop;
    exit when is_done;
  end loop;
  delete from reseller where id = any(gone);
end
$$
