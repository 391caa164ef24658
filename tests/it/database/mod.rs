//! PostgreSQL: the embedded cluster, outages, query plans, the doctor.

mod doctor;
mod embedded;
mod kill;
mod outage;
mod query_plans;
mod retention;
