-- What lists of accounts need to stop when their page is full.

-- Most holds are their reseller's own, block, and have no owner in particular. Lists of the others find them by indexes that
-- leave out the usual value, so that usual holds are not entered there.
create index held_owner_ix on held (reseller_id, owner, account_id) where owner <> '';
create index held_level_ix on held (reseller_id, level, account_id) where level <> 'block';
create index held_authority_ix on held (reseller_id, authority, account_id) where authority <> 'reseller';
-- The deleted accounts of all resellers, for an operator's list.
create index account_deleted_number_ix on account (id) where deleted_at is not null;
