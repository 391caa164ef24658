-- Holds of one authority have owners within it, and a level. A build that does not know them writes holds of no owner that block.
alter table hold
  add column owner text,
  add column level text not null default 'block',
  -- Whether the begin was announced. The builds before announced a scheduled hold when it was placed.
  add column has_begun boolean not null default true,
  add constraint hold_level_ck check (level in ('warn', 'limit', 'block')) not valid;
alter table hold_revision
  add column level text not null default 'block';
-- A credential that is bound to an owner places and lifts the holds of this owner only.
alter table api_token
  add column owner text;
