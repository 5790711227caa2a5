//! Schemathesis reads the description of the API and looks for an answer that is not as it says, with all its
//! checks, against the real daemon over real data.
//!
//! The same cases each time: the seed is fixed, and so is their number. `WAYBILL_SCHEMATHESIS=200` takes that many
//! for each operation instead.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::sms_app::{port, tables};
use crate::support::sms_provider::SmsProvider;
use crate::support::submitter::Submitter;
use crate::support::tools;

const MAIL: &str = "From: Anna Berg <anna@example.com>\r\nTo: kim@example.org\r\nSubject: Invoice INV-12345\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
    <p>Dear Kim</p>\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=INV.pdf\r\n\r\n\
    %PDF\r\n--b--\r\n";

/// Mails sent and held, an SMS, a thread with a note, a user, a token, a suppression, a job.
fn fill(daemon: &Daemon, api: &Api) {
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    for number in 0..3 {
        let mail = match number {
            0 => MAIL.to_owned(),
            _ => format!("X-Waybill-Hold: manual\r\n{MAIL}"),
        };
        let answer = submitter.submit("anna@example.com", &["kim@example.org"], mail.as_bytes());
        assert!(answer.unwrap().is_ok());
    }
    let sms = r#"{"to": "+4512345678", "from": "+4521000000", "text": "Order ORD-777", "hold": "manual"}"#;
    assert_eq!(port(daemon).post("/v1/sms", sms).unwrap().status, 201);
    let post = |path: &str, body: serde_json::Value| {
        let answer = api.post(path, &body.to_string()).unwrap();
        assert!(answer.status < 300, "{path}: {}", answer.json());
    };
    post(
        "/api/v1/threads/INV-12345/entries",
        json!({"kind": "call", "text": "Kim called.", "by": "Anna"}),
    );
    post(
        "/api/v1/users",
        json!({"name": "bo", "role": "viewer", "password": "correct horse battery"}),
    );
    post("/api/v1/tokens", json!({"role": "viewer", "apps": ["erp"]}));
    post("/api/v1/suppressions", json!({"channel": "email", "recipient": "no@example.org"}));
    post(
        "/api/v1/messages/actions",
        json!({"action": "stop", "query": {"app": "erp"}, "dry_run": true}),
    );
}

#[test]
fn schemathesis_finds_nothing_that_is_not_as_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let program = target.join("schemathesis/python/bin/schemathesis");
    if !program.is_file() {
        return tools::skip("schemathesis is not installed (tests/run does it)");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let receiver = Receiver::start();
    let setup = Setup { tables: tables(&provider), ..Setup::relaying_to(receiver.port()) };
    let daemon = Daemon::start(&setup);
    let api = daemon.api("admin");
    fill(&daemon, &api);
    let count = std::env::var("WAYBILL_SCHEMATHESIS").unwrap_or_else(|_| "3".to_owned());
    let me = api.get("/api/v1/me").unwrap().json()["name"].as_str().unwrap().to_owned();
    let mut command = Command::new(program);
    command
        .args(["--config-file"])
        .arg(root.join("tests/schemathesis/schemathesis.toml"))
        .args(["run", "--seed", "1", "--max-examples", &count, "--checks", "all"])
        .args(["--continue-on-failure", "--no-shrink", "--request-timeout", "20"])
        // It has no end, and a client that waits for it none either; admin_stream reads it.
        .args(["--exclude-path", "/api/v1/stream"])
        .args(["--header", &format!("Authorization: Bearer {}", api.token().unwrap())])
        .arg(format!("http://127.0.0.1:{}/api/v1/openapi.json", api.port()))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("WAYBILL_OWN_TOKEN", me.trim_start_matches("token "))
        .env("PYTHONPATH", root.join("tests/schemathesis"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(daemon.folder());
    tools::run(&mut command, b"");
}
