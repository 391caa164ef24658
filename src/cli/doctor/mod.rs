//! `steward doctor`: checks the installation, and shows how to fix each problem.

mod isolation;
mod prober;

use clap::{Args, Subcommand};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CommandError, demo, output};
use crate::app::{Database, Failure};
use crate::config::Config;
use crate::domain::ResellerId;
use crate::service::{Clock, Service};
use crate::store::{Finding, Store};
use crate::webhooks::{self, Unreachable};

/// The result of a check of the policies without findings.
const POLICIES_DETAIL: &str = "row level security, its policies, the grants and the role are those \
    of the migrations";

/// How many webhook receivers are probed at once.
const PROBES: usize = 16;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Doctor {
    #[command(subcommand)]
    command: Option<DoctorCommand>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// First write anew the rows by which lists find holds, where they are wrong.
    #[arg(long)]
    renew_holds: bool,
}

#[derive(Debug, Subcommand)]
enum DoctorCommand {
    /// Test on a running service whether one reseller can read or change data of another.
    #[command(after_help = "\
Examples:
  steward doctor isolation --against http://127.0.0.1:8080 --operator-token \"$OPERATOR_TOKEN\"

The test creates two resellers with accounts, plans, tokens and webhooks. It calls every operation \
of every API with one reseller's token and the other's identifiers. It changes no data of other \
resellers. At the end it removes both, if the service's database is the one of this configuration; \
else they stay, suspended and empty.

Statements name their reseller besides, so a missing policy may not show in any answer. So the test \
also compares the row level security of the database of this configuration with the migrations: \
give it the DATABASE_URL of the service, or run it where the service's embedded database is.")]
    Isolation(isolation::Isolation),
}

/// The result of one check.
struct Check {
    name: &'static str,
    /// What the check found; empty if there are problems.
    detail: String,
    findings: Vec<Finding>,
    /// What others have to look at; no problem of this installation.
    warnings: Vec<Finding>,
}

impl Check {
    fn new(name: &'static str, detail: impl Into<String>, findings: Vec<Finding>) -> Self {
        let detail = if findings.is_empty() {
            detail.into()
        } else {
            String::new()
        };
        Self {
            name,
            detail,
            findings,
            warnings: Vec::new(),
        }
    }
}

impl Doctor {
    pub(super) async fn run(self, config: &Config) -> Result<(), CommandError> {
        if let Some(DoctorCommand::Isolation(isolation)) = self.command {
            return isolation.run(config).await;
        }
        let mut config = config.clone();
        demo::apply_to_doctor(&mut config);
        let checks = run_checks(&config, self.renew_holds).await?;
        let problems: usize = checks.iter().map(|check| check.findings.len()).sum();
        if self.json {
            output::json(&document(&checks));
        } else {
            checks.iter().for_each(show);
        }
        match problems {
            0 => Ok(()),
            1 => Err(CommandError::Other("found 1 problem".to_owned())),
            count => Err(CommandError::Other(format!("found {count} problems"))),
        }
    }
}

fn document(checks: &[Check]) -> Value {
    let finding =
        |finding: &Finding| json!({ "problem": finding.problem, "remedy": finding.remedy });
    let check = |check: &Check| {
        let list = |findings: &[Finding]| findings.iter().map(finding).collect::<Vec<_>>();
        json!({
            "name": check.name,
            "detail": check.detail,
            "findings": list(&check.findings),
            "warnings": list(&check.warnings),
        })
    };
    json!({
        "healthy": checks.iter().all(|check| check.findings.is_empty()),
        "checks": checks.iter().map(check).collect::<Vec<_>>(),
    })
}

fn show(check: &Check) {
    if check.findings.is_empty() {
        let word = if check.warnings.is_empty() {
            "ok"
        } else {
            "warn"
        };
        output::line(&format!("{word:<6} {:<14} {}", check.name, check.detail));
    }
    for finding in &check.findings {
        output::line(&format!("FAIL   {:<14} {}", check.name, finding.problem));
        output::line(&format!("       {:<14} fix: {}", "", finding.remedy));
    }
    // Several warnings with the same remedy name it once.
    for same in check
        .warnings
        .chunk_by(|one, next| one.remedy == next.remedy)
    {
        for warning in same {
            output::line(&format!("       {:<14} {}", "", warning.problem));
        }
        if let Some(warning) = same.first() {
            output::line(&format!("       {:<14} fix: {}", "", warning.remedy));
        }
    }
}

/// Runs all checks. If the database cannot be used, the checks that need it are skipped.
async fn run_checks(config: &Config, renew_holds: bool) -> Result<Vec<Check>, CommandError> {
    let detail = if config.database_url().is_some() {
        "uses the PostgreSQL server of database.url"
    } else {
        "uses the embedded database"
    };
    let mut checks = vec![Check::new("configuration", detail, Vec::new())];
    checks.push(check_trust(config));

    let database = match Database::open(config).await {
        Ok(database) => database,
        Err(failure) => {
            let remedy = if matches!(failure, Failure::Embedded(_)) {
                "see its log in the data directory"
            } else if matches!(failure, Failure::NoDatabase { .. }) {
                "correct database.data_dir or database.url"
            } else {
                "correct database.url"
            };
            let findings = vec![finding(&failure.to_string(), remedy)];
            checks.push(Check::new("database", "", findings));
            return Ok(checks);
        }
    };
    let outcome = check_database(config, &database, &mut checks, renew_holds).await;
    database.close().await;
    outcome.map(|()| checks)
}

/// Checks the keys that verify JSON Web Tokens.
fn check_trust(config: &Config) -> Check {
    let (detail, problem) = match config.verifier() {
        Ok(Some(_)) => ("accepts JSON Web Tokens from the configured issuer", None),
        Ok(None) => ("accepts only tokens that this service issued", None),
        Err(problem) => ("", Some(problem)),
    };
    let remedy = "correct this key in the configuration";
    let findings = problem.map(|problem| finding(&problem.to_string(), remedy));
    Check::new("trust", detail, findings.into_iter().collect())
}

async fn check_database(
    config: &Config,
    database: &Database,
    checks: &mut Vec<Check>,
    renew_holds: bool,
) -> Result<(), CommandError> {
    let store = Store::new(database.options().clone(), &config.pool());
    let schema = store.check_schema().await?;
    let is_usable = schema.schema_findings.is_empty();
    let detail = if schema.is_newer {
        "a newer build has migrated the schema; this build may still work with it"
    } else {
        "all migrations are applied"
    };
    checks.push(Check::new("schema", detail, schema.schema_findings));
    if !is_usable {
        return Ok(());
    }
    let detail = "no superuser; the tables and the service's rights are separate";
    let findings = schema.login_finding.into_iter().collect();
    checks.push(Check::new("login", detail, findings));
    checks.push(Check::new(
        "policies",
        POLICIES_DETAIL,
        schema.access_findings,
    ));
    let holds = if renew_holds {
        let written = store.renew_held().await?;
        format!("wrote the rows of {written} accounts anew; lists find every hold as it is")
    } else {
        "lists find every hold as it is".to_owned()
    };
    let report = store.examine(|| Clock::System.now()).await?;
    let detail = format!(
        "PostgreSQL {}; its clock differs from this machine's by {:+.3} s",
        report.server, report.clock_ahead
    );
    checks.push(Check::new("server", detail, report.server_findings));
    let addresses = "no two accounts of a reseller have the same e-mail address";
    checks.push(Check::new("addresses", addresses, report.email_findings));
    checks.push(Check::new("holds", holds, report.held_findings));
    let texts = "text searches look at the texts that the accounts have";
    let findings = report.text_finding.into_iter().collect();
    checks.push(Check::new("texts", texts, findings));

    let service = Service::start(store, Clock::System, config.service());
    let targets = service.webhook_targets().await;
    service.stop().await;
    checks.push(check_webhooks(config, targets?).await);
    Ok(())
}

/// Connects to the receiver of every webhook endpoint. A receiver that is down, or whose address is
/// not allowed, is a warning: it is its owner's, and deliveries to it are tried again.
async fn check_webhooks(config: &Config, targets: Vec<(ResellerId, Uuid, String)>) -> Check {
    let mut detail = format!("can connect to all {} receivers", targets.len());
    let allowed = config.dispatcher().allowed_networks;
    let probes = targets.iter().map(|(reseller, id, url)| {
        let allowed = &allowed;
        async move {
            let unreachable = webhooks::probe(url, allowed).await.err()?;
            let whose = format!("endpoint {id} of reseller {reseller}");
            Some((whose, unreachable))
        }
    });
    let unreachable: Vec<_> = stream::iter(probes)
        .buffered(PROBES)
        .filter_map(|found| async move { found })
        .collect()
        .await;
    let (mut forbidden, mut down) = (Vec::new(), Vec::new());
    for (whose, unreachable) in unreachable {
        match unreachable {
            Unreachable::Forbidden(problem) => forbidden.push(finding(
                &format!("{whose}: {problem}"),
                "ask its owner to correct or disable it; if it is in your own network, add that \
                 network to webhooks.allowed_networks",
            )),
            Unreachable::Down(problem) => down.push(finding(
                &format!("{whose}: {problem}"),
                "ask its owner to look at the receiver, or to correct or disable the endpoint; if \
                 many are concerned, look at the DNS and the firewall of this machine",
            )),
        }
    }
    let total = targets.len();
    let parts = [(down.len(), "down"), (forbidden.len(), "not allowed")];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| {
            let are = if count == 1 { "is" } else { "are" };
            format!("{count} of {total} receivers {are} {what}")
        })
        .collect();
    if !parts.is_empty() {
        detail = parts.join(", ");
    }
    Check {
        warnings: [forbidden, down].concat(),
        ..Check::new("webhooks", detail, Vec::new())
    }
}

fn finding(problem: &str, remedy: &str) -> Finding {
    Finding {
        problem: problem.to_owned(),
        remedy: remedy.to_owned(),
    }
}
