//! The output of commands: results, tables, errors and notes.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar};
use serde_json::{Value, json};

use crate::dialects::dates;
use crate::domain::{Account, Hold, PaymentUrl, Time};

/// The progress bars on the terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Shows a progress bar.
pub(super) fn show_bar(bar: ProgressBar) -> ProgressBar {
    BARS.add(bar)
}

/// Writes to standard error without breaking a progress bar.
pub(super) fn around_bars(line: &[u8]) -> io::Result<()> {
    BARS.suspend(|| io::stderr().write_all(line))
}

/// Prints a result to standard output. A closed pipe (`| head`) is no error.
pub(super) fn line(text: &str) {
    drop(writeln!(io::stdout(), "{text}"));
}

/// Prints a result as indented JSON.
pub(super) fn json(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints an error to standard error.
pub(super) fn error(text: &str) {
    let (red, plain) = if io::stderr().is_terminal() {
        ("\u{1b}[1;31m", "\u{1b}[0m")
    } else {
        ("", "")
    };
    drop(around_bars(
        format!("{red}error:{plain} {text}\n").as_bytes(),
    ));
}

/// Prints a note to standard error.
pub(super) fn note(text: &str) {
    drop(around_bars(format!("{text}\n").as_bytes()));
}

/// Prints rows under headings. Each column is as wide as its widest cell.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) {
    let headings: Vec<String> = headings
        .iter()
        .map(|heading| (*heading).to_owned())
        .collect();
    let all: Vec<&Vec<String>> = std::iter::once(&headings).chain(rows).collect();
    let width = |column: usize| {
        all.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    for row in &all {
        let cells: Vec<_> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:<width$}", width = width(column)))
            .collect();
        line(cells.join("  ").trim_end());
    }
}

/// The JSON form of an account.
pub(super) fn account(account: &Account, now: Time) -> Value {
    let state = account.state(now);
    let profile = &account.profile;
    json!({
        "id": account.id.as_i32(),
        "uid": account.uid,
        "reseller_id": account.reseller_id.0,
        "email": profile.email.as_ref().map(crate::domain::Email::as_str),
        "name": profile.name,
        "title": profile.title,
        "company": profile.company,
        "timezone": profile.timezone,
        "plan": account.plan.as_ref().map(|plan| &plan.terms.name),
        "tariff": profile.tariff_id,
        "metadata": profile.metadata.as_ref().map(|metadata| &metadata.0),
        "status": account.status.as_str(),
        "effective_status": state.effective_status(),
        "blocked_by": state.blocked_by().iter().map(|block| block.as_str()).collect::<Vec<_>>(),
        "expires_at": account.expires_at.map(dates::write),
        "created_at": dates::write(account.created_at),
        "holds": account.holds.iter().map(hold).collect::<Vec<_>>(),
        "version": account.version,
    })
}

/// The JSON form of an open hold.
fn hold(hold: &Hold) -> Value {
    let details = &hold.details;
    json!({
        "id": hold.id.to_string(),
        "kind": hold.kind.as_str(),
        "placed_by": hold.authority.as_str(),
        "opened_at": dates::write(hold.opened_at),
        "starts_at": details.starts_at.map(dates::write),
        "ends_at": details.ends_at.map(dates::write),
        "reason_code": details.reason_code,
        "reason": details.reason,
        "public_message": details.public_message,
        "payment_url": details.payment_url.as_ref().map(PaymentUrl::as_str),
    })
}
