//! The configuration: which source has priority, and the errors for mistakes.

use std::fs;
use std::process::Output;

use crate::harness::process::{folder, steward};

fn config(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let folder = folder();
    let mut command = steward(folder.path());
    command
        .arg("config")
        .args(arguments)
        // What the harness sets would override the file.
        .env_remove("STEWARD_DATABASE__DATA_DIR")
        .env_remove("STEWARD_LOG__FORMAT")
        .envs(environment.iter().copied());
    command.output().unwrap()
}

fn shown(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let output = config(arguments, environment);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(environment: &[(&str, &str)], expected: &str) {
    let output = config(&["check"], environment);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains(expected),
        "{stderr:?} does not contain {expected:?}"
    );
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let folder = folder();
    let file = folder.path().join("steward.toml");
    fs::write(
        &file,
        "[server]\nlisten = \"127.0.0.1:7000\"\nmanagement_listen = \"127.0.0.1:7001\"\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();
    for (arguments, environment) in [
        (vec!["show", "--config", path], vec![]),
        (vec!["show"], vec![("STEWARD_CONFIG", path)]),
    ] {
        let mut environment = environment;
        environment.push(("STEWARD_SERVER__LISTEN", "127.0.0.1:6000"));
        let text = shown(&arguments, &environment);
        assert!(
            text.contains("listen = \"127.0.0.1:6000\"  # environment"),
            "{text}"
        );
        assert!(
            text.contains("management_listen = \"127.0.0.1:7001\"  # ")
                && text.contains("steward.toml"),
            "{text}"
        );
        assert!(text.contains("batch = 256  # default"), "{text}");
    }
}

#[test]
fn secrets_are_masked() {
    for name in ["DATABASE_URL", "STEWARD_DATABASE__URL"] {
        let text = shown(&["show"], &[(name, "postgres://u:hunter2@h/d")]);
        assert!(
            text.contains("url = \"********\"  # environment") && !text.contains("hunter2"),
            "{text}"
        );
    }
    let text = shown(&["show"], &[("DATABASE_URL", "")]);
    assert!(
        !text.contains("\nurl ="),
        "an empty variable does not count: {text}"
    );
}

#[test]
fn no_output_shows_a_secret_of_the_configuration() {
    let secrets = [
        (
            "DATABASE_URL",
            "postgres://u:canary-1@127.0.0.1:1/d?passwrod=canary-2",
        ),
        (
            "STEWARD_TRACES__ENDPOINT",
            "http://canary-3:canary-4@127.0.0.1:1",
        ),
        (
            "STEWARD_JWT__JWKS_URL",
            "http://canary-5@127.0.0.1:1/a?key=canary-6#canary-7",
        ),
        ("STEWARD_JWT__SECRET", "canary-8-canary-8-canary-8-canary-8"),
        ("STEWARD_JWT__ISSUER", "i"),
        ("STEWARD_JWT__AUDIENCE", "a"),
        (
            "STEWARD_SERVER__PUBLIC_URL",
            "http://canary-9@steward.example",
        ),
        (
            "STEWARD_SERVER__CORS_ORIGINS",
            "[\"http://canary-0@panel.example\"]",
        ),
        ("STEWARD_LOG__LEVEL", "trace"),
    ];
    let folder = folder();
    let with = |arguments: &[&str], more: &[(&str, &str)]| {
        let mut command = steward(folder.path());
        command
            .args(arguments)
            .envs(secrets)
            .envs(more.iter().copied());
        let output = command.output().unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    };
    let shown = with(&["config", "show"], &[]);
    assert!(
        shown.contains("endpoint = \"http://********@127.0.0.1:1\"")
            && shown.contains("jwks_url = \"http://********@127.0.0.1:1/a?key=********\"")
            && shown.contains("cors_origins = [\"http://********@panel.example\"]"),
        "{shown}"
    );
    let file = folder.path().join("broken.toml");
    fs::write(
        &file,
        "[jwt]\nsecret = \"canary-in-a-broken-line\nissuer = 1\n",
    )
    .unwrap();
    let broken = ("STEWARD_CONFIG", file.to_str().unwrap());
    let doctor = with(&["doctor"], &[]);
    assert!(doctor.contains("ignoring an unknown parameter"), "{doctor}");
    for (what, output) in [
        ("show", shown),
        ("doctor", doctor),
        ("serve", with(&["serve", "--listen", "127.0.0.1:0"], &[])),
        ("a broken file", with(&["config", "check"], &[broken])),
        (
            "a number",
            with(
                &["config", "check"],
                &[("STEWARD_JWT__SECRET", "[\"canary-list\"]")],
            ),
        ),
        (
            "a URL that is a list",
            with(
                &["config", "check"],
                &[("STEWARD_TRACES__ENDPOINT", "[\"canary-list\"]")],
            ),
        ),
        (
            "a query",
            with(
                &["config", "check"],
                &[("STEWARD_TRACES__ENDPOINT", "http://h?k=canary-q")],
            ),
        ),
        (
            "no URL",
            with(
                &["doctor"],
                &[("DATABASE_URL", "postgres://u:canary-p@h:port/d")],
            ),
        ),
        (
            "an origin with a path",
            with(
                &["config", "check"],
                &[(
                    "STEWARD_SERVER__CORS_ORIGINS",
                    "[\"http://canary-o@panel.example/x\"]",
                )],
            ),
        ),
    ] {
        assert!(!output.is_empty(), "{what}");
        let found = output.lines().find(|line| line.contains("canary"));
        assert_eq!(found, None, "{what}");
    }
}

#[test]
fn every_configuration_mistake_is_named() {
    refused(
        &[("STEWARD_SERVER__LISTEM", "x")],
        "unknown key server.listem (from environment variable STEWARD_SERVER__LISTEM); did you mean server.listen?",
    );
    refused(
        &[("STEWARD_SERVR__LISTEN", "x")],
        "unknown key servr (from environment variable STEWARD_SERVR__LISTEN); did you mean server?",
    );
    refused(&[("STEWARD_SERVER__LISTEN", "nowhere")], "server.listen");
    refused(
        &[("STEWARD_COMMIT__BATCH", "0")],
        "commit.batch: must be at least 1",
    );
    refused(
        &[("STEWARD_LOG__LEVEL", "warn,sqlx=debug,inof")],
        "log.level: inof is no level; the levels are off, error,",
    );
    refused(
        &[("STEWARD_SHARES__HEAVY", "4")],
        "shares.heavy_per_reseller: must be at most shares.heavy",
    );
    refused(
        &[("STEWARD_SHARES__STREAMS_PER_TOKEN", "0")],
        "shares.streams_per_token: must be at least 1",
    );
    refused(
        &[("STEWARD_V3__MAX_BODY_BYTES", "2000000")],
        "shares.body_bytes_per_caller: must be at least 32000000, the largest body",
    );
    refused(&[("STEWARD_COMMIT__BATCH", "many")], "commit.batch");
    refused(
        &[("STEWARD_ENVIRONMENT", "production")],
        "database.url: is required in production",
    );
    refused(
        &[("STEWARD_SERVER__PUBLIC_URL", "example.com")],
        "server.public_url",
    );
    refused(
        &[("STEWARD_CONFIG", "/nowhere.toml")],
        "/nowhere.toml: there is no such file",
    );
    assert!(
        config(
            &["check"],
            &[
                ("STEWARD_ENVIRONMENT", "production"),
                ("DATABASE_URL", "postgres://h/d")
            ]
        )
        .status
        .success()
    );
}

#[test]
fn a_mistake_in_the_file_names_the_file() {
    let folder = folder();
    let file = folder.path().join("steward.toml");
    fs::write(&file, "[admin]\nalways200 = true\n").unwrap();
    let output = config(&["check", "--config", file.to_str().unwrap()], &[]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains("unknown key admin.always200 (from ")
            && stderr.contains("steward.toml")
            && stderr.contains("did you mean admin.always_200?"),
        "{stderr}"
    );
}

#[test]
fn a_demo_is_refused_in_production() {
    let folder = folder();
    let url = "postgres://nobody@192.0.2.1/production";
    let output = steward(folder.path())
        .arg("demo")
        .env("STEWARD_ENVIRONMENT", "production")
        .env("DATABASE_URL", url)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("a demo is not for production"), "{stderr}");
}

/// The lines of `config show` without their comments.
fn values(shown: &str) -> Vec<&str> {
    shown
        .lines()
        .map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value))
        .collect()
}

#[test]
fn what_config_show_prints_is_a_configuration_with_the_same_values() {
    let folder = folder();
    let odd = folder.path().join("odd.toml");
    fs::write(
        &odd,
        r#"
        environment = "production"
        [database]
        url = "postgres://u:hunter2@h/d"
        data_dir = "/srv/a \"quoted\" # folder\\with\tall"
        [server]
        public_url = "https://accounts.example.com"
        cors_origins = ["https://a.example", "https://b.example"]
        trusted_proxies = ["10.0.0.0/8"]
        [jwt]
        issuer = "https://login.example.com/\u007F\u0001"
        audience = "steward"
        secret = "canary-canary-canary-canary-canary"
        [webhooks]
        timeout_seconds = 0.5
        retry_seconds = [0.001, 604800]
        [traces]
        endpoint = "https://user:hunter2@collector.example/x"
        "#,
    )
    .unwrap();
    let odd = odd.to_str().unwrap();
    let environment = [
        ("STEWARD_LOG__LEVEL", "info,sqlx=warn"),
        ("STEWARD_SERVER__LISTEN", "[::1]:7000"),
    ];
    for (arguments, environment, masked) in [
        (vec![], &[][..], ""),
        (vec![], &environment[..], ""),
        (
            vec!["--config", odd],
            &environment[..],
            "masks, so they were not checked: database.url, jwt.secret, traces.endpoint.",
        ),
    ] {
        let first = shown(&[&["show"][..], &arguments].concat(), environment);
        assert!(
            !first.contains("hunter2") && !first.contains("canary"),
            "{first}"
        );
        let copy = folder.path().join("copy.toml");
        fs::write(&copy, &first).unwrap();
        let copy = copy.to_str().unwrap();
        let second = shown(&["show", "--config", copy], &[]);
        assert_eq!(values(&second), values(&first));
        let checked = config(&["check", "--config", copy], &[]);
        let notes = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(
            checked.status.success() && notes.contains(masked),
            "{notes}"
        );
        // Nothing runs with a mask in place of a secret.
        if !masked.is_empty() {
            let output = steward(folder.path())
                .args(["migrate", "--config", copy])
                .output()
                .unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.code() == Some(1)
                    && stderr.contains("configuration: 3 mistakes")
                    && stderr
                        .contains("jwt.secret: is the mask ******** that `steward config show`")
                    && stderr.contains("or set STEWARD_JWT__SECRET"),
                "{stderr}"
            );
        }
    }
}

#[test]
fn all_mistakes_are_named_at_once() {
    let folder = folder();
    let file = folder.path().join("steward.toml");
    fs::write(
        &file,
        "listen = \"127.0.0.1:1\"\n[server]\nlisten = \"nowhere\"\ntrusted_proxies = [\"10.0.0.0/8\", \"x\"]\n\
         [admin]\nalways200 = true\n[log]\nformat = \"yaml\"\n[jwt]\nissuer = \"i\"\n[commit]\nbatch = 0\n",
    )
    .unwrap();
    let output = config(
        &["check", "--config", file.to_str().unwrap()],
        &[
            ("STEWARD_COMMIT__QUEUE", "many"),
            ("DATABASE_URL", "mysql://root:hunter2@h/d"),
            ("STEWARD_TRACES__SAMPLE", "2"),
        ],
    );
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    let path = file.to_str().unwrap();
    for expected in [
        "configuration: 10 mistakes\n".to_owned(),
        format!("  unknown key listen (from {path}); did you mean server.listen?\n"),
        format!("  unknown key admin.always200 (from {path}); did you mean admin.always_200?\n"),
        format!(
            "  server.listen: must be an IP address and a port such as \"127.0.0.1:8080\" or \
             \"[::]:8080\", not \"nowhere\" (from {path})\n"
        ),
        format!(
            "  server.trusted_proxies: must be a list of networks such as [\"10.0.0.0/8\"], not \
             [\"10.0.0.0/8\", \"x\"] (from {path})\n"
        ),
        format!("  log.format: must be auto or pretty or json, not \"yaml\" (from {path})\n"),
        "  commit.queue: must be a whole number that is not negative, not \"many\" (from \
         environment variable STEWARD_COMMIT__QUEUE)\n"
            .to_owned(),
        format!("  commit.batch: must be at least 1, not 0 (from {path})\n"),
        "  jwt.issuer: needs a key that verifies the tokens; set jwt.secret,".to_owned(),
        "  database.url: mysql:// is not PostgreSQL; write postgres://USER:".to_owned(),
        "  traces.sample: must be between 0 and 1, not 2 (from environment variable \
         STEWARD_TRACES__SAMPLE)\n"
            .to_owned(),
    ] {
        assert!(
            stderr.contains(&expected),
            "{expected:?} is not in {stderr}"
        );
    }
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

#[test]
fn variables_that_kubernetes_sets_beside_a_service_are_warned_of_once() {
    let kubernetes = [
        ("STEWARD_SERVICE_HOST", "10.0.0.1"),
        ("STEWARD_SERVICE_PORT", "8080"),
        ("STEWARD_PORT", "tcp://10.0.0.1:8080"),
        ("STEWARD_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("STEWARD_PORT_8080_TCP_PROTO", "tcp"),
        ("STEWARD_PORT_8080_TCP_PORT", "8080"),
        ("STEWARD_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("STEWARD_DATABASE_PORT", "tcp://10.0.0.2:5432"),
        ("STEWARD_SERVER_SERVICE_HOST", "10.0.0.2"),
        ("STEWARD_SERVICE_PORT_HTTP", "8080"),
        // Like no key, although it has the prefix of all.
        ("STEWARD_HOME", "/home/steward"),
        // One underscore too few: the warning names the key.
        ("STEWARD_SERVER_LISTEN", "127.0.0.1:1"),
    ];
    let output = config(&["check"], &kubernetes);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr.matches("warning:").count(), 1, "{stderr}");
    for (name, _) in kubernetes {
        assert!(stderr.contains(name), "{name} is not in {stderr}");
    }
    assert!(
        stderr.contains("STEWARD_SERVER_LISTEN (did you mean STEWARD_SERVER__LISTEN?)"),
        "{stderr}"
    );
    assert_eq!(stderr.matches("did you mean").count(), 1, "{stderr}");
    // The variables of `steward demo --print-env` and the file are known.
    let own = [
        ("STEWARD_URL", "http://127.0.0.1:8080"),
        ("STEWARD_CONFIG", ""),
    ];
    assert!(config(&["check"], &own).stderr.is_empty());
    assert!(
        !config(&["check"], &[("STEWARD_ENVIRONMENT", "development")])
            .stderr
            .starts_with(b"warning")
    );
}

#[test]
fn an_address_in_use_is_named_with_the_key_and_the_flag_that_change_it() {
    let folder = folder();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other, key) in [
        (
            "--listen",
            "--management-listen",
            "set server.listen (STEWARD_SERVER__LISTEN, --listen)",
        ),
        (
            "--management-listen",
            "--listen",
            "set server.management_listen (STEWARD_SERVER__MANAGEMENT_LISTEN, --management-listen)",
        ),
    ] {
        let output = steward(folder.path())
            .args(["serve", flag, &address, other, "127.0.0.1:0"])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        let expected =
            format!("error: cannot listen on {address}: another program listens there; {key}");
        assert!(stderr.contains(&expected), "{stderr}");
    }
}

#[test]
fn a_value_of_the_environment_is_repeated_as_it_was_written() {
    for (variable, value) in [
        ("STEWARD_SERVER__LISTEN", "8081"),
        ("STEWARD_SERVER__LISTEN", "08.50"),
        ("STEWARD_SERVER__MANAGEMENT_LISTEN", "true"),
        ("STEWARD_SERVER__LISTEN", "[8081]"),
        ("STEWARD_SERVER__REQUEST_TIMEOUT_SECONDS", "-5"),
        ("STEWARD_SERVER__REQUEST_TIMEOUT_SECONDS", "1e3"),
        ("STEWARD_WEBHOOKS__ALLOW_HTTP", "yes"),
        ("STEWARD_WEBHOOKS__ALLOW_HTTP", "1"),
        ("STEWARD_WEBHOOKS__ALLOWED_NETWORKS", "10.1"),
        ("STEWARD_WEBHOOKS__RETRY_SECONDS", "007"),
        ("STEWARD_SERVER__PUBLIC_URL", "0x10"),
        ("STEWARD_ENVIRONMENT", "1"),
    ] {
        let output = config(&["check"], &[(variable, value)]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{variable}={value}");
        let repeated = format!("\"{value}\"");
        assert!(
            stderr.contains(&repeated) && stderr.contains(variable),
            "{variable}={value}: {stderr}"
        );
    }
    let text = shown(&["show"], &[("STEWARD_DATABASE__MAX_CONNECTIONS", "17")]);
    assert!(
        text.contains("max_connections = 17  # environment"),
        "{text}"
    );
}

#[test]
fn a_mistake_in_a_list_names_its_source_and_a_file_needs_no_flag() {
    let variable = "STEWARD_SERVER__CORS_ORIGINS";
    let output = config(&["check"], &[(variable, "[\"https://x.example/y\"]")]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for word in ["server.cors_origins", "x.example", variable] {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
    let folder = folder();
    let file = folder.path().join("steward.toml");
    fs::write(&file, "[log]\nlevel = \"verbose\"\n").unwrap();
    let path = file.to_str().unwrap();
    for arguments in [&["check", path][..], &["check", "--config", path]] {
        let output = config(arguments, &[]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            stderr.contains("verbose") && stderr.contains(path),
            "{stderr}"
        );
    }
    let text = shown(&["show"], &[("HOME", "/home/jo"), ("XDG_DATA_HOME", "")]);
    assert!(text.contains("data_dir = \""), "{text}");
}
