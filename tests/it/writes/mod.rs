//! Every write can be repeated: it is carried out once, and says whether it changed anything.

mod conditions;
mod one_command;
mod random_repeats;
mod suspensions;
mod table;
mod things;
