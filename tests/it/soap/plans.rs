//! The operations on plans.

use serde_json::{Value, json};

use super::two_resellers;
use crate::harness::App;
use crate::harness::soap::{NS12, Soap, envelope, post};
use crate::harness::v3::V3;

fn document(text: &str) -> Value {
    let text = text
        .trim_start_matches("<JSON>")
        .trim_end_matches("</JSON>")
        .replace("&quot;", "\"");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_plan_is_created_read_and_assigned() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    let members = "<planName>Home 50</planName><instantStorageGB>50</instantStorageGB><coldStorageGB>0</coldStorageGB><users>5</users><servers>0</servers><type>0</type><frequency>2</frequency>";
    let (code, message, created) = soap.call("CreatePlan", members).await;
    assert_eq!(
        (code.as_str(), message.as_str()),
        ("Success", "The Plan has been created successfully")
    );
    let expected = json!({
        "ID": 1, "PlanID": 1, "Name": "Home 50", "PlanName": "Home 50", "Capacity": 50,
        "HotCapacity": 50, "ColdCapacity": 0, "UsedSpace": 0, "Users": 5, "Servers": 0,
        "Type": "Home", "PlanType": "Home", "SubFreq": "Monthly", "PlanFrequency": "Monthly",
        "Cost": "", "TrialPeriod": 0, "CreateDate": "2026-03-01T12:00:00Z",
    });
    assert_eq!(document(&created), expected);
    let (code, message, json) = soap.call("GetPlanInfo", "<planID>1</planID>").await;
    assert_eq!(
        (code.as_str(), document(&json)),
        ("Success", expected.clone())
    );
    assert_eq!(document(&message), expected, "it is the message too");
    let members = "<planName>Pro</planName><type>1</type>";
    assert_eq!(soap.call("CreatePlan", members).await.0, "Success");
    let (_, _, all) = soap.call("GetPlansInfo", "").await;
    let all = document(&all);
    assert_eq!(all[0], expected);
    assert_eq!(
        (
            &all[1]["ID"],
            &all[1]["Type"],
            &all[1]["SubFreq"],
            &all[1]["Users"]
        ),
        (&json!(2), &json!("Business"), &json!(""), &json!(0))
    );
    let plans = V3::of(&client).get("/v3/plans").await.json();
    assert_eq!(
        (
            &plans[0]["interval"],
            &plans[0]["allowedUsers"],
            &plans[1]["tier"]
        ),
        (&json!("month"), &json!(5), &json!(1))
    );
    let done = "The account has been upgraded successfully";
    for (operation, who, after, plan) in [
        (
            "UpgradeAccount",
            "<email>jo@example.com</email>".to_owned(),
            "",
            1,
        ),
        (
            "UpgradeAccountUsingAccountID",
            format!("<accountID>{id}</accountID>"),
            "<Joson />",
            2,
        ),
    ] {
        let children = format!("{who}<planID>{plan}</planID>");
        for _ in 0..2 {
            let expected = ("Success".to_owned(), done.to_owned(), after.to_owned());
            assert_eq!(soap.call(operation, &children).await, expected);
            assert_eq!(client.get(id).await["tariff_id"], plan);
        }
    }
    assert_eq!(
        client.get(id).await["version"],
        3,
        "a repeat changes nothing"
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_plan_is_a_plan_error() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    V3::of(&app.new_reseller("Third").await)
        .call("POST", "/v3/plans", &json!({"name": "theirs", "number": 7}))
        .await;
    let who = format!("<accountID>{id}</accountID>");
    let named = |more: &str| format!("<planName>p</planName>{more}");
    for (operation, children, code, message) in [
        (
            "GetPlanInfo",
            "<planID>7</planID>".to_owned(),
            "PlanError",
            "Plan Error, Plan does not exist",
        ),
        (
            "GetPlanInfo",
            String::new(),
            "PlanError",
            "Plan Error, Plan does not exist",
        ),
        (
            "UpgradeAccountUsingAccountID",
            format!("{who}<planID>7</planID>"),
            "PlanError",
            "The specified plan id does not exist",
        ),
        // Plan 0 is no plan, and no upgrade.
        (
            "UpgradeAccount",
            "<email>jo@example.com</email><planID>0</planID>".to_owned(),
            "PlanError",
            "The specified plan id does not exist",
        ),
        (
            "UpgradeAccountUsingAccountID",
            "<accountID>2</accountID><planID>7</planID>".to_owned(),
            "InvalidAccount",
            "Invalid Email, Email does not belong to you",
        ),
        (
            "CreatePlan",
            String::new(),
            "MissingParameters",
            "Missing Main Parameters (planName)",
        ),
        (
            "CreatePlan",
            named("<type>2</type>"),
            "PlanError",
            "Plan Error, type must be 0 (Home) or 1 (Business), not 2",
        ),
        (
            "CreatePlan",
            named("<frequency>4</frequency>"),
            "PlanError",
            "Plan Error, frequency must be 0 (Trial), 1 (Free), 2 (Monthly) or 3 (Yearly), not 4",
        ),
        (
            "CreatePlan",
            named("<coldStorageGB>-1</coldStorageGB>"),
            "PlanError",
            "Plan Error, coldStorageGB must be 0 or more, not -1",
        ),
    ] {
        let (seen, text, _) = soap.call(operation, &children).await;
        assert_eq!(
            (seen.as_str(), text.as_str()),
            (code, message),
            "{operation} {children}"
        );
    }
    assert_eq!(client.get(id).await["version"], 1);
    assert_eq!(soap.call("GetPlansInfo", "").await.1, "[]");
}

#[tokio::test]
async fn an_operator_upgrades_to_the_plan_of_the_accounts_reseller() {
    let app = App::new().await;
    let (client, other) = (
        app.new_reseller("Acme").await,
        app.new_reseller("Other").await,
    );
    let id = other.account("theirs").await;
    for (reseller, name) in [(&client, "ours"), (&other, "theirs")] {
        let plan = json!({"name": name, "number": 5});
        let made = V3::of(reseller).call("POST", "/v3/plans", &plan).await;
        assert_eq!(made.status, 201);
    }
    let soap = Soap::of(&app.operator().await);
    let children = format!("<accountID>{id}</accountID><planID>5</planID>");
    let (code, ..) = soap.call("UpgradeAccountUsingAccountID", &children).await;
    assert_eq!(code, "Success");
    let account = V3::of(&other).get(&format!("/v3/accounts/{id}")).await;
    assert_eq!(account.json()["plan"]["name"], "theirs");
}

#[tokio::test]
async fn a_plan_is_created_once_under_a_key() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let body = envelope(
        NS12,
        &format!(
            "<CreatePlan xmlns=\"Zoolz\"><authToken>{}</authToken><planName>p</planName></CreatePlan>",
            client.token
        ),
    );
    let headers = [
        ("content-type", "application/soap+xml"),
        ("idempotency-key", "k"),
    ];
    let first = post(&app.router, &headers, body.clone()).await;
    let second = post(&app.router, &headers, body).await;
    assert!(
        first.body.contains("<JSON>{") && first.body == second.body,
        "{}",
        first.body
    );
    assert_eq!(second.header("idempotent-replayed"), "true");
    let plans = V3::of(&client).get("/v3/plans").await.json();
    assert_eq!(plans.as_array().unwrap().len(), 1);
}
