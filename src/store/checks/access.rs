//! Compares everything that decides which rows the service's role reaches with what the migrations
//! made: policies, the forcing of row level security, grants, and the role itself.
//!
//! `access.txt` has what the migrations of this build make. A test compares it with a freshly
//! migrated database, and writes it anew with `UPDATE_DOCS=1`.

use std::collections::BTreeMap;

use sqlx::{ConnectOptions as _, Connection as _, PgConnection};

use super::Finding;
use crate::domain::Error;
use crate::store::errors::OrDomain as _;
use crate::store::{SERVICE_ROLE, Store};

/// What the migrations of this build make, one fact a line.
const EXPECTED: &str = include_str!("access.txt");
/// Separates the fields of a line: kind, name, aspect, value.
const SEPARATOR: &str = " | ";
/// The table whose policies the tables of later migrations must have, too.
const MODEL: &str = "account";
const POLICIES: [&str; 2] = ["policy of_platform", "policy of_resellers"];
const SECURITY: &str = "row level security";
/// Privileges that row level security does not restrict.
const UNRESTRICTED: [&str; 4] = ["truncate", "references", "trigger", "maintain"];

/// A table, sequence, function or role.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Object {
    kind: String,
    name: String,
}

/// The aspects of an object: the name of a policy, of a grant, ..., and its value.
type Aspects = BTreeMap<String, String>;
type Access = BTreeMap<Object, Aspects>;

/// How the schema's newest migration compares with the newest one that this build knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    /// They are the same.
    Known,
    /// The schema is newer: it may have tables and grants that this build does not know.
    Newer,
}

impl Store {
    /// Describes the access of the service's role, one fact a line, in the form of `access.txt`.
    pub async fn describe_access(&self) -> Result<String, Error> {
        let mut connection = self.pool.connect_options().connect().await.or_domain()?;
        let access = read(&mut connection).await.or_domain()?;
        connection.close().await.or_domain()?;
        let mut lines = String::new();
        for (object, aspects) in access {
            for (aspect, value) in aspects {
                let fields = [&object.kind, &object.name, &aspect, &value];
                lines.push_str(&fields.map(String::as_str).join(SEPARATOR));
                lines.push('\n');
            }
        }
        Ok(lines)
    }
}

/// The differences from what the migrations made.
pub(super) async fn check(
    connection: &mut PgConnection,
    schema: Schema,
) -> Result<Vec<Finding>, sqlx::Error> {
    Ok(compare(&expected(), &read(connection).await?, schema))
}

async fn read(connection: &mut PgConnection) -> Result<Access, sqlx::Error> {
    let rows = sqlx::query_file!("src/store/sql/access.sql")
        .fetch_all(connection)
        .await?;
    let mut access = Access::new();
    for row in rows {
        let object = Object {
            kind: row.kind,
            name: row.name,
        };
        access
            .entry(object)
            .or_default()
            .insert(row.aspect, row.value);
    }
    Ok(access)
}

fn expected() -> Access {
    let mut access = Access::new();
    for line in EXPECTED.lines() {
        let mut fields = line.splitn(4, SEPARATOR).map(str::to_owned);
        let (Some(kind), Some(name), Some(aspect), Some(value)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        let aspects = access.entry(Object { kind, name }).or_default();
        aspects.insert(aspect, value);
    }
    access
}

fn compare(expected: &Access, found: &Access, schema: Schema) -> Vec<Finding> {
    let nothing = Aspects::new();
    let mut findings = Vec::new();
    for (object, wanted) in expected {
        let actual = found.get(object).unwrap_or(&nothing);
        if object.kind == "table" && !actual.contains_key(SECURITY) {
            findings.push(Finding::new(
                format!("the table {} is missing", object.name),
                "restore it from a backup: the migrations made it, and something has dropped it",
            ));
            continue;
        }
        for (aspect, value) in wanted {
            match actual.get(aspect) {
                Some(actual) if is_admitted(aspect, value, actual, schema) => {}
                actual => findings.push(differs(object, aspect, value, actual)),
            }
        }
        for (aspect, value) in actual {
            if !wanted.contains_key(aspect) && !is_admitted(aspect, "", value, schema) {
                findings.push(is_additional(object, aspect, value));
            }
        }
    }
    let model = expected.get(&Object {
        kind: "table".to_owned(),
        name: MODEL.to_owned(),
    });
    let unknown = found.iter().filter(|(key, _)| !expected.contains_key(key));
    for (object, aspects) in unknown {
        if !is_harmless(object, aspects, model.unwrap_or(&nothing), schema) {
            findings.extend(is_unknown(object, aspects));
        }
    }
    findings
}

/// Whether a value is as it must be. A later migration may have granted more on a table that this
/// build knows: row level security restricts that too, unless it is one of [`UNRESTRICTED`].
fn is_admitted(aspect: &str, wanted: &str, actual: &str, schema: Schema) -> bool {
    if wanted == actual {
        return true;
    }
    let of_service = aspect.starts_with("grant") && aspect.ends_with(SERVICE_ROLE);
    schema == Schema::Newer
        && of_service
        && privileges(wanted).all(|wanted| privileges(actual).any(|it| it == wanted))
        && privileges(actual)
            .filter(|it| !privileges(wanted).any(|wanted| wanted == *it))
            .all(|additional| !UNRESTRICTED.contains(&additional))
}

/// Whether an object that this build does not know can leak no row to another reseller: the service
/// has no grant on it, or it is a sequence, or a table with the two policies of every table. The
/// role itself is never harmless.
fn is_harmless(object: &Object, aspects: &Aspects, model: &Aspects, schema: Schema) -> bool {
    let is_reached = aspects
        .keys()
        .any(|aspect| aspect.starts_with("grant") || aspect == "owner");
    match object.kind.as_str() {
        "role" => false,
        _ if !is_reached => true,
        "sequence" => true,
        "table" => {
            let policies = aspects.keys().filter(|aspect| is_policy(aspect)).count();
            policies == POLICIES.len()
                && POLICIES
                    .iter()
                    .chain(&[SECURITY])
                    .all(|aspect| aspects.get(*aspect) == model.get(*aspect))
                && !aspects.contains_key("owner")
                && aspects
                    .iter()
                    .filter(|(aspect, _)| aspect.starts_with("grant"))
                    .all(|(aspect, value)| {
                        aspect.ends_with(SERVICE_ROLE)
                            && privileges(value).all(|it| !UNRESTRICTED.contains(&it))
                    })
        }
        // A later migration may have added a function for its own build.
        "function" => schema == Schema::Newer && !aspects.contains_key("grant to public"),
        _ => false,
    }
}

fn is_policy(aspect: &str) -> bool {
    aspect.starts_with("policy ")
}

fn privileges(value: &str) -> impl Iterator<Item = &str> {
    value.split(", ").filter(|it| !it.is_empty())
}

/// A finding about an aspect that the migrations made and that is gone or changed.
fn differs(object: &Object, aspect: &str, wanted: &str, actual: Option<&String>) -> Finding {
    let Object { kind, name } = object;
    if let Some(policy) = aspect.strip_prefix("policy ") {
        let state = if actual.is_some() {
            "is not the one that the migrations made"
        } else {
            "is missing"
        };
        return Finding::new(
            format!("the row level security policy {policy} of table {name} {state}"),
            format!(
                "`drop policy if exists {policy} on {name}; create policy {policy} on {name} \
                 {wanted}`"
            ),
        );
    }
    if aspect == SECURITY && wanted != "forced" {
        return Finding::new(
            format!("row level security of table {name} is not as the migrations made it"),
            format!(
                "`alter table {name} enable row level security; \
                 alter table {name} no force row level security`"
            ),
        );
    }
    if aspect == SECURITY {
        return Finding::new(
            format!("row level security is not forced on table {name}"),
            format!(
                "`alter table {name} enable row level security; \
                 alter table {name} force row level security`"
            ),
        );
    }
    let actual = actual.map_or("nothing", String::as_str);
    let (grant, revoke) = (statement(object, aspect, wanted, "grant"), {
        let more = privileges(actual).filter(|it| !privileges(wanted).any(|other| other == *it));
        more.collect::<Vec<_>>().join(", ")
    });
    let remedy = if revoke.is_empty() || actual == "nothing" {
        grant
    } else {
        let revoke = statement(object, aspect, &revoke, "revoke");
        if privileges(wanted).all(|it| privileges(actual).any(|other| other == it)) {
            revoke
        } else {
            format!("{revoke} {grant}")
        }
    };
    Finding::new(
        format!(
            "{kind} {name}: the {aspect} is {actual}; it is {wanted} in a database that only the \
             migrations have changed"
        ),
        remedy,
    )
}

/// A finding about an aspect that the migrations did not make, of an object that they made.
fn is_additional(object: &Object, aspect: &str, value: &str) -> Finding {
    let Object { kind, name } = object;
    if let Some(policy) = aspect.strip_prefix("policy ") {
        return Finding::new(
            format!(
                "table {name} has an additional row level security policy {policy}, which the \
                 migrations did not make: {value}"
            ),
            format!("`drop policy {policy} on {name}`"),
        );
    }
    if aspect == "owner" {
        return Finding::new(
            format!("the role {SERVICE_ROLE} owns {kind} {name}"),
            format!("`alter {kind} {name} owner to` the role that runs the migrations"),
        );
    }
    if let Some(attribute) = aspect.strip_prefix("attribute ") {
        let problem = match attribute {
            "superuser" | "bypassrls" => {
                format!("the role {name} is exempt from row level security: it has {attribute}")
            }
            _ => format!("the role {name} has the attribute {attribute}"),
        };
        return Finding::new(problem, format!("`alter role {name} no{attribute}`"));
    }
    if let Some(group) = aspect.strip_prefix("member of ") {
        return Finding::new(
            format!("the role {name} is a member of {group}, whose rights it has too"),
            format!("`revoke {group} from {name}`"),
        );
    }
    Finding::new(
        format!("{kind} {name} has a {aspect} that the migrations did not make: {value}"),
        statement(object, aspect, value, "revoke"),
    )
}

/// The findings about an object that the migrations did not make and that the service can reach.
fn is_unknown(object: &Object, aspects: &Aspects) -> Vec<Finding> {
    if object.kind == "role" {
        let found = aspects.iter();
        return found
            .map(|(aspect, value)| is_additional(object, aspect, value))
            .collect();
    }
    let grants = aspects
        .iter()
        .filter(|(aspect, _)| aspect.starts_with("grant"));
    let remedy: Vec<_> = grants
        .map(|(aspect, value)| statement(object, aspect, value, "revoke"))
        .collect();
    let Object { kind, name } = object;
    let problem = match kind.as_str() {
        "table" => format!(
            "the service can reach table {name}, which the migrations did not make and which does \
             not have forced row level security with exactly the policies of_resellers and \
             of_platform of the other tables"
        ),
        _ => format!(
            "the service can reach {kind} {name}, which the migrations did not make and to which \
             row level security may not apply"
        ),
    };
    let remedy = if remedy.is_empty() {
        format!("`alter {kind} {name} owner to` the role that runs the migrations")
    } else {
        remedy.join(" ")
    };
    vec![Finding::new(problem, remedy)]
}

/// The statement that grants or revokes what an aspect is about.
fn statement(object: &Object, aspect: &str, privileges: &str, verb: &str) -> String {
    let Object { kind, name } = object;
    let word = match kind.as_str() {
        "function" => "function ",
        "sequence" => "sequence ",
        _ => "",
    };
    let (target, privileges) = match aspect
        .strip_prefix("grant on column ")
        .and_then(|rest| rest.split_once(" to "))
    {
        Some((column, _)) => {
            let listed = privileges.split(", ").map(|it| format!("{it} ({column})"));
            (name, listed.collect::<Vec<_>>().join(", "))
        }
        None => (name, privileges.to_owned()),
    };
    let grantee = if aspect.ends_with(" to public") {
        "public"
    } else {
        SERVICE_ROLE
    };
    let direction = if verb == "grant" { "to" } else { "from" };
    format!("`{verb} {privileges} on {word}{target} {direction} {grantee}`")
}
