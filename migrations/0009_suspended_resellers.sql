-- Every look-up of an account asks whether its reseller is suspended, and hardly one is: an index that is nearly always empty
-- answers at once.
create index reseller_suspended_ix on reseller (id) where suspended_at is not null;
