//! Which documents are XML, as two other parsers judge.

use serde::Deserialize;
use serde_json::json;

use crate::harness::App;
use crate::harness::soap::{NS12, Soap};

/// A document and the verdict of two independent parsers, expat and libxml2. The documents are some
/// written by hand and some made by random edits. Those on which the two disagree are left out.
#[derive(Deserialize)]
struct Judged {
    document: String,
    well_formed: bool,
}

fn judged() -> Vec<Judged> {
    include_str!("golden/xml_documents.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn documents_that_are_not_well_formed_are_refused_and_no_others() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    // What this API does not accept although it is XML.
    let limits = [
        "the root element must be xml",
        "text where elements are expected",
        "must be an object, not the text",
        "entities other than",
        "processing instructions",
        "namespaces are not used here",
        "unknown character set",
    ];
    let (mut counts, mut wrong) = ([0, 0], Vec::new());
    for Judged {
        document,
        well_formed,
    } in judged()
    {
        let answer = client.raw("get", "text/xml", document.clone()).await;
        let refused = answer.status.as_u16() != 401;
        if well_formed {
            let is_limit = limits.iter().any(|limit| answer.body.contains(limit));
            if refused && !is_limit {
                wrong.push((document, answer.body));
            }
        } else if !refused {
            wrong.push((document, answer.body));
        }
        counts[usize::from(well_formed)] += 1;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(counts[0] > 400 && counts[1] > 80, "{counts:?}");
}

#[tokio::test]
async fn each_dialect_refuses_documents_that_are_not_well_formed() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let soap = Soap::of(&client);
    let v3 = crate::harness::v3::V3::of(&client);
    let path = format!("/v3/accounts/{id}");
    for (what, broken) in [
        ("a repeated attribute", "<note a='1' a='2'/>"),
        ("a name that begins with a digit", "<1a/>"),
        ("a second declaration", "<?xml version='1.0'?>"),
        ("a control character", "<note>\u{1}</note>"),
        (
            "a character that no document may have",
            "<note>\u{ffff}</note>",
        ),
        ("the end of a CDATA section", "<note>]]></note>"),
        ("two hyphens in a comment", "<!-- a -- b -->"),
        ("an unknown prefix", "<q:note/>"),
        ("an ampersand", "<note>a & b</note>"),
        ("a reference to a control character", "<note>&#1;</note>"),
    ] {
        let body = format!("<xml><title>new</title>{broken}</xml>");
        let xml = [("content-type", "application/xml")];
        let answer = v3.send("PATCH", &path, &xml, &body).await;
        assert_eq!(answer.status, 400, "v3, {what}: {}", answer.body);
        let body = format!("<id>{id}</id><title>new</title>{broken}");
        let answer = client.call_xml("save", &body).await;
        assert_eq!(answer.status, 400, "admin, {what}: {}", answer.body);
        let body = format!(
            "<e:Envelope xmlns:e='{NS12}'><e:Body><SuspendAccountUsingAccountID xmlns='Zoolz'><authToken>{}</authToken><accountID>{id}</accountID>{broken}</SuspendAccountUsingAccountID></e:Body></e:Envelope>",
            soap.token
        );
        let answer = soap.raw(body).await;
        assert!(
            matches!(answer.status.as_u16(), 400 | 500) && answer.body.contains("soap:Sender"),
            "soap, {what}: {}",
            answer.body
        );
    }
    assert_eq!(client.history(id).await.len(), 1, "nothing was done");
    assert_eq!(client.get(id).await["version"], json!(1));
}
