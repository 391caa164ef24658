//! PostgreSQL: the embedded cluster, outages, query plans, the doctor.

mod access;
mod account_texts;
mod connections;
mod crashes;
mod data_folder;
mod doctor;
mod email_keys;
mod embedded;
mod first_edition;
mod growth;
mod links;
mod list_plans;
mod list_totals;
mod lost_answers;
mod outage;
mod query_plans;
mod retention;
mod versions;
