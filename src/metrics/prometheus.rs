//! The metrics in the text format of Prometheus, version 0.0.4, for scrapers that do not ask for
//! OpenMetrics.
//!
//! The formats differ in the names: OpenMetrics declares a counter without the `_total` of its
//! samples, Prometheus with it. Prometheus also has no units and no type for `_info`.

/// Rewrites an OpenMetrics text without exemplars and timestamps.
pub(super) fn prometheus(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    // The help comes before the type, which decides the name in both.
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = described.split_once(' ');
        } else if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').unwrap_or((declared, ""));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().filter(|(described, _)| *described == name) {
                text.extend(["# HELP ", name, suffix, " ", help, "\n"]);
            }
            text.extend(["# TYPE ", name, suffix, " ", kind, "\n"]);
        } else if !line.starts_with('#') {
            text += line;
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_types_are_those_of_prometheus() {
        let open_metrics = "# HELP a_requests Requests.\n# TYPE a_requests counter\n\
            a_requests_total{b=\"# TYPE\"} 1\n# HELP a_build Version.\n# TYPE a_build info\n\
            a_build_info{version=\"1\"} 1\n# HELP a_wait_seconds Wait.\n\
            # TYPE a_wait_seconds histogram\n# UNIT a_wait_seconds seconds\n\
            a_wait_seconds_sum 0.5\na_wait_seconds_count 1\n\
            a_wait_seconds_bucket{le=\"+Inf\"} 1\n# HELP a_open Open.\n# TYPE a_open gauge\n\
            a_open 3\n# EOF\n";
        let expected = "# HELP a_requests_total Requests.\n# TYPE a_requests_total counter\n\
            a_requests_total{b=\"# TYPE\"} 1\n# HELP a_build_info Version.\n\
            # TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n\
            # HELP a_wait_seconds Wait.\n# TYPE a_wait_seconds histogram\na_wait_seconds_sum 0.5\n\
            a_wait_seconds_count 1\na_wait_seconds_bucket{le=\"+Inf\"} 1\n# HELP a_open Open.\n\
            # TYPE a_open gauge\na_open 3\n";
        assert_eq!(prometheus(open_metrics), expected);
    }
}
