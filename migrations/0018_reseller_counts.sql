-- The kept number, which a later migration counts.
alter table reseller add column counted_accounts bigint not null default 0;
