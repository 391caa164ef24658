//! Whether one reseller can see or touch anything of another, tried from outside: two resellers are made, and with the
//! first one's token every call of every dialect is asked for what is the second one's, wherever an identity can stand. The answer must be
//! that to an identity that nobody has, byte for byte; and what is the caller's own must be found, or nothing was shown.

use clap::Args;
use reqwest::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use uuid::Uuid;

use super::prober::{Answer, Ask, Prober, admin, soap, with};
use crate::cli::{CommandError, output};
use crate::dialects::{admin as admin_dialect, soap as soap_dialect, v3};

/// A number that no account, reseller or token is likely to have.
const NOBODY: i64 = 2_147_483_646;
/// How many pairs of requests are timed.
const PAIRS: u32 = 200;

#[derive(Debug, Args)]
pub(super) struct Isolation {
    /// The address of the running service.
    #[arg(long, value_name = "URL")]
    against: String,
    /// An operator's token, to make the two resellers with.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "OPERATOR_TOKEN",
        hide_env_values = true
    )]
    operator_token: SecretString,
    /// Print every comparison, not only those that failed.
    #[arg(long)]
    verbose: bool,
    /// Leave out the comparison of times.
    #[arg(long)]
    no_timing: bool,
}

/// A reseller with one of everything.
struct Tenant {
    id: i64,
    name: String,
    token: String,
    account: i64,
    uid: String,
    email: String,
    plan: String,
    credential: i64,
    webhook: String,
    job: String,
    hold: String,
}

impl Tenant {
    async fn make(prober: &Prober, operator: &str, name: String) -> Result<Self, CommandError> {
        let reseller = prober
            .made(
                operator,
                &Ask::post("/v3/resellers", &json!({ "name": name })),
            )
            .await?;
        let id = number(&reseller, "id")?;
        let issued = prober
            .made(
                operator,
                &Ask::post(
                    "/v3/tokens",
                    &json!({"resellerId": id, "name": "doctor isolation"}),
                ),
            )
            .await?;
        let token = text(&issued, "token")?;
        let email = format!("{name}@isolation.invalid");
        let account = prober
            .made(
                &token,
                &Ask::post(
                    "/v3/accounts",
                    &json!({"email": email, "company": "isolation"}),
                ),
            )
            .await?;
        let uid = text(&account, "id")?;
        let freeze = json!({"paymentUrl": "https://isolation.invalid/pay"});
        prober
            .made(
                &token,
                &Ask::post(format!("/v3/accounts/{uid}/freeze"), &freeze)
                    .with("idempotency-key", &name),
            )
            .await?;
        let holds = prober
            .made(&token, &Ask::get(format!("/v3/accounts/{uid}/holds")))
            .await?;
        let plan = prober
            .made(
                &token,
                &Ask::post(
                    "/v3/plans",
                    &json!({"name": name, "displayName": "Isolation"}),
                ),
            )
            .await?;
        let other = prober
            .made(
                &token,
                &Ask::post(
                    "/v3/tokens",
                    &json!({"name": "isolation", "scopes": ["account:read"]}),
                ),
            )
            .await?;
        let hook = json!({"url": "https://isolation.invalid/hook", "events": ["account.updated"], "enabled": false});
        let webhook = prober
            .made(&token, &Ask::post("/v3/webhooks", &hook))
            .await?;
        let job = json!({"selector": {"state": "frozen"}, "operation": {"operation": "status", "status": "active"}});
        let job = prober
            .made(&token, &Ask::post("/v3/bulk-jobs", &job))
            .await?;
        let found = prober
            .made(&token, &admin("list", &json!({"from_id": 1, "limit": 1})))
            .await?;
        let account = found
            .pointer("/data/0/id")
            .and_then(Value::as_i64)
            .ok_or_else(|| unexpected("the list of accounts", &found))?;
        Ok(Self {
            id,
            token,
            account,
            uid,
            email,
            plan: text(&plan, "id")?,
            credential: number(&other, "id")?,
            webhook: text(&webhook, "id")?,
            job: text(&job, "id")?,
            hold: text(holds.get(0).unwrap_or(&Value::Null), "id")?,
            name,
        })
    }

    /// Everything that could tell this reseller from others in somebody else's answer.
    fn marks(&self) -> [&str; 7] {
        [
            &self.name,
            &self.uid,
            &self.email,
            &self.plan,
            &self.webhook,
            &self.job,
            &self.hold,
        ]
    }

    /// All that it has, as it sees it.
    async fn everything(&self, prober: &Prober) -> Result<Vec<Answer>, CommandError> {
        let account = format!("/v3/accounts/{}", self.uid);
        let mut all = Vec::new();
        for path in [
            account.clone(),
            format!("{account}/holds"),
            format!("{account}/history"),
            format!("/v3/plans/{}", self.plan),
            format!("/v3/tokens/{}", self.credential),
            format!("/v3/webhooks/{}", self.webhook),
            format!("/v3/bulk-jobs/{}", self.job),
            format!("/v3/resellers/{}", self.id),
            "/v3/accounts".to_owned(),
        ] {
            all.push(prober.ask(Some(&self.token), &Ask::get(path)).await?);
        }
        Ok(all)
    }

    /// Gives everything up that can be given up; a reseller stays, suspended.
    async fn leave(&self, prober: &Prober, operator: &str) -> Result<(), CommandError> {
        for (method, path) in [
            (Method::DELETE, format!("/v3/webhooks/{}", self.webhook)),
            (Method::DELETE, format!("/v3/accounts/{}", self.uid)),
            (Method::POST, format!("/v3/resellers/{}/suspend", self.id)),
        ] {
            prober
                .ask(Some(operator), &Ask::new(method.as_str(), path))
                .await?;
        }
        let tokens = prober.made(&self.token, &Ask::get("/v3/tokens")).await?;
        // The one that asks goes last.
        for token in tokens
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|token| token.get("id")?.as_i64())
        {
            prober
                .ask(
                    Some(operator),
                    &Ask::new("DELETE", format!("/v3/tokens/{token}")),
                )
                .await?;
        }
        Ok(())
    }
}

/// One place where an identity can stand.
struct Place {
    name: String,
    /// The other reseller's, and one that nobody has.
    ids: [String; 2],
    asks: [Ask; 2],
    /// The original tells the two apart by its message, and the contract keeps that.
    may_say_whose: bool,
}

/// What came of it all.
#[derive(Default)]
struct Tally {
    same: usize,
    documented: usize,
    problems: Vec<String>,
}

impl Isolation {
    pub(super) async fn run(self) -> Result<(), CommandError> {
        let prober = Prober::new(&self.against)?;
        let operator = self.operator_token.expose_secret();
        let name = |which: &str| format!("doctor-isolation-{which}-{}", Uuid::new_v4().simple());
        let mine = Tenant::make(&prober, operator, name("a")).await?;
        let theirs = Tenant::make(&prober, operator, name("b")).await?;
        let outcome = self.examine(&prober, &mine, &theirs).await;
        for tenant in [&mine, &theirs] {
            tenant.leave(&prober, operator).await?;
        }
        let tally = outcome?;
        for problem in &tally.problems {
            output::line(&format!("WRONG  {problem}"));
        }
        output::line(&format!(
            "{} comparisons: {} the same byte for byte, {} different as the contract says, {} wrong",
            tally.same + tally.documented + tally.problems.len(),
            tally.same,
            tally.documented,
            tally.problems.len()
        ));
        output::note(&format!(
            "The resellers {} and {} stay, suspended and empty.",
            mine.name, theirs.name
        ));
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
        let places = [v3_places, v3_members, admin_places, soap_places]
            .map(|places| places(mine, theirs))
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        for place in &places {
            self.compare(prober, mine, place, &mut tally).await?;
        }
        for ask in lists() {
            let answer = prober.ask(Some(&mine.token), &ask).await?;
            let seen: Vec<&str> = theirs
                .marks()
                .into_iter()
                .filter(|mark| answer.body.contains(mark))
                .collect();
            self.tell(
                &mut tally,
                answer.status == 200 && seen.is_empty(),
                &format!("{} {}: nothing of the other's", ask.method, ask.path),
                || format!("{} {seen:?}", answer.status),
            );
        }
        let after = theirs.everything(prober).await?;
        self.tell(&mut tally, before == after, "the other's account, holds, history, plan, token, webhook, job and reseller are untouched", || {
            let changed = before.iter().zip(&after).find(|(before, after)| before != after);
            changed.map_or_else(String::new, |(before, after)| format!("{} is now {}", before.body, after.body))
        });
        for (name, ask) in own(mine) {
            let answer = prober.ask(Some(&mine.token), &ask).await?;
            self.tell(
                &mut tally,
                answer.status == 200,
                &format!("{name}: one's own is found"),
                || format!("{} {}", answer.status, answer.body),
            );
        }
        if !self.no_timing {
            for place in places
                .iter()
                .filter(|place| TIMED.iter().any(|timed| place.name == *timed))
            {
                let [foreign, unknown] = &place.asks;
                let differences = prober.race(&mine.token, foreign, unknown, PAIRS).await?;
                let (is_noise, says) = judge(&differences);
                self.tell(
                    &mut tally,
                    is_noise,
                    &format!("{}: takes as long", place.name),
                    || says.clone(),
                );
            }
        }
        Ok(tally)
    }

    async fn compare(
        &self,
        prober: &Prober,
        mine: &Tenant,
        place: &Place,
        tally: &mut Tally,
    ) -> Result<(), CommandError> {
        let ([foreign_id, unknown_id], [foreign, unknown]) = (&place.ids, &place.asks);
        let mut foreign = prober.ask(Some(&mine.token), foreign).await?;
        let mut unknown = prober.ask(Some(&mine.token), unknown).await?;
        if foreign != unknown {
            // An answer may repeat what it was asked for.
            (foreign, unknown) = (foreign.without(foreign_id), unknown.without(unknown_id));
        }
        let code = |answer: &Answer| answer.body.split("</Code>").next().map(str::to_owned);
        if foreign != unknown
            && place.may_say_whose
            && foreign.status == unknown.status
            && code(&foreign) == code(&unknown)
        {
            tally.documented += 1;
            return Ok(());
        }
        self.tell(tally, foreign == unknown, &place.name, || {
            format!(
                "the other's: {} {}; nobody's: {} {}",
                foreign.status, foreign.body, unknown.status, unknown.body
            )
        });
        Ok(())
    }

    fn tell(&self, tally: &mut Tally, is_fine: bool, what: &str, otherwise: impl Fn() -> String) {
        if is_fine {
            tally.same += 1;
            if self.verbose {
                output::line(&format!("fine   {what}"));
            }
        } else {
            tally.problems.push(format!("{what}: {}", otherwise()));
        }
    }
}

/// Whose answers are timed: one of each kind of look-up.
const TIMED: [&str; 5] = [
    "get /v3/accounts/{id} by number",
    "get /v3/accounts/{id} by UUID",
    "get /v3/plans/{id}",
    "admin get",
    "admin freeze",
];

/// Whether what lies between pairs is noise. A sign test: were there no difference, the first would be slower in half of the
/// pairs, and in more than half and four deviations once in 15,000 times. A difference that small that nobody could tell it
/// through a network is none.
fn judge(sorted: &[i64]) -> (bool, String) {
    let pairs = i64::try_from(sorted.len()).unwrap_or_default();
    let slower = i64::try_from(sorted.iter().filter(|difference| **difference > 0).count())
        .unwrap_or_default();
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    // Four deviations of a fair coin's count are 2 times the root of the number of throws.
    let is_one_sided = (2 * slower - pairs).pow(2) > 16 * pairs;
    (
        !is_one_sided || median.abs() < 100,
        format!("the other's takes {median} us longer, in {slower} of {pairs} pairs"),
    )
}

/// Every operation of `v3` whose path names something.
fn v3_places(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let nobody = || Uuid::new_v4().to_string();
    let mut places = Vec::new();
    for operation in v3::OPERATIONS
        .iter()
        .filter(|operation| operation.path.contains("{id}"))
    {
        let kinds: Vec<(&str, String, String)> =
            match operation.path.split('/').nth(2).unwrap_or_default() {
                "accounts" => {
                    vec![
                        (" by number", theirs.account.to_string(), NOBODY.to_string()),
                        (" by UUID", theirs.uid.clone(), nobody()),
                    ]
                }
                "plans" => vec![("", theirs.plan.clone(), nobody())],
                "tokens" => vec![("", theirs.credential.to_string(), NOBODY.to_string())],
                "bulk-jobs" => vec![("", theirs.job.clone(), nobody())],
                "resellers" => vec![("", theirs.id.to_string(), NOBODY.to_string())],
                // Webhooks; and their logs, which are empty here.
                _ => vec![("", theirs.webhook.clone(), nobody())],
            };
        for (how, foreign, unknown) in kinds {
            let ask = |id: &str| {
                let ask = Ask::new(operation.method, operation.path.replace("{id}", id));
                if operation.example.is_empty() {
                    ask
                } else {
                    ask.json(operation.example)
                }
            };
            let name = format!("{} {}{how}", operation.method, operation.path);
            places.push(Place::new(name.clone(), [&foreign, &unknown], ask));
            places.push(Place::new(
                format!("{name}, as XML"),
                [&foreign, &unknown],
                |id| ask(id).with("accept", "application/xml"),
            ));
            if operation.idempotent {
                places.push(Place::new(
                    format!("{name}, only at a version"),
                    [&foreign, &unknown],
                    |id| ask(id).with("if-match", "\"1\""),
                ));
                places.push(Place::new(
                    format!("{name}, under the other's key"),
                    [&foreign, &unknown],
                    |id| {
                        ask(id).with(
                            "idempotency-key",
                            if id == foreign {
                                theirs.name.clone()
                            } else {
                                mine.name.clone() + "-unused"
                            },
                        )
                    },
                ));
            }
        }
    }
    places
}

/// Identities in bodies and queries of `v3`.
fn v3_members(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let nobody = Uuid::new_v4().to_string();
    let own = format!("/v3/accounts/{}", mine.uid);
    let mut places = Vec::new();
    let mut body =
        |method: &'static str, path: &str, member: &str, ids: [&Value; 2], base: Value| {
            let name = format!("{method} {path}, {member}");
            let text = |id: &Value| id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            let ask = |id: &Value| Ask::new(method, path).json(with(&base, member, id).to_string());
            let [foreign, unknown] = ids;
            places.push(Place {
                name,
                ids: [text(foreign), text(unknown)],
                asks: [ask(foreign), ask(unknown)],
                may_say_whose: false,
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
    for (query, ids) in [
        (
            "/v3/webhook-event-logs?webhookId=",
            [theirs.webhook.clone(), nobody.clone()],
        ),
        (
            "/v3/webhook-event-logs?before=",
            [theirs.webhook.clone(), nobody],
        ),
        (
            "/v3/webhook-event-logs?resellerId=",
            [theirs.id.to_string(), NOBODY.to_string()],
        ),
        (
            "/v3/webhooks?resellerId=",
            [theirs.id.to_string(), NOBODY.to_string()],
        ),
        (
            "/v3/events?resellerId=",
            [theirs.id.to_string(), NOBODY.to_string()],
        ),
        (
            "/v3/accounts?email[eq]=",
            [theirs.email.clone(), "nobody@isolation.invalid".to_owned()],
        ),
        (
            "/v3/accounts?id[eq]=",
            [theirs.account.to_string(), NOBODY.to_string()],
        ),
    ] {
        places.push(Place::new(
            format!("get {query}"),
            [&ids[0], &ids[1]],
            |id| Ask::get(format!("{query}{id}")),
        ));
    }
    let bulk = |id: &str| {
        Ask::post(
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

/// Every call of `admin`, in both formats.
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
        let ask = |id: &str| admin(operation.name, &with(&example, "id", &number(id)));
        places.push(Place::new(format!("admin {}", operation.name), ids, ask));
        places.push(Place::new(
            format!("admin {}, as XML", operation.name),
            ids,
            |id| ask(id).with("accept", "application/xml"),
        ));
        places.push(Place::new(format!("admin {}, in XML", operation.name), ids, |id| {
            let ask = Ask::new("POST", format!("{}{}", admin_dialect::PREFIX, operation.name)).with("content-type", "application/xml");
            ask.containing(format!("<xml><id>{id}</id><status>active</status><expiry_date>2030-01-01</expiry_date></xml>"))
        }));
    }
    for call in ["unfreeze", "unsuspend", "release"] {
        let nobody = Uuid::new_v4().to_string();
        let ask = |id: &str| admin(call, &json!({"id": mine.account, "hold_id": id}));
        places.push(Place::new(
            format!("admin {call}, hold_id"),
            [&theirs.hold, &nobody],
            ask,
        ));
    }
    let save = |id: &str| {
        admin(
            "save",
            &json!({"name": "x", "title": "x", "tz": "UTC", "tariff": 1, "reports_day": 1, "reports_hour": 1, "email": "x@isolation.invalid", "reseller_id": number(id)}),
        )
    };
    places.push(Place::new(
        "admin save, reseller_id".to_owned(),
        [&theirs.id.to_string(), &NOBODY.to_string()],
        save,
    ));
    places
}

/// Every operation of `soap`, in both versions. Its texts may say that an account belongs to somebody else.
fn soap_places(mine: &Tenant, theirs: &Tenant) -> Vec<Place> {
    let mut places = Vec::new();
    let by_id = [theirs.account.to_string(), NOBODY.to_string()];
    let by_email = [theirs.email.clone(), "nobody@isolation.invalid".to_owned()];
    for operation in soap_dialect::OPERATIONS
        .iter()
        .filter(|operation| operation.name != "CreateAccount")
    {
        for (version, version_12) in [("1.1", false), ("1.2", true)] {
            let is_by_id = operation.name.ends_with("UsingAccountID");
            let [foreign, unknown] = if is_by_id { &by_id } else { &by_email };
            let element = if is_by_id { "accountID" } else { "email" };
            let ask = |id: &str| {
                let children = format!(
                    "<{element}>{id}</{element}><expiryDate>2030-01-01</expiryDate><status>active</status>"
                );
                soap(operation.name, version_12, &mine.token, &children)
            };
            let place = Place::new(
                format!("soap {version} {}", operation.name),
                [foreign, unknown],
                ask,
            );
            places.push(Place {
                may_say_whose: true,
                ..place
            });
        }
    }
    places
}

impl Place {
    fn new(name: String, [foreign, unknown]: [&String; 2], ask: impl Fn(&str) -> Ask) -> Self {
        Self {
            name,
            asks: [ask(foreign), ask(unknown)],
            ids: [foreign.clone(), unknown.clone()],
            may_say_whose: false,
        }
    }
}

/// Everything that lists.
fn lists() -> Vec<Ask> {
    let v3 = v3::OPERATIONS
        .iter()
        .filter(|operation| operation.method == "get" && !operation.path.contains("{id}"));
    let mut lists: Vec<Ask> = v3.map(|operation| Ask::get(operation.path)).collect();
    lists.push(Ask::get("/v3/accounts?after=&limit=100"));
    lists.push(admin("list", &json!({"from_id": 1, "limit": 1000})));
    lists.push(admin(
        "list",
        &json!({"from_id": 1, "limit": 1000, "state": "frozen"}),
    ));
    lists
}

/// What is the caller's own, asked as the other's is.
fn own(mine: &Tenant) -> Vec<(&'static str, Ask)> {
    vec![
        (
            "get /v3/accounts/{id} by number",
            Ask::get(format!("/v3/accounts/{}", mine.account)),
        ),
        (
            "get /v3/accounts/{id} by UUID",
            Ask::get(format!("/v3/accounts/{}", mine.uid)),
        ),
        (
            "get /v3/accounts/{id}/holds",
            Ask::get(format!("/v3/accounts/{}/holds", mine.uid)),
        ),
        (
            "get /v3/accounts/{id}/history",
            Ask::get(format!("/v3/accounts/{}/history", mine.uid)),
        ),
        (
            "get /v3/plans/{id}",
            Ask::get(format!("/v3/plans/{}", mine.plan)),
        ),
        (
            "get /v3/tokens/{id}",
            Ask::get(format!("/v3/tokens/{}", mine.credential)),
        ),
        (
            "get /v3/webhooks/{id}",
            Ask::get(format!("/v3/webhooks/{}", mine.webhook)),
        ),
        (
            "get /v3/bulk-jobs/{id}",
            Ask::get(format!("/v3/bulk-jobs/{}", mine.job)),
        ),
        (
            "get /v3/resellers/{id}",
            Ask::get(format!("/v3/resellers/{}", mine.id)),
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

fn text(document: &Value, member: &str) -> Result<String, CommandError> {
    document
        .get(member)
        .and_then(Value::as_str)
        .map(str::to_owned)
        .ok_or_else(|| unexpected(member, document))
}

fn number(document: &Value, member: &str) -> Result<i64, CommandError> {
    document
        .get(member)
        .and_then(Value::as_i64)
        .ok_or_else(|| unexpected(member, document))
}

fn unexpected(what: &str, document: &Value) -> CommandError {
    CommandError::Other(format!("{what} is not in the answer {document}"))
}
