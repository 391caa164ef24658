//! `steward doctor`: what is problem, and what mends it.

mod isolation;
mod prober;

use clap::{Args, Subcommand};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::json;

use super::{CommandError, output};
use crate::app::{Database, Failure};
use crate::config::Config;
use crate::service::{Clock, Service};
use crate::store::{Finding, Store};
use crate::webhooks;

/// How many receivers are connected to at a time.
const PROBES: usize = 16;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Doctor {
    #[command(subcommand)]
    what: Option<What>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Try, against a running service, whether one reseller can see or touch anything of another.
    #[command(
        after_help = "Examples:\n  steward doctor isolation --against http://127.0.0.1:8080 --operator-token \"$OPERATOR_TOKEN\"\n\nIt makes two resellers with accounts, plans, tokens and webhooks, tries every call of every dialect with the other's identities, and\nsuspends both at the end. Nothing of anybody else is touched."
    )]
    Isolation(isolation::Isolation),
}

/// One thing that was looked at.
struct Examination {
    what: &'static str,
    fine: String,
    findings: Vec<Finding>,
}

impl Examination {
    fn new(what: &'static str, fine: impl Into<String>, findings: Vec<Finding>) -> Self {
        Self {
            what,
            fine: fine.into(),
            findings,
        }
    }
}

impl Doctor {
    pub(super) async fn run(self, config: &Config) -> Result<(), CommandError> {
        if let Some(What::Isolation(isolation)) = self.what {
            return isolation.run().await;
        }
        let examined = examine(config).await?;
        let problem: usize = examined.iter().map(|one| one.findings.len()).sum();
        if self.json {
            let findings = |one: &Examination| {
                one.findings
                    .iter()
                    .map(|it| json!({"wrong": it.problem, "mend": it.remedy}))
                    .collect::<Vec<_>>()
            };
            let all: Vec<_> = examined.iter().map(|one| json!({"examined": one.what, "found": one.fine, "findings": findings(one)})).collect();
            output::json(&json!({ "healthy": problem == 0, "examinations": all }));
        } else {
            for one in &examined {
                show(one);
            }
        }
        match problem {
            0 => Ok(()),
            1 => Err(CommandError::Other("1 thing is wrong".to_owned())),
            several => Err(CommandError::Other(format!("{several} things are wrong"))),
        }
    }
}

fn show(one: &Examination) {
    if one.findings.is_empty() {
        output::line(&format!("fine   {:<14} {}", one.what, one.fine));
    }
    for finding in &one.findings {
        output::line(&format!("WRONG  {:<14} {}", one.what, finding.problem));
        output::line(&format!("       {:<14} mend: {}", "", finding.remedy));
    }
}

/// From what everything else stands on upwards; what stands on something wrong is not looked at.
async fn examine(config: &Config) -> Result<Vec<Examination>, CommandError> {
    let from = if config.database_url().is_some() {
        "with a database of its own"
    } else {
        "with the embedded database"
    };
    let mut examined = vec![Examination::new("configuration", from, Vec::new())];
    let verifier = config.verifier();
    let trusts = if verifier.as_ref().is_ok_and(Option::is_some) {
        "JSON Web Tokens of others are trusted"
    } else {
        "only tokens of our own are trusted"
    };
    let problem = verifier.err().map(|problem| {
        finding(
            &problem.to_string(),
            "correct that key of the configuration",
        )
    });
    examined.push(Examination::new(
        "trust",
        trusts,
        problem.into_iter().collect(),
    ));

    let database = match Database::open(config).await {
        Ok(database) => database,
        Err(failure) => {
            let remedy = if matches!(failure, Failure::Embedded(_)) {
                "see its log in the data directory"
            } else {
                "correct database.url"
            };
            examined.push(Examination::new(
                "database",
                "",
                vec![finding(&failure.to_string(), remedy)],
            ));
            return Ok(examined);
        }
    };
    let outcome = examine_database(config, &database, &mut examined).await;
    database.close().await;
    outcome.map(|()| examined)
}

async fn examine_database(
    config: &Config,
    database: &Database,
    examined: &mut Vec<Examination>,
) -> Result<(), CommandError> {
    let store = Store::new(database.options().clone(), &config.pool());
    let findings = store.check().await?;
    let is_usable = findings.is_empty();
    examined.push(Examination::new(
        "schema",
        "every migration is applied; the role and row level security are as they must be",
        findings,
    ));
    if !is_usable {
        return Ok(());
    }
    let seen = store.examine(|| Clock::System.now()).await?;
    let server = format!(
        "PostgreSQL {}, its clock is {:+.3} s from ours",
        seen.server, seen.clock_ahead
    );
    examined.push(Examination::new("server", server, seen.server_findings));
    examined.push(Examination::new(
        "policies",
        "every table has its policies, and nobody has changed them",
        seen.policy_findings,
    ));

    let service = Service::start(store, Clock::System, config.service());
    let targets = service.webhook_targets().await;
    service.stop().await;
    let targets = targets?;
    let allowed = config.dispatcher().allowed_networks;
    let probes = targets.iter().map(|(reseller, id, url)| {
        let allowed = &allowed;
        async move {
            let problem = webhooks::probe(url, allowed).await.err()?;
            let problem = format!("endpoint {id} of reseller {reseller}: {problem}");
            Some(finding(&problem, "have its owner correct or disable it; in this network, see webhooks.allowed_networks"))
        }
    });
    let findings: Vec<Finding> = stream::iter(probes)
        .buffered(PROBES)
        .filter_map(|found| async move { found })
        .collect()
        .await;
    examined.push(Examination::new(
        "webhooks",
        format!("{} receivers can be connected to", targets.len()),
        findings,
    ));
    Ok(())
}

fn finding(problem: &str, remedy: &str) -> Finding {
    Finding {
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    }
}
