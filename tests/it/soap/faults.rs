//! Requests that break the protocol: each is answered with a fault, and nothing runs.

use super::two_resellers;
use crate::harness::App;
use crate::harness::soap::{NS11, NS12, envelope, post};

#[tokio::test]
async fn protocol_errors_are_faults_and_change_nothing() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    let good = format!(
        "<SuspendAccountUsingAccountID xmlns=\"Zoolz\"><authToken>{}</authToken><accountID>{id}</accountID></SuspendAccountUsingAccountID>",
        soap.token
    );
    let change = |child: &str, to: &str| {
        good.replace(
            &format!("<{child}>{id}</{child}>"),
            &format!("<{child}>{to}</{child}>"),
        )
    };
    let sender = "<soap:Value>soap:Sender</soap:Value>";
    let deep = format!("{}{}", "<a>".repeat(9_000), "</a>".repeat(9_000));
    let attributes =
        envelope(NS12, &good).replace("<q:Body>", &format!("<q:Body {}>", "a='' ".repeat(5_000)));
    for (body, status, expected) in [
        (
            "not xml".to_owned(),
            400,
            "Server was unable to read request.<",
        ),
        (String::new(), 400, "Server was unable to read request.<"),
        (
            envelope(NS12, &good).replace("</q:Envelope>", ""),
            400,
            "Server was unable to read request.<",
        ),
        (
            envelope(NS12, &good).replace("version=\"1.0\"", "version=\u{201d}1.0\u{2033}"),
            400,
            "typographic quotes",
        ),
        (
            "<x/>".to_owned(),
            500,
            "---&gt; the document is no SOAP envelope",
        ),
        (format!("<e:Envelope xmlns:e='{NS12}'/>"), 500, "one Body"),
        (
            envelope(NS12, &change("accountID", "x")),
            500,
            "accountID must be an int",
        ),
        (
            envelope(NS12, &change("accountID", "")),
            500,
            "accountID must be an int",
        ),
        (
            envelope(NS12, &change("accountID", "2147483648")),
            500,
            "accountID must be an int",
        ),
        (
            envelope(
                NS12,
                "<ChangeAccountExpiryDate xmlns='Zoolz'><expiryDate>soon</expiryDate></ChangeAccountExpiryDate>",
            ),
            500,
            "expiryDate must be a dateTime",
        ),
        (
            envelope(
                NS12,
                "<CreateAccount xmlns='Zoolz'><sendEmail>maybe</sendEmail></CreateAccount>",
            ),
            500,
            "sendEmail must be a boolean",
        ),
        (
            format!(
                "<!DOCTYPE e [<!ENTITY a \"b\">]>{}",
                envelope(NS12, &good).split_once('\n').unwrap().1
            ),
            500,
            "a document type is not accepted",
        ),
        (
            envelope(NS12, ""),
            500,
            "Unable to handle request without a valid action parameter. Please supply a valid soap action.",
        ),
        (
            envelope(NS12, "<Explode xmlns='Zoolz'/>"),
            500,
            "Unable to handle request. The action &apos;Explode&apos; was not recognized.",
        ),
        (
            envelope(NS12, &good.replace("Zoolz", "Other")),
            500,
            "was not recognized",
        ),
        (
            envelope(NS12, &format!("{good}{good}")),
            500,
            "more than one element",
        ),
        (envelope(NS12, &deep), 500, "nested too deep"),
        (attributes, 500, "too many attributes"),
    ] {
        let answer = soap.raw(body).await;
        assert_eq!(
            (
                answer.status.as_u16(),
                answer.body.contains(expected),
                answer.body.contains(sender)
            ),
            (status, true, true),
            "{expected}: {}",
            answer.body
        );
        assert_eq!(
            answer.header("content-type"),
            "application/soap+xml; charset=utf-8"
        );
    }
    let other = soap.raw(envelope("urn:other", &good)).await;
    assert!(
        other.status.as_u16() == 500
            && other.body.contains("soap:VersionMismatch")
            && other.body.contains(&format!(
                "Envelope namespace urn:other was unexpected. Expecting {NS12}."
            ))
    );
    let header = |attribute: &str| {
        envelope(NS12, &good).replace(
            "<q:Body>",
            &format!("<q:Header><s:Security xmlns:s='urn:s' {attribute}/></q:Header><q:Body>"),
        )
    };
    let refused = soap.raw(header("q:mustUnderstand='1'")).await;
    assert!(
        refused.status.as_u16() == 500 && refused.body.contains("soap:MustUnderstand"),
        "{}",
        refused.body
    );
    let contradicting =
        "application/soap+xml; charset=utf-8; action=\"Zoolz/DeleteAccountUsingAccountID\"";
    let refused = post(
        &app.router,
        &[("content-type", contradicting)],
        envelope(NS12, &good),
    )
    .await;
    assert!(
        refused.status.as_u16() == 500
            && refused.body.contains("the action names DeleteAccountUsingAccountID, the Body SuspendAccountUsingAccountID")
    );
    let accepted = "send text/xml (SOAP 1.1) or application/soap+xml (SOAP 1.2)";
    for (content_type, expected) in [
        ("application/json", accepted),
        ("application/xml", "the Content-Type is application/xml;"),
        (
            "application/soap+xml; charset=utf-7",
            "unknown character set utf-7; send UTF-8",
        ),
        (
            "text/xml; charset=klingon",
            "unknown character set klingon; send UTF-8",
        ),
    ] {
        let refused = post(
            &app.router,
            &[("content-type", content_type)],
            envelope(NS12, &good),
        )
        .await;
        assert_eq!(refused.status, 415, "{content_type}");
        let why = refused.header("steward-problem");
        assert!(why.contains(expected), "{why}");
        assert_eq!(refused.body, "");
    }
    assert_eq!(soap.raw("x".repeat(65_537)).await.status.as_u16(), 413);
    assert_eq!(client.get(id).await["version"], 1, "nothing was run");

    // Unusual but valid requests are read: optional header blocks, any prefix, any order, unknown
    // elements.
    assert_eq!(
        soap.raw(header("q:mustUnderstand='0'"))
            .await
            .status
            .as_u16(),
        200
    );
    let odd = format!(
        "<z:SuspendAccountUsingAccountID xmlns:z='Zoolz'><z:accountID> {id} </z:accountID><y>1</y><z:authToken>{}</z:authToken></z:SuspendAccountUsingAccountID>",
        soap.token
    );
    assert!(
        soap.raw(envelope(NS12, &odd))
            .await
            .body
            .contains("<Code>Success</Code>")
    );
}

#[tokio::test]
async fn soap_1_1_uses_its_action_header_and_its_own_faults() {
    let app = App::new().await;
    let (client, soap, id) = two_resellers(&app).await;
    let good = format!(
        "<SuspendAccountUsingAccountID xmlns=\"Zoolz\"><authToken>{}</authToken><accountID>{id}</accountID></SuspendAccountUsingAccountID>",
        soap.token
    );
    let call = |action: &'static str, body: String| {
        let router = app.router.clone();
        async move {
            post(
                &router,
                &[
                    ("content-type", "text/xml; charset=utf-8"),
                    ("soapaction", action),
                ],
                body,
            )
            .await
        }
    };
    let unknown = call("\"Zoolz/Explode\"", envelope(NS11, &good)).await;
    let expected = "<soap:Fault><faultcode>soap:Client</faultcode><faultstring>Server did not recognize the value of HTTP Header SOAPAction: Zoolz/Explode.</faultstring><detail /></soap:Fault>";
    assert!(
        unknown.status.as_u16() == 500 && unknown.body.contains(expected),
        "{}",
        unknown.body
    );
    let differs = call("\"Zoolz/DeleteAccount\"", envelope(NS11, &good)).await;
    assert!(differs.status.as_u16() == 500 && differs.body.contains("soap:Client"));
    let mismatch = call("", envelope(NS12, &good)).await;
    assert!(mismatch.body.contains("soap:VersionMismatch") && mismatch.body.contains(NS11));
    assert_eq!(client.get(id).await["version"], 1);
    for action in ["\"Zoolz/SuspendAccountUsingAccountID\"", "\"\"", ""] {
        let answer = call(action, envelope(NS11, &good)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (200, "text/xml; charset=utf-8"),
            "{}",
            answer.body
        );
        assert!(
            answer.body.contains("<Code>Success</Code>")
                && answer.body.contains(&format!("xmlns:soap=\"{NS11}\""))
        );
    }
}

#[tokio::test]
async fn answers_explain_what_the_fixed_texts_leave_out() {
    let app = App::new().await;
    let (_client, soap, id) = two_resellers(&app).await;
    let token = &soap.token;
    let call = async |body: &str| soap.raw(envelope(NS12, body)).await;
    let explained = |text: &str| {
        format!("<soap:Detail><explanation xmlns=\"Zoolz\">{text}</explanation></soap:Detail>")
    };
    for (body, expected) in [
        (
            "<SuspendAccount><authToken>x</authToken></SuspendAccount>",
            "the element SuspendAccount is in no namespace; write xmlns=\"Zoolz\" on it",
        ),
        (
            "<SuspendAccount xmlns='urn:x'/>",
            "the element SuspendAccount is in the namespace urn:x; write xmlns=\"Zoolz\" on it",
        ),
        (
            "<SupendAccount xmlns='Zoolz'/>",
            "did you mean SuspendAccount?",
        ),
    ] {
        let answer = call(body).await;
        assert_eq!(answer.status, 500, "{}", answer.body);
        let expected = explained(&expected.replace('"', "&quot;"));
        assert!(
            answer.body.contains(&expected),
            "{expected}: {}",
            answer.body
        );
    }
    let without_prefix = post(
        &app.router,
        &[
            ("content-type", "text/xml"),
            ("soapaction", "SuspendAccount"),
        ],
        envelope(NS11, "<SuspendAccount xmlns='Zoolz'/>"),
    )
    .await;
    let expected = "<detail><explanation xmlns=\"Zoolz\">the action must be Zoolz/SuspendAccount<";
    assert!(
        without_prefix.body.contains(expected),
        "{}",
        without_prefix.body
    );

    let good = envelope(NS12, "<GetPlansInfo xmlns='Zoolz'/>");
    for (body, expected) in [
        (
            good.replace("</q:Body>", "</q:Bodi>"),
            ["not well-formed XML: ", " at 2:"],
        ),
        (
            good.replace("<GetPlansInfo xmlns='Zoolz'/>", "<a>&</a>"),
            ["not well-formed XML: ", " at 2:"],
        ),
        (
            good.replace("</q:Envelope>", ""),
            ["not well-formed XML: ", "never closed"],
        ),
        (String::new(), ["the body is empty", ""]),
    ] {
        let answer = soap.raw(body).await;
        assert_eq!(answer.status, 400, "{}", answer.body);
        for text in expected {
            assert!(answer.body.contains(text), "{text}: {}", answer.body);
        }
        assert!(
            answer.body.contains("<explanation xmlns="),
            "{}",
            answer.body
        );
    }

    let date = "<ChangeAccountExpiryDateUsingAccountID xmlns='Zoolz'>";
    let end = "</ChangeAccountExpiryDateUsingAccountID>";
    let id = format!("<accountID>{id}</accountID>");
    let late = "<expiryDate>12000-01-01T00:00:00Z</expiryDate>";
    for (body, expected) in [
        (
            format!("{date}<authToken>{token}</authToken>{id}{late}{end}"),
            "expiryDate: must be in the years 1970 to 9999",
        ),
        (
            format!("{date}{id}{end}"),
            "authToken is missing, empty or not in the namespace Zoolz",
        ),
        (
            format!("{date}<authToken xmlns=''>{token}</authToken>{id}{end}"),
            "authToken is missing, empty or not in the namespace Zoolz",
        ),
        (format!("{date}<authToken>unknown</authToken>{id}{end}"), ""),
    ] {
        let answer = call(&body).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("steward-problem"), expected, "{body}");
    }
    let body = format!(
        "<SuspendAccountUsingAccountID xmlns='Zoolz'><authToken>{token}</authToken>{id}<reason>1</reason>\
         <y xmlns=''>2</y></SuspendAccountUsingAccountID>"
    );
    let answer = call(&body).await;
    assert!(answer.body.contains("Success"), "{}", answer.body);
    assert_eq!(answer.header("ignored-members"), "reason, y");
}
