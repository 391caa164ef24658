//! The places where an id can stand in a request, read off the tables of operations.

use serde_json::{Value, json};
use uuid::Uuid;

use super::tenant::Tenant;
use crate::cli::doctor::prober::{ProbeRequest, admin, soap, with};
use crate::dialects::operation::Access;
use crate::dialects::v3::Id;
use crate::dialects::{admin as admin_dialect, soap as soap_dialect, v3};
use crate::domain::Scope;

/// A number that no account, reseller or token is likely to have.
const NOBODY: i64 = 2_147_483_646;

/// One place of a request where an id can stand.
pub(super) struct Place {
    pub(super) name: String,
    /// The id of the other reseller's data, and an id that does not exist.
    pub(super) ids: [String; 2],
    /// The same request with each of the two ids.
    pub(super) requests: [ProbeRequest; 2],
    /// Whether the messages of the two answers may differ, as Zoolz's do.
    pub(super) may_name_owner: bool,
}

/// Every operation for operators, for each of the resellers.
pub(super) fn operators_only(tenants: [&Tenant; 2]) -> Vec<ProbeRequest> {
    let operations = v3::OPERATIONS
        .iter()
        .filter(|operation| matches!(operation.access, Access::Operator(_)));
    operations
        .flat_map(|operation| {
            tenants.map(|tenant| {
                let path = operation.path.replace("{id}", &tenant.id.to_string());
                let request = ProbeRequest::new(operation.method, path);
                if operation.example.is_empty() {
                    request
                } else {
                    request.json(operation.example)
                }
            })
        })
        .collect()
}

/// A request for a reseller's token with a right that only operators have.
pub(super) fn too_strong_token(tenant: &Tenant) -> ProbeRequest {
    let scopes = [Scope::ResellerWrite.as_str()];
    ProbeRequest::post(
        "/v3/tokens",
        &json!({"resellerId": tenant.id, "name": "doctor isolation", "scopes": scopes}),
    )
}

/// Every place of every dialect.
pub(super) fn all(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let dialects = [v3_ids, v3_members, v3_queries, admin_places, soap_places];
    dialects
        .into_iter()
        .flat_map(|places| places(mine, theirs))
        .collect()
}

/// The id in the path of every operation of `v3`.
fn v3_ids(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let nobody = || Uuid::new_v4().to_string();
    let mut places = Vec::new();
    for operation in v3::OPERATIONS {
        let number = NOBODY.to_string();
        let ids = match operation.id {
            Id::None => continue,
            Id::Account => vec![
                (" by number", theirs.account.to_string(), number),
                (" by UUID", theirs.uid.clone(), nobody()),
            ],
            Id::Plan => vec![("", theirs.plan.clone(), nobody())],
            Id::Token => vec![("", theirs.credential.to_string(), number)],
            Id::BulkJob => vec![("", theirs.job.clone(), nobody())],
            Id::Reseller => vec![("", theirs.id.to_string(), number)],
            // Nobody's account was changed so often.
            Id::Entry => vec![("", number.clone(), (NOBODY - 1).to_string())],
            // The log of attempts is empty here, so an endpoint's id stands for an attempt's.
            Id::Webhook | Id::EventLog => vec![("", theirs.webhook.clone(), nobody())],
        };
        for (how, foreign, unknown) in ids {
            let request = |id: &str| {
                let request =
                    ProbeRequest::new(operation.method, operation.path.replace("{id}", id));
                if operation.example.is_empty() {
                    request
                } else {
                    request.json(operation.example)
                }
            };
            let name = format!("{} {}{how}", operation.method, operation.path);
            places.push(Place::new(name.clone(), [&foreign, &unknown], request));
            places.push(Place::new(
                format!("{name}, as XML"),
                [&foreign, &unknown],
                |id| request(id).with("accept", "application/xml"),
            ));
            if operation.conditional {
                let conditional = |id: &str| request(id).with("if-match", "\"1\"");
                let name = format!("{name}, only at a version");
                places.push(Place::new(name, [&foreign, &unknown], conditional));
            }
            if operation.idempotent {
                let key = |id: &str| match id {
                    id if id == foreign => theirs.name.clone(),
                    _ => format!("{}-unused", mine.name),
                };
                let keyed = |id: &str| request(id).with("idempotency-key", key(id));
                let name = format!("{name}, under the other's key");
                places.push(Place::new(name, [&foreign, &unknown], keyed));
            }
        }
    }
    places
}

/// Ids in the bodies of `v3`.
fn v3_members(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let nobody = Uuid::new_v4().to_string();
    let own = format!("/v3/accounts/{}", mine.uid);
    let mut places = Vec::new();
    let mut body =
        |method: &'static str, path: &str, member: &str, ids: [&Value; 2], base: Value| {
            let name = format!("{method} {path}, {member}");
            let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            let request = |id: &Value| {
                ProbeRequest::new(method, path).json(with(&base, member, id).to_string())
            };
            let [foreign, unknown] = ids;
            places.push(Place {
                name,
                ids: [text(foreign), text(unknown)],
                requests: [request(foreign), request(unknown)],
                may_name_owner: false,
            });
        };
    let (plan, hold, no_one) = (json!(theirs.plan), json!(theirs.hold), json!(nobody));
    body("patch", &own, "planId", [&plan, &no_one], json!({}));
    body(
        "put",
        &format!("{own}/plan"),
        "planId",
        [&plan, &no_one],
        json!({}),
    );
    for lift in ["unfreeze", "unsuspend", "release"] {
        body(
            "post",
            &format!("{own}/{lift}"),
            "holdId",
            [&hold, &no_one],
            json!({}),
        );
    }
    let (reseller, no_reseller) = (json!(theirs.id), json!(NOBODY));
    for (path, base) in [
        ("/v3/accounts", json!({"company": "x"})),
        ("/v3/plans", json!({"name": "x", "displayName": "x"})),
        ("/v3/tokens", json!({})),
        (
            "/v3/webhooks",
            json!({"url": "https://isolation.invalid/x", "enabled": false}),
        ),
        (
            "/v3/bulk-jobs",
            json!({"selector": {}, "operation": {"operation": "status", "status": "active"}}),
        ),
    ] {
        body("post", path, "resellerId", [&reseller, &no_reseller], base);
    }
    let bulk = |id: &str| {
        ProbeRequest::post(
            "/v3/bulk",
            &json!({"operations": [{"operation": "status", "status": "active", "account": id}]}),
        )
    };
    places.push(Place::new(
        "post /v3/bulk by number".to_owned(),
        [&theirs.account.to_string(), &NOBODY.to_string()],
        bulk,
    ));
    places.push(Place::new(
        "post /v3/bulk by UUID".to_owned(),
        [&theirs.uid, &Uuid::new_v4().to_string()],
        bulk,
    ));
    places
}

/// Ids in the queries of `v3`.
fn v3_queries(_: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let reseller = [theirs.id.to_string(), NOBODY.to_string()];
    let webhook = [theirs.webhook.clone(), Uuid::new_v4().to_string()];
    let email = [theirs.email.clone(), "nobody@isolation.invalid".to_owned()];
    let place = |query: String, [foreign, unknown]: &[String; 2]| {
        let request = |id: &str| ProbeRequest::get(format!("{query}{id}"));
        Place::new(format!("get {query}"), [foreign, unknown], request)
    };
    let mut places = vec![place("/v3/accounts?email[eq]=".to_owned(), &email)];
    for operation in v3::OPERATIONS.iter().filter(|row| row.id == Id::None) {
        for name in operation.query_parameters() {
            let query = format!("{}?{name}=", operation.path);
            match name {
                "resellerId" => places.push(place(query, &reseller)),
                "webhookId" => places.push(place(query, &webhook)),
                "before" if operation.name == "bulk_jobs_list" => {
                    places.push(place(query, &position(&theirs.job)));
                }
                "before" => places.push(place(query, &position(&theirs.webhook))),
                _ => {}
            }
        }
    }
    places
}

/// An id, and one that does not exist and is next to it. The ids of a list are its order, so two
/// ids that are far apart begin different pages.
fn position(id: &str) -> [String; 2] {
    let neighbour =
        Uuid::parse_str(id).map_or_else(|_| Uuid::new_v4(), |id| Uuid::from_u128(id.as_u128() ^ 1));
    [id.to_owned(), neighbour.to_string()]
}

/// The id in the body of every call of `admin`, in both formats.
fn admin_places(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let ids = [theirs.account.to_string(), NOBODY.to_string()];
    let ids = [&ids[0], &ids[1]];
    let number = |id: &str| json!(id.parse::<i64>().unwrap_or_default());
    let mut places = Vec::new();
    for operation in admin_dialect::OPERATIONS
        .iter()
        .filter(|operation| operation.name != "list")
    {
        let example: Value = serde_json::from_str(operation.example).unwrap_or_default();
        let request = |id: &str| admin(operation.name, &with(&example, "id", &number(id)));
        places.push(Place::new(
            format!("admin {}", operation.name),
            ids,
            request,
        ));
        places.push(Place::new(
            format!("admin {}, as XML", operation.name),
            ids,
            |id| request(id).with("accept", "application/xml"),
        ));
        places.push(Place::new(
            format!("admin {}, in XML", operation.name),
            ids,
            |id| {
                let path = format!("{}{}", admin_dialect::PREFIX, operation.name);
                let request =
                    ProbeRequest::new("POST", path).with("content-type", "application/xml");
                request.containing(format!(
                    "<xml><id>{id}</id><status>active</status>\
                 <expiry_date>2030-01-01</expiry_date></xml>"
                ))
            },
        ));
    }
    for call in ["unfreeze", "unsuspend", "release"] {
        let nobody = Uuid::new_v4().to_string();
        let request = |id: &str| admin(call, &json!({"id": mine.account, "hold_id": id}));
        places.push(Place::new(
            format!("admin {call}, hold_id"),
            [&theirs.hold, &nobody],
            request,
        ));
    }
    let save = |id: &str| {
        admin(
            "save",
            &json!({
                "name": "x", "title": "x", "tz": "UTC", "tariff": 1, "reports_day": 1,
                "reports_hour": 1, "email": "x@isolation.invalid", "reseller_id": number(id)
            }),
        )
    };
    places.push(Place::new(
        "admin save, reseller_id".to_owned(),
        [&theirs.id.to_string(), &NOBODY.to_string()],
        save,
    ));
    places
}

/// The account of every operation of `soap`, in both versions. The messages may name the owner:
/// they differ if the account is another reseller's.
fn soap_places(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let mut places = Vec::new();
    let by_id = [theirs.account.to_string(), NOBODY.to_string()];
    let by_email = [theirs.email.clone(), "nobody@isolation.invalid".to_owned()];
    for operation in soap_dialect::OPERATIONS {
        let Some(element) = operation.account_child() else {
            continue;
        };
        for (version, version_12) in [("1.1", false), ("1.2", true)] {
            let [foreign, unknown] = match element {
                "email" => &by_email,
                _ => &by_id,
            };
            let request = |id: &str| {
                let children = format!(
                    "<{element}>{id}</{element}><expiryDate>2030-01-01</expiryDate>\
                     <status>active</status>"
                );
                soap(operation.name, version_12, &mine.token, &children)
            };
            let place = Place::new(
                format!("soap {version} {}", operation.name),
                [foreign, unknown],
                request,
            );
            places.push(Place {
                may_name_owner: true,
                ..place
            });
        }
    }
    places
}

impl Place {
    fn new(
        name: String,
        [foreign, unknown]: [&String; 2],
        request: impl Fn(&str) -> ProbeRequest,
    ) -> Self {
        Self {
            name,
            requests: [request(foreign), request(unknown)],
            ids: [foreign.clone(), unknown.clone()],
            may_name_owner: false,
        }
    }
}

/// Every list.
pub(super) fn lists() -> Vec<ProbeRequest> {
    let v3 = v3::OPERATIONS
        .iter()
        .filter(|operation| operation.method == "GET" && !operation.path.contains("{id}"));
    let mut lists: Vec<ProbeRequest> = v3
        .map(|operation| ProbeRequest::get(operation.path))
        .collect();
    lists.push(ProbeRequest::get("/v3/accounts?after=&limit=100"));
    lists.push(admin("list", &json!({"from_id": 1, "limit": 1000})));
    lists.push(admin(
        "list",
        &json!({"from_id": 1, "limit": 1000, "state": "frozen"}),
    ));
    lists
}

/// Requests for the caller's own data, which must be found. Otherwise the comparisons would prove
/// nothing.
pub(super) fn own(mine: &Tenant) -> Vec<(&'static str, ProbeRequest)> {
    vec![
        (
            "get /v3/accounts/{id} by number",
            ProbeRequest::get(format!("/v3/accounts/{}", mine.account)),
        ),
        (
            "get /v3/accounts/{id} by UUID",
            ProbeRequest::get(format!("/v3/accounts/{}", mine.uid)),
        ),
        (
            "get /v3/accounts/{id}/holds",
            ProbeRequest::get(format!("/v3/accounts/{}/holds", mine.uid)),
        ),
        (
            "get /v3/accounts/{id}/history",
            ProbeRequest::get(format!("/v3/accounts/{}/history", mine.uid)),
        ),
        (
            "get /v3/plans/{id}",
            ProbeRequest::get(format!("/v3/plans/{}", mine.plan)),
        ),
        (
            "get /v3/tokens/{id}",
            ProbeRequest::get(format!("/v3/tokens/{}", mine.credential)),
        ),
        (
            "get /v3/webhooks/{id}",
            ProbeRequest::get(format!("/v3/webhooks/{}", mine.webhook)),
        ),
        (
            "get /v3/bulk-jobs/{id}",
            ProbeRequest::get(format!("/v3/bulk-jobs/{}", mine.job)),
        ),
        (
            "get /v3/resellers/{id}",
            ProbeRequest::get(format!("/v3/resellers/{}", mine.id)),
        ),
        ("admin get", admin("get", &json!({"id": mine.account}))),
        (
            "soap GetAccountInfo",
            soap(
                "GetAccountInfo",
                true,
                &mine.token,
                &format!("<email>{}</email>", mine.email),
            ),
        ),
    ]
}
