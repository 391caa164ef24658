//! E-mail addresses and names in Unicode: which are the same, and which are refused.

use serde_json::json;

use crate::harness::App;
use crate::harness::soap::Soap;
use crate::harness::v3::{V3, refused};

#[tokio::test]
async fn an_address_is_one_address_in_all_its_spellings() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, soap) = (V3::of(&client), Soap::of(&client));
    let body = json!({"email": "Jose\u{301}@example.com"});
    let made = v3.call("POST", "/v3/accounts", &body).await.json();
    assert_eq!(made["email"], "Jos\u{e9}@example.com", "kept in NFC");
    for same in [
        "jose\u{301}@example.com",
        "JOS\u{c9}@EXAMPLE.COM",
        "\u{ff4a}os\u{e9}@example.com",
    ] {
        let again = v3
            .call("POST", "/v3/accounts", &json!({"email": same}))
            .await;
        refused(&again, 409, "CONFLICT", "email_in_use");
        let (code, _, _) = soap
            .call("SuspendAccount", &format!("<email>{same}</email>"))
            .await;
        assert_eq!(code, "Success", "{same}");
        let filter: String = url::form_urlencoded::byte_serialize(same.as_bytes()).collect();
        let found = v3.get(&format!("/v3/accounts?email={filter}")).await.ok();
        assert_eq!(found[0]["id"], made["id"], "{same}");
    }
    let other = json!({"email": "jose@example.com"});
    let other = v3.call("POST", "/v3/accounts", &other).await;
    assert_eq!(
        other.status.as_u16(),
        201,
        "another letter is another address"
    );
}

#[tokio::test]
async fn case_folding_and_the_names_of_domains_make_no_second_address() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let (v3, soap) = (V3::of(&client), Soap::of(&client));
    for spellings in [
        [
            "x\u{391}\u{3a3}@x.gr",
            "x\u{3b1}\u{3c3}@x.gr",
            "x\u{3b1}\u{3c2}@X.gr",
        ],
        ["stra\u{df}e@x.de", "STRASSE@x.de", "Stra\u{1e9e}e@x.de"],
        [
            "jo@b\u{fc}cher.example",
            "jo@xn--bcher-kva.example",
            "JO@BU\u{308}CHER.EXAMPLE",
        ],
    ] {
        let made = v3
            .call("POST", "/v3/accounts", &json!({"email": spellings[0]}))
            .await
            .json();
        assert_eq!(made["email"], spellings[0], "kept as it was written");
        for same in spellings {
            let again = v3
                .call("POST", "/v3/accounts", &json!({"email": same}))
                .await;
            refused(&again, 409, "CONFLICT", "email_in_use");
            let (code, info, _) = soap
                .call("GetAccountInfo", &format!("<email>{same}</email>"))
                .await;
            assert_eq!(code, "Success", "{same}: {info}");
            let filter: String = url::form_urlencoded::byte_serialize(same.as_bytes()).collect();
            let found = v3.get(&format!("/v3/accounts?email={filter}")).await.ok();
            assert_eq!(found[0]["id"], made["id"], "{same}");
        }
    }
    for other in ["jo@stra\u{df}e.example", "jo@strasse.example"] {
        let made = v3
            .call("POST", "/v3/accounts", &json!({"email": other}))
            .await;
        assert_eq!(
            made.status, 201,
            "another domain is another address: {other}"
        );
    }
}

#[tokio::test]
async fn names_and_addresses_with_invisible_characters_are_refused_by_name() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let v3 = V3::of(&client);
    let operator = V3::of(&app.operator().await);
    let id = client.account("jo").await;
    for (character, code) in [
        ('\u{200b}', "U+200B"),
        ('\u{202e}', "U+202E"),
        ('\u{feff}', "U+FEFF"),
        ('\u{ad}', "U+00AD"),
        ('\u{ffff}', "U+FFFF"),
        ('\u{7}', "U+0007"),
    ] {
        let name = format!("ad{character}min");
        let account = json!({"email": format!("{name}@example.com")});
        let answer = v3.call("POST", "/v3/accounts", &account).await;
        refused(&answer, 400, "INVALID_REQUEST", "email");
        assert!(answer.body.contains(code), "{}", answer.body);
        for (caller, path, body) in [
            (&v3, "/v3/accounts", json!({"company": name})),
            (
                &v3,
                "/v3/tokens",
                json!({"name": name, "scopes": ["account:read"]}),
            ),
            (&v3, "/v3/plans", json!({"name": name, "number": 9})),
            (&operator, "/v3/resellers", json!({"name": name})),
        ] {
            let answer = caller.call("POST", path, &body).await;
            refused(&answer, 400, "INVALID_REQUEST", "");
            assert!(answer.body.contains(code), "{path}: {}", answer.body);
        }
        let hold = json!({"reasonCode": name});
        let answer = v3
            .call("POST", &format!("/v3/accounts/{id}/suspend"), &hold)
            .await;
        refused(&answer, 400, "INVALID_REQUEST", "reasonCode");
        let saved = client.call("save", json!({"id": id, "title": name})).await;
        saved.is_error(400, "Incorrect request: title");
    }
    // A joiner belongs to some scripts, and to emoji.
    for name in ["\u{645}\u{6cc}\u{200c}\u{62e}", "\u{2764}\u{fe0f} Hosting"] {
        let answer = v3
            .call("POST", "/v3/accounts", &json!({"company": name}))
            .await;
        assert_eq!(answer.json()["company"], name);
    }
}
