//! PostgreSQL: the embedded cluster, outages, query plans, the doctor.

mod crashes;
mod doctor;
mod embedded;
mod lost_answers;
mod outage;
mod query_plans;
mod retention;
