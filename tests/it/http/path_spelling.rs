//! Paths that are spelled otherwise than the tables of operations have them, through a real socket:
//! the answer of each row is the same.

use std::net::SocketAddr;

use serde_json::Value;
use steward::dialects::{admin, soap, v3};

use crate::harness::process::{Served, folder, request, succeed};
use crate::harness::soap::{NS12, envelope};

fn spelled(path: &str) -> Vec<String> {
    let doubled = path.replace('/', "//");
    let escaped = path.replace('a', "%61").replace('.', "%2e");
    vec![doubled.clone(), escaped, format!("{doubled}/")]
}

/// The path with the case of its letters exchanged.
fn other_case(path: &str) -> String {
    let other = |c: char| {
        if c.is_ascii_uppercase() {
            c.to_ascii_lowercase()
        } else {
            c.to_ascii_uppercase()
        }
    };
    path.chars().map(other).collect()
}

fn token(data_dir: &std::path::Path) -> String {
    succeed(data_dir, &["reseller", "create", "--name", "Acme"]);
    let made = succeed(
        data_dir,
        &["token", "create", "--reseller", "Acme", "--json"],
    );
    let made: Value = serde_json::from_str(&made).unwrap();
    made["token"].as_str().unwrap().to_owned()
}

/// Sends the same to a path and to its other spellings. Returns the answer, which must be one.
fn alike(
    to: SocketAddr,
    method: &str,
    path: &str,
    others: &[String],
    headers: &[(&str, &str)],
    body: &str,
) -> (u16, String) {
    let answer = request(to, method, path, headers, body);
    for other in others {
        let answered = request(to, method, other, headers, body);
        assert_eq!(answered, answer, "{method} {other}");
    }
    answer
}

#[test]
fn every_row_is_reached_by_every_spelling_of_its_path() {
    let folder = folder();
    let served = Served::start(folder.path());
    let (to, token) = (served.listen, token(folder.path()));
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("x-request-id", "the-same"),
    ];
    for operation in admin::OPERATIONS {
        let path = format!("{}{}", admin::PREFIX, operation.name);
        let (status, body) = alike(to, "POST", &path, &spelled(&path), &headers, "{}");
        // Only these two require no member.
        assert!(
            if operation.name == "list" {
                status == 200
            } else {
                status == 400
            },
            "{path}: {status} {body}"
        );
    }
    for operation in v3::OPERATIONS {
        let path = operation.path.replace("{id}", "7");
        let escaped = path.replace("counts", "%63ounts").replace('-', "%2D");
        let others = [format!("{path}/"), escaped.clone(), format!("{escaped}/")];
        let with_query = |path: &str| format!("{path}?zzz=1");
        let others = others.map(|other| with_query(&other));
        let (status, body) = alike(
            to,
            operation.method,
            &with_query(&path),
            &others,
            &headers,
            "",
        );
        // The operator's rows answer 403, and those that need no token 400 or 401.
        assert!(matches!(status, 400 | 401 | 403), "{path}: {status} {body}");
    }
    let soap_headers = [
        ("content-type", "application/soap+xml; charset=utf-8"),
        ("x-request-id", "the-same"),
    ];
    let mut others = spelled(soap::PATH);
    others.extend([other_case(soap::PATH), soap::PATH.to_lowercase()]);
    others.extend(spelled(&soap::PATH.to_lowercase()));
    for operation in soap::OPERATIONS {
        let body = envelope(NS12, &format!("<{} xmlns=\"Zoolz\"/>", operation.name));
        let (status, body) = alike(to, "POST", soap::PATH, &others, &soap_headers, &body);
        assert!(
            status == 200 && body.contains("<Code>InvalidAuth</Code>"),
            "{}: {status} {body}",
            operation.name
        );
    }
    let others: Vec<String> = others.iter().map(|path| format!("{path}?WSDL")).collect();
    let path = format!("{}?wsdl", soap::PATH);
    let (status, body) = alike(to, "GET", &path, &others, &[], "");
    assert!(status == 200 && body.contains("wsdl:definitions"), "{body}");
}

#[test]
fn a_path_that_only_looks_like_one_is_unknown() {
    let folder = folder();
    let served = Served::start(folder.path());
    let headers = [("content-type", "application/json")];
    for path in [
        "/api/v1.1/admin/accounts%2Fget",
        "/api/v1.1/admin/accounts/g%2565t",
        "/api/v1.1/admin/accounts/../accounts/get",
        "/v3%2Faccounts",
        "/v3//accounts",
        "/V3/accounts",
    ] {
        let (status, _) = request(served.listen, "POST", path, &headers, "{}");
        assert_eq!(status, 404, "{path}");
    }
}
