-- hold_owned_uq has taken its place. For a moment nobody can read holds.
drop index hold_open_uq;
