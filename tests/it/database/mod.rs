//! PostgreSQL: the embedded cluster, outages, query plans, the doctor.

mod crashes;
mod doctor;
mod embedded;
mod outage;
mod query_plans;
mod retention;
