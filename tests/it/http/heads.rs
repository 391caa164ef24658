//! What the head of a request may say: headers that contradict each other, the host, the spelling
//! of paths, `Accept`, and `HEAD`.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::json;

use crate::harness::App;
use crate::harness::app::{Answer, send};
use crate::harness::process::{Served, folder};
use crate::harness::soap::{NS11, NS12, envelope, post};
use crate::harness::v3::V3;

/// Sends a request with these headers to each dialect, and answers the three answers.
async fn in_each_dialect(client: &crate::harness::Client, headers: &[(&str, &str)]) -> Vec<Answer> {
    let soap = steward::dialects::soap::PATH;
    let info = format!(
        "<GetAccountInfoUsingAccountID xmlns=\"Zoolz\"><authToken>{}</authToken><accountID>1</accountID></GetAccountInfoUsingAccountID>",
        client.token
    );
    let mut answers = Vec::new();
    for (method, path, body) in [
        (
            "POST",
            "/api/v1.1/admin/accounts/get",
            json!({"id": 1}).to_string(),
        ),
        ("POST", soap, envelope(NS11, &info)),
        ("GET", "/v3/accounts/1", String::new()),
    ] {
        let mut request = Request::builder().method(method).uri(path);
        let is_given = |name: &str| headers.iter().any(|(given, _)| *given == name);
        if !is_given("authorization") {
            request = request.header("authorization", format!("Bearer {}", client.token));
        }
        if !is_given("content-type") {
            let content_type = if path == soap {
                "text/xml"
            } else {
                "application/json"
            };
            request = request.header("content-type", content_type);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answers.push(send(&client.router, request.body(body.into()).unwrap()).await);
    }
    answers
}

#[tokio::test]
async fn a_header_with_two_different_values_is_refused_in_every_dialect() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    client.account("a").await;
    let own = format!("Bearer {}", client.token);
    for (name, written, values) in [
        ("authorization", "Authorization", [own.as_str(), "Bearer x"]),
        ("authorization", "Authorization", ["Bearer x", own.as_str()]),
        (
            "content-type",
            "Content-Type",
            ["application/json", "text/xml"],
        ),
        (
            "soapaction",
            "SOAPAction",
            ["Zoolz/GetAccountInfoUsingAccountID", "Zoolz/DeleteAccount"],
        ),
        ("idempotency-key", "Idempotency-Key", ["a", "b"]),
        ("x-request-id", "X-Request-Id", ["a", "b"]),
        ("host", "Host", ["one.example", "other.example"]),
    ] {
        let headers = values.map(|value| (name, value));
        for answer in in_each_dialect(&client, &headers).await {
            assert_eq!(answer.status, 400, "{name}: {}", answer.body);
            let expected = format!("{written}: appears twice");
            assert!(answer.body.contains(&expected), "{name}: {}", answer.body);
        }
    }
    // The same value twice contradicts nothing.
    let twice = [
        ("authorization", own.as_str()),
        ("authorization", own.as_str()),
    ];
    for answer in in_each_dialect(&client, &twice).await {
        assert_eq!(answer.status, 200, "{}", answer.body);
    }
    for (query, status) in [("token=a&token=b", 400), ("token=a&token=a", 401)] {
        let path = format!("/api/v1.1/admin/accounts/get?{query}");
        let request = Request::post(path).header("content-type", "application/json");
        let request = request.body(json!({"id": 1}).to_string().into()).unwrap();
        let answer = send(&client.router, request).await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn paths_may_have_doubled_slashes_needless_escapes_and_a_slash_at_the_end() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    for path in [
        "/api/v1.1//admin/accounts/get",
        "//api/v1.1/admin//accounts/get/",
        "/api/v1%2E1/%61dmin/accounts/g%65t",
    ] {
        let body = json!({"id": id, "token": client.token}).to_string();
        let request = Request::post(path).header("content-type", "application/json");
        let answer = send(&client.router, request.body(body.into()).unwrap()).await;
        assert_eq!(answer.ok()["data"]["id"], id, "{path}");
    }
    for path in [
        "/services//Reseller/Service.asmx",
        "//SERVICES/reseller/service.ASMX/",
        "/Services/Reseller/Servic%65.asmx",
    ] {
        let request = Request::get(format!("{path}?wsdl"));
        let answer = send(&client.router, request.body(Body::empty()).unwrap()).await;
        assert!(answer.body.contains("wsdl:definitions"), "{path}");
    }
    let one = v3.get("/v3/accounts/?limit=0").await;
    assert_eq!(one.status, 400, "the query is kept: {}", one.body);
    assert_eq!(
        v3.get(&format!("/v3/accounts/{id}/")).await.ok()["email"],
        "a@example.com"
    );
    assert_eq!(
        v3.get("/v3/accounts/").await.ok()[0]["email"],
        "a@example.com"
    );
    // Escapes of reserved characters stay, and unknown paths are unknown however they are spelled.
    for path in [
        "/api/v1.1/admin/accounts%2Fget",
        "/api/v1.1//admin/accounts/nothing",
        "/v3//accounts",
        "/v3/nothing/",
    ] {
        let request = Request::post(path).body(Body::empty()).unwrap();
        assert_eq!(send(&client.router, request).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_as_get_is() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    for path in [
        "/Services/Reseller/Service.asmx?wsdl".to_owned(),
        "/Services/Reseller/Service.asmx".to_owned(),
        "/Services/Reseller/Service.asmx?op=SuspendAccount".to_owned(),
        format!("/v3/accounts/{id}"),
        "/v3/accounts".to_owned(),
        "/openapi.json".to_owned(),
    ] {
        let get = v3.get(&path).await;
        let head = v3.send("HEAD", &path, &[], "").await;
        assert_eq!(
            (get.status, head.status),
            (StatusCode::OK, StatusCode::OK),
            "{path}"
        );
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        assert_eq!(head.header("etag"), get.header("etag"), "{path}");
    }
}

#[tokio::test]
async fn accept_with_quality_0_is_no_wish() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let v3 = V3::of(&client);
    for (accept, expected) in [
        ("application/xml", "application/xml"),
        ("application/xml;q=0", "application/json"),
        ("application/xml;q=0.0, */*", "application/json"),
        (
            "application/json;q=0.4, application/xml;q=0.5",
            "application/xml",
        ),
        (
            "application/json, application/xml;q=0.9",
            "application/json",
        ),
    ] {
        let headers = [("accept", accept)];
        let answer = v3
            .send("GET", &format!("/v3/accounts/{id}"), &headers, "")
            .await;
        let content_type = format!("{expected}; charset=utf-8");
        assert_eq!(answer.header("content-type"), content_type, "v3: {accept}");
        let request = Request::post("/api/v1.1/admin/accounts/get")
            .header("content-type", "application/json")
            .header("accept", accept);
        let body = json!({"id": id, "token": client.token}).to_string();
        let answer = send(&client.router, request.body(body.into()).unwrap()).await;
        assert_eq!(
            answer.header("content-type"),
            content_type,
            "admin: {accept}"
        );
    }
    // Several headers are one list.
    let headers = [("accept", "text/html"), ("accept", "application/xml")];
    let answer = v3
        .send("GET", &format!("/v3/accounts/{id}"), &headers, "")
        .await;
    assert_eq!(
        answer.header("content-type"),
        "application/xml; charset=utf-8"
    );
}

#[tokio::test]
async fn soap_header_blocks_for_others_are_ignored_and_1_2_names_what_it_does_not_understand() {
    let app = App::new().await;
    let client = app.new_reseller("Acme").await;
    let id = client.account("a").await;
    let call = format!(
        "<GetAccountInfoUsingAccountID xmlns=\"Zoolz\"><authToken>{}</authToken><accountID>{id}</accountID></GetAccountInfoUsingAccountID>",
        client.token
    );
    let send = |namespace: &'static str, content_type: &'static str, block: &str| {
        let header = format!("<q:Header>{block}</q:Header><q:Body>");
        let body = envelope(namespace, &call).replace("<q:Body>", &header);
        let router = client.router.clone();
        async move { post(&router, &[("content-type", content_type)], body).await }
    };
    let (v12, v11) = ("application/soap+xml", "text/xml");
    let security = "<w:Security xmlns:w='urn:wss' q:mustUnderstand='1'";
    let others = [
        (NS12, v12, format!("{security} q:role='urn:a:proxy'/>")),
        (NS12, v12, format!("{security} q:role='{NS12}/role/none'/>")),
        (NS11, v11, format!("{security} q:actor='urn:a:proxy'/>")),
    ];
    for (namespace, content_type, block) in others {
        let answer = send(namespace, content_type, &block).await;
        assert_eq!(answer.status, 200, "{block}: {}", answer.body);
    }
    let next = "http://schemas.xmlsoap.org/soap/actor/next";
    let ours = [
        (NS12, v12, format!("{security}/>")),
        (NS12, v12, format!("{security} q:role='{NS12}/role/next'/>")),
        (NS11, v11, format!("{security} q:actor='{next}'/>")),
    ];
    for (namespace, content_type, block) in ours {
        let answer = send(namespace, content_type, &block).await;
        assert_eq!(answer.status, 500, "{block}");
        assert!(
            answer.body.contains("soap:MustUnderstand<"),
            "{}",
            answer.body
        );
        let named = "<soap:Header><soap:NotUnderstood qname=\"h:Security\" xmlns:h=\"urn:wss\" /></soap:Header>";
        assert_eq!(
            answer.body.contains(named),
            namespace == NS12,
            "{}",
            answer.body
        );
    }
    let bad = "<w:Security xmlns:w='urn:wss' q:mustUnderstand='yes'/>";
    let answer = send(NS12, v12, bad).await;
    assert!(
        answer.status == 500 && answer.body.contains("mustUnderstand must be"),
        "{}",
        answer.body
    );
}

#[test]
fn http_1_1_without_a_host_is_refused() {
    use std::io::{Read as _, Write as _};
    let folder = folder();
    let served = Served::start(folder.path());
    let ask = |head: &str| {
        let mut stream = std::net::TcpStream::connect(served.listen).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    for path in [
        "/v3/accounts",
        "/openapi.json",
        "/Services/Reseller/Service.asmx?wsdl",
    ] {
        let answer = ask(&format!("GET {path} HTTP/1.1\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(answer.contains("Host: is required"), "{path}: {answer}");
    }
    let answer = ask("GET /openapi.json HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let head = ask(
        "HEAD /Services/Reseller/Service.asmx?wsdl HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    let (head, body) = head.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200") && body.is_empty(),
        "{head}"
    );
}

#[test]
fn a_request_with_two_lengths_ends_its_connection() {
    use std::io::{Read as _, Write as _};
    let folder = folder();
    let served = Served::start(folder.path());
    for lengths in [
        "content-length: 4\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 4",
    ] {
        let mut stream = std::net::TcpStream::connect(served.listen).unwrap();
        // By one length, a second request follows the first.
        let both = format!(
            "POST /v3/accounts HTTP/1.1\r\nhost: x\r\n{lengths}\r\n\r\n0\r\n\r\n\
             GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n"
        );
        stream.write_all(both.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            1,
            "{lengths}: {answer}"
        );
    }
}
