//! The formats of `/metrics`.

use crate::harness::process::{Served, folder, request};

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[test]
fn metrics_are_in_the_format_that_accept_names() {
    let folder = folder();
    let served = Served::start(folder.path());
    let head = |accept: &str| {
        let mut stream = super::connections::connect(served.management);
        let head = format!("GET /metrics HTTP/1.0\r\n{accept}\r\n");
        std::io::Write::write_all(&mut stream, head.as_bytes()).unwrap();
        super::connections::rest(stream)
    };
    for (accept, expected) in [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/plain", PROMETHEUS),
        ("application/openmetrics-text", OPEN_METRICS),
        ("application/openmetrics-text;q=0, */*", PROMETHEUS),
        // Prometheus 2.0, 2.42 and 3.0.
        ("text/plain;version=0.0.4;q=1,*/*;q=0.1", PROMETHEUS),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            OPEN_METRICS,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.2",
            OPEN_METRICS,
        ),
        (
            "application/openmetrics-text;q=0.2, text/plain;q=0.3",
            PROMETHEUS,
        ),
    ] {
        let header = if accept.is_empty() {
            String::new()
        } else {
            format!("accept: {accept}\r\n")
        };
        let answer = head(&header);
        assert!(
            answer.contains(&format!("content-type: {expected}\r\n")),
            "{accept}: {answer}"
        );
        let is_open = expected == OPEN_METRICS;
        assert_eq!(answer.ends_with("# EOF\n"), is_open, "{accept}");
        let counter = "# TYPE steward_http_connections_refused counter\n";
        assert_eq!(answer.contains(counter), is_open, "{accept}");
        let counter = "# TYPE steward_http_connections_refused_total counter\n";
        assert_eq!(answer.contains(counter), !is_open, "{accept}");
        assert!(
            answer.contains("\nsteward_http_connections_refused_total 0\n"),
            "{accept}"
        );
        assert!(answer.contains("vary: Accept\r\n"), "{accept}: {answer}");
    }
    assert_eq!(
        request(served.management, "HEAD", "/metrics", &[], "").0,
        200
    );
}
