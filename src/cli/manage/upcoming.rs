//! `steward account upcoming`

use chrono_tz::Tz;
use clap::Args;
use serde_json::{Value, json};

use super::human;
use crate::cli::{CommandError, context, find_reseller, output};
use crate::dialects::dates;
use crate::domain::{Coming, ComingKind, Owner, Time};
use crate::service::{ComingChange, ComingQuery, Service};

/// How many rows one query reads.
const PAGE: usize = 100;

#[derive(Debug, Args)]
pub(in crate::cli) struct Upcoming {
    /// List only what happens to the accounts of this reseller, by number or name.
    #[arg(long, value_name = "ID_OR_NAME")]
    reseller: Option<String>,
    /// List only what happens up to this date, or date and time. A date is in the time zone of the
    /// reseller, in UTC without --reseller.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many changes to list; 0 lists all.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    /// Print JSON, one change a line.
    #[arg(long)]
    json: bool,
}

impl Upcoming {
    pub(super) async fn run(self, service: &Service) -> Result<(), CommandError> {
        let reseller = match &self.reseller {
            Some(reseller) => Some(find_reseller(service, reseller).await?),
            None => None,
        };
        let zone = service.zone_of_reseller(&context(), reseller).await?;
        let (until, mut after) = (self.until(zone)?, None);
        let mut left = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        let (mut is_empty, mut has_more) = (true, true);
        while has_more && left > 0 {
            let query = ComingQuery {
                reseller,
                kinds: ComingKind::ALL.to_vec(),
                until,
                after,
                limit: left.min(PAGE),
            };
            let page = service.upcoming(&context(), query).await?;
            left -= page.rows.len();
            has_more = page.has_more;
            after = page.rows.last().map(ComingChange::place);
            is_empty &= page.rows.is_empty();
            self.print(&page.rows);
        }
        if is_empty {
            output::note("nothing will happen without a command");
        } else if has_more {
            output::note("more will happen later; --limit 0 lists all");
        }
        Ok(())
    }

    fn until(&self, zone: Tz) -> Result<Option<Time>, CommandError> {
        let Some(text) = &self.until else {
            return Ok(None);
        };
        dates::parse_span(text, zone)
            .map(|span| Some(span.last()))
            .map_err(|problem| CommandError::Other(format!("--until: {problem}")))
    }

    fn print(&self, changes: &[ComingChange]) {
        if self.json {
            for change in changes {
                output::line(&item(change).to_string());
            }
        } else if !changes.is_empty() {
            let headings = ["WHEN", "ACCOUNT", "RESELLER", "WHAT", "HOLD", "STATE AFTER"];
            output::table(&headings, &changes.iter().map(row).collect::<Vec<_>>());
        }
    }
}

/// The state from then on. `None` if the account is gone.
fn state_after(coming: &ComingChange) -> Option<&'static str> {
    let change = &coming.change;
    (change.what != Coming::Purge).then(|| change.state.effective_status())
}

fn row(coming: &ComingChange) -> Vec<String> {
    let what = match coming.change.what.kind() {
        ComingKind::HoldEnds => "hold ends",
        ComingKind::HoldStarts => "hold starts",
        ComingKind::Expires => "expires",
        ComingKind::Purge => "is purged",
    };
    let hold = coming.change.what.hold().map_or_else(String::new, |hold| {
        let owner = hold
            .owner
            .as_ref()
            .map_or_else(String::new, |it| format!(":{it}"));
        let (kind, authority) = (hold.kind.as_str(), hold.authority.as_str());
        format!("{kind}:{authority}{owner} ({})", hold.level.as_str())
    });
    vec![
        human(coming.change.at),
        coming.account.id.to_string(),
        coming.account.reseller_id.to_string(),
        what.to_owned(),
        hold,
        state_after(coming).unwrap_or("gone").to_owned(),
    ]
}

fn item(coming: &ComingChange) -> Value {
    let hold = coming.change.what.hold();
    json!({
        "at": dates::write(coming.change.at),
        "what": coming.change.what.kind().as_str(),
        "id": coming.account.id.as_i32(),
        "uid": coming.account.uid,
        "reseller_id": coming.account.reseller_id.0,
        "hold_id": hold.map(|hold| hold.id.to_string()),
        "kind": hold.map(|hold| hold.kind.as_str()),
        "placed_by": hold.map(|hold| hold.authority.as_str()),
        "owner": hold.and_then(|hold| hold.owner.as_ref()).map(Owner::to_string),
        "level": hold.map(|hold| hold.level.as_str()),
        "state_after": state_after(coming),
    })
}
