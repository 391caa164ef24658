//! Whether one reseller can read or change anything of another, tested from outside.
//!
//! The check makes two resellers. The token of the first calls every operation with ids of the
//! second, in every place that takes an id. The answer must be byte for byte the answer to an id
//! that does not exist. The caller's own ids must be found. Otherwise the comparisons would prove
//! nothing.

mod places;
mod tenant;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::prober::{ProbeResponse, Prober};
use crate::app::Database;
use crate::cli::{CommandError, output, web_address};
use crate::config::Config;
use crate::domain::ResellerId;
use crate::store::{ErasedReseller, Store, erase_resellers};
use places::Place;
use tenant::Tenant;

/// How many pairs of requests are timed.
const PAIRS: u32 = 200;

#[derive(Debug, Args)]
pub(super) struct Isolation {
    /// The address of the running service, such as http://127.0.0.1:8080.
    #[arg(long, value_name = "URL", value_parser = web_address)]
    against: String,
    /// An operator's token, with which the two resellers are made.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "OPERATOR_TOKEN",
        hide_env_values = true
    )]
    operator_token: SecretString,
    /// Print every comparison, not only the failed ones.
    #[arg(long)]
    verbose: bool,
    /// Do not compare response times.
    #[arg(long)]
    no_timing: bool,
}

/// The results of the comparisons.
#[derive(Default)]
struct Tally {
    same: usize,
    documented: usize,
    problems: Vec<String>,
}

/// The differences of the configured database's row level security from the migrations.
async fn check_policies(config: &Config) -> Result<Vec<String>, CommandError> {
    let Some(database) = Database::find(config).await? else {
        output::note(
            "No database is configured or runs here: its row level security was not compared with \
             the migrations.",
        );
        return Ok(Vec::new());
    };
    let store = Store::new(database.options().clone(), &config.pool());
    let report = store.check_schema().await?;
    store.close().await;
    let findings = report.schema_findings.iter().chain(&report.access_findings);
    Ok(findings
        .map(|finding| format!("database: {}; fix: {}", finding.problem, finding.remedy))
        .collect())
}

/// Removes the two resellers from the configured database if it is the service's. There is no call
/// of the API that removes a reseller.
async fn remove(config: &Config, mine: &Tenant, theirs: &Tenant) -> Result<(), CommandError> {
    let tenants = [mine, theirs].map(|tenant| ErasedReseller {
        id: ResellerId(tenant.id),
        name: tenant.name.clone(),
    });
    let removed = match Database::find(config).await? {
        Some(database) => erase_resellers(database.options(), &tenants)
            .await
            .map_err(|problem| format!("they could not be removed: {problem}")),
        None => Ok(0),
    };
    match removed {
        Ok(2) => {}
        Ok(_) => output::note(&format!(
            "The resellers {} and {} stay, suspended and empty: the database of this configuration \
             is not the service's. Where DATABASE_URL names it, the check removes them.",
            mine.name, theirs.name
        )),
        Err(problem) => output::note(&format!(
            "The resellers {} and {} stay, suspended and empty: {problem}.",
            mine.name, theirs.name
        )),
    }
    Ok(())
}

impl Isolation {
    pub(super) async fn run(self, config: &Config) -> Result<(), CommandError> {
        let prober = Prober::new(&self.against)?;
        let operator = self.operator_token.expose_secret();
        let name = |which: &str| format!("doctor-isolation-{which}-{}", Uuid::new_v4().simple());
        let mine = Tenant::make(&prober, operator, name("a")).await?;
        let theirs = Tenant::make(&prober, operator, name("b")).await?;
        let outcome = self.examine(&prober, &mine, &theirs).await;
        for tenant in [&mine, &theirs] {
            tenant.leave(&prober, operator).await?;
        }
        let mut tally = outcome?;
        tally.problems.extend(check_policies(config).await?);
        for problem in &tally.problems {
            output::line(&format!("FAIL   {problem}"));
        }
        output::line(&format!(
            "{} comparisons: {} the same byte for byte, {} different as the contract allows, \
             {} failed",
            tally.same + tally.documented + tally.problems.len(),
            tally.same,
            tally.documented,
            tally.problems.len()
        ));
        remove(config, &mine, &theirs).await?;
        if tally.problems.is_empty() {
            Ok(())
        } else {
            Err(CommandError::Other(
                "resellers are not isolated from each other, or nothing could be shown".to_owned(),
            ))
        }
    }

    async fn examine(
        &self,
        prober: &Prober,
        mine: &Tenant,
        theirs: &Tenant,
    ) -> Result<Tally, CommandError> {
        let mut tally = Tally::default();
        let before = theirs.everything(prober).await?;
        if let Some(answer) = before.iter().find(|answer| answer.status != 200) {
            tally.problems.push(format!(
                "a reseller does not find what is its own: {} {}",
                answer.status, answer.body
            ));
        }
        let places = places::all(mine, theirs);
        for place in &places {
            self.compare(prober, mine, place, &mut tally).await?;
        }
        for request in places::lists() {
            let answer = prober.send(Some(&mine.token), &request).await?;
            let seen: Vec<&str> = theirs
                .marks()
                .into_iter()
                .filter(|mark| answer.body.contains(mark))
                .collect();
            self.record(
                &mut tally,
                answer.status == 200 && seen.is_empty(),
                &format!(
                    "{} {}: nothing of the other's",
                    request.method, request.path
                ),
                || format!("{} {seen:?}", answer.status),
            );
        }
        self.authority(prober, mine, theirs, &mut tally).await?;
        let after = theirs.everything(prober).await?;
        let change = || {
            let mut pairs = before.iter().zip(&after);
            let changed = pairs.find(|(before, after)| before != after);
            changed.map_or_else(String::new, |(before, after)| {
                format!("{} is now {}", before.body, after.body)
            })
        };
        self.record(
            &mut tally,
            before == after,
            "the other's account, holds, history, plan, token, webhook, job and reseller are \
             untouched",
            change,
        );
        for (name, request) in places::own(mine) {
            let answer = prober.send(Some(&mine.token), &request).await?;
            self.record(
                &mut tally,
                answer.status == 200,
                &format!("{name}: the caller's own is found"),
                || format!("{} {}", answer.status, answer.body),
            );
        }
        if !self.no_timing {
            for name in TIMED {
                let Some(place) = places.iter().find(|place| place.name == name) else {
                    tally
                        .problems
                        .push(format!("{name}: there is nothing to time"));
                    continue;
                };
                let [foreign, unknown] = &place.requests;
                let differences = prober.race(&mine.token, foreign, unknown, PAIRS).await?;
                let (is_noise, text) = judge(&differences);
                let what = format!("{name}: takes as long");
                self.record(&mut tally, is_noise, &what, || text.clone());
            }
        }
        Ok(tally)
    }

    /// Calls every operation for operators with a reseller's token, and asks for a reseller's token
    /// with an operator's right.
    async fn authority(
        &self,
        prober: &Prober,
        mine: &Tenant,
        theirs: &Tenant,
        tally: &mut Tally,
    ) -> Result<(), CommandError> {
        for request in places::operators_only([mine, theirs]) {
            let answer = prober.send(Some(&mine.token), &request).await?;
            self.record(
                tally,
                answer.status == 403 && answer.body.contains(OPERATORS_ONLY),
                &format!("{} {}: for operators only", request.method, request.path),
                || format!("{} {}", answer.status, answer.body),
            );
        }
        let request = places::too_strong_token(mine);
        for (who, token) in [
            ("an operator", self.operator_token.expose_secret()),
            ("a reseller", mine.token.as_str()),
        ] {
            let answer = prober.send(Some(token), &request).await?;
            self.record(
                tally,
                (400..404).contains(&answer.status),
                &format!("{who} makes no reseller's token with an operator's right"),
                || format!("{} {}", answer.status, answer.body),
            );
        }
        Ok(())
    }

    async fn compare(
        &self,
        prober: &Prober,
        mine: &Tenant,
        place: &Place,
        tally: &mut Tally,
    ) -> Result<(), CommandError> {
        let ([foreign_id, unknown_id], [foreign, unknown]) = (&place.ids, &place.requests);
        let mut foreign = prober.send(Some(&mine.token), foreign).await?;
        let mut unknown = prober.send(Some(&mine.token), unknown).await?;
        if foreign != unknown {
            // An answer may contain the id from the request.
            (foreign, unknown) = (foreign.without(foreign_id), unknown.without(unknown_id));
        }
        let code = |answer: &ProbeResponse| answer.body.split("</Code>").next().map(str::to_owned);
        if foreign != unknown
            && place.may_name_owner
            && foreign.status == unknown.status
            && code(&foreign) == code(&unknown)
        {
            tally.documented += 1;
            return Ok(());
        }
        self.record(tally, foreign == unknown, &place.name, || {
            format!(
                "the other's id: {} {}; an unknown id: {} {}",
                foreign.status, foreign.body, unknown.status, unknown.body
            )
        });
        Ok(())
    }

    fn record(&self, tally: &mut Tally, is_fine: bool, what: &str, otherwise: impl Fn() -> String) {
        if is_fine {
            tally.same += 1;
            if self.verbose {
                output::line(&format!("ok     {what}"));
            }
        } else {
            tally.problems.push(format!("{what}: {}", otherwise()));
        }
    }
}

/// A part of the message with which `v3` refuses a reseller an operation for operators.
const OPERATORS_ONLY: &str = "Only an operator's token";

/// The requests whose answers are timed: one for each kind of look-up.
const TIMED: [&str; 5] = [
    "GET /v3/accounts/{id} by number",
    "GET /v3/accounts/{id} by UUID",
    "GET /v3/plans/{id}",
    "admin get",
    "admin freeze",
];

/// Whether the measured difference is noise, by a sign test. Without a real difference each request
/// is the slower one in half of the pairs; a deviation of more than four standard deviations
/// happens once in 15,000 runs. A median below 100 us is ignored, because nobody can measure it
/// through a network.
fn judge(sorted: &[i64]) -> (bool, String) {
    let pairs = i64::try_from(sorted.len()).unwrap_or_default();
    let slower = i64::try_from(sorted.iter().filter(|difference| **difference > 0).count())
        .unwrap_or_default();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    // Four standard deviations of the count are twice the square root of the number of pairs.
    let is_one_sided = (2 * slower - pairs).pow(2) > 16 * pairs;
    (
        !is_one_sided || median.abs() < 100,
        format!("the other's takes {median} us longer, in {slower} of {pairs} pairs"),
    )
}
