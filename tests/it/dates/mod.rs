//! What dates mean: a whole day by its role, in the time zone of the account's reseller.

mod roles;
mod time_of_holds;
mod zones;
