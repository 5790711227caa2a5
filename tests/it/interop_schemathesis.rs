//! Schemathesis reads the description of the API and looks for an answer that is not as it says, with all its
//! checks, against the real daemon over real data.
//!
//! The same cases each time: the seed is fixed, and so is their number. `WAYBILL_SCHEMATHESIS=200` takes that many
//! for each operation instead. What its requests came to is counted, so that a run that was only ever refused does not
//! pass for one that found nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::sms_app::{port, tables};
use crate::support::sms_provider::{Answer, SmsProvider};
use crate::support::submitter::Submitter;
use crate::support::tools;

const MAIL: &str = "From: Anna Berg <anna@example.com>\r\nTo: kim@example.org\r\nSubject: Invoice INV-12345\r\n\
    MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n\
    <p>Dear Kim</p>\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=INV.pdf\r\n\r\n\
    %PDF\r\n--b\r\nContent-Type: text/plain\r\n\r\nDear Kim\r\n--b--\r\n";
/// What only a person who is logged in may do: the token of the run gets 409.
const FOR_PEOPLE: [&str; 7] = [
    "POST /api/v1/session",
    "DELETE /api/v1/session",
    "GET /api/v1/me/sessions",
    "DELETE /api/v1/me/sessions/{id}",
    "POST /api/v1/me/2fa",
    "POST /api/v1/me/2fa/confirm",
    "DELETE /api/v1/me/2fa",
];
/// How long the news may take.
const AWAIT_LIMIT: Duration = Duration::from_secs(30);
/// The stream has no end, and a client that waits for it none either: `admin_stream` reads it. The description is what
/// the run begins with, and is asked for no more.
const NOT_ASKED: [&str; 2] = ["GET /api/v1/stream", "GET /api/v1/openapi.json"];
/// Operations that are done at least once. What one request does can be in the way of another, so that the order in
/// which they come decides about a few.
const MIN_DONE: usize = 45;
/// Mails of the run: the first three are sent, each third of the others is stopped, and the rest is held.
const MAILS: usize = 40;
const PASSWORD: &str = "seven quiet lighthouse keepers";
/// Of what is taken away, a few of each.
const OF_EACH: usize = 6;

fn post(api: &Api, path: &str, body: Value) -> Value {
    let answer = api.post(path, &body.to_string()).unwrap();
    assert!(answer.status < 300, "{path}: {}", answer.json());
    answer.json()
}

/// Waits until the application that is gone was given up as many times.
fn wait_for_given_up(api: &Api, count: usize) {
    let started = Instant::now();
    loop {
        let page = api.read("/api/v1/deliveries?status=given_up");
        if page["items"].as_array().unwrap().len() >= count {
            return;
        }
        assert!(started.elapsed() < AWAIT_LIMIT, "{page}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Mails sent and held, SMS, a thread with a note, users with sessions, tokens, suppressions, jobs, news that nobody
/// takes; and the parts of paths that lead to them.
fn fill(daemon: &Daemon, api: &Api) -> BTreeMap<&'static str, Vec<Value>> {
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    for number in 0..MAILS {
        let mail = match number {
            0..3 => MAIL.to_owned(),
            _ => format!("X-Waybill-Hold: manual\r\n{MAIL}"),
        };
        let answer = submitter.submit("anna@example.com", &["kim@example.org"], mail.as_bytes());
        assert!(answer.unwrap().is_ok());
    }
    for _ in 0..OF_EACH {
        let sms = json!({"to": "+4512345678", "from": "+4521000000", "text": "ORD-777", "hold": "manual"});
        assert_eq!(port(daemon).post("/v1/sms", &sms.to_string()).unwrap().status, 201);
    }
    let note = json!({"kind": "call", "text": "Kim called.", "by": "Anna"});
    post(api, "/api/v1/threads/INV-12345/entries", note);
    let (mut users, mut tokens, mut suppressions, mut jobs) = (vec![], vec![], vec![], vec![]);
    for number in 0..OF_EACH {
        let name = format!("bo{number}");
        let user = json!({"name": name, "role": "viewer", "password": PASSWORD});
        users.push(post(api, "/api/v1/users", user)["name"].clone());
        post(api, "/api/v1/session", json!({"user": name, "password": PASSWORD}));
        let token = json!({"role": "viewer", "apps": ["erp"]});
        tokens.push(post(api, "/api/v1/tokens", token)["id"].clone());
        let suppression =
            json!({"channel": "email", "recipient": format!("no{number}@example.org")});
        suppressions.push(post(api, "/api/v1/suppressions", suppression)["id"].clone());
    }
    for dry_run in [true, false] {
        let job = json!({"action": "stop", "query": {"q": "invoice", "until": "2020-01-01"}, "dry_run": dry_run});
        jobs.push(post(api, "/api/v1/messages/actions", job)["job"].clone());
    }
    wait_for_given_up(api, OF_EACH);
    let ids = |path: &str, field: &str| -> Vec<Value> {
        let page = api.read(path);
        page["items"].as_array().unwrap().iter().map(|item| item[field].clone()).collect()
    };
    let messages = ids("/api/v1/messages?limit=500&channel=email&order=oldest", "id");
    let stopped: Vec<&Value> = messages.iter().skip(3).step_by(3).collect();
    post(api, "/api/v1/messages/actions", json!({"action": "stop", "ids": stopped}));
    BTreeMap::from([
        ("messages", messages),
        ("deliveries", ids("/api/v1/deliveries", "id")),
        ("users", users),
        ("tokens", tokens),
        ("suppressions", suppressions),
        ("jobs", jobs),
        ("threads", vec![json!("INV-12345"), json!("ORD-777")]),
        ("contacts", vec![json!("kim@example.org"), json!("+4512345678")]),
        ("upstreams", vec![json!("receiver"), json!("provider")]),
        ("attachments", vec![json!(0)]),
    ])
}

/// Each operation that the run came to, and the statuses of its answers.
fn answers(file: &Path) -> BTreeMap<String, BTreeSet<u16>> {
    let mut answers: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let (status, operation) = line.split_once(' ').unwrap();
        answers.entry(operation.to_owned()).or_default().insert(status.parse().unwrap());
    }
    answers
}

/// Every operation was asked for, and nearly all were done at least once, but for those that a token can not do.
fn check_reached(answers: &BTreeMap<String, BTreeSet<u16>>) {
    let mut count = 0;
    let mut never = Vec::new();
    for route in waybill::admin::routes() {
        let operation = format!("{} {}", route.method, route.path);
        if NOT_ASKED.contains(&&*operation) {
            continue;
        }
        let statuses = answers.get(&operation).unwrap_or_else(|| panic!("{operation}: never"));
        match statuses.iter().any(|status| (200..300).contains(status)) {
            true => count += 1,
            false if FOR_PEOPLE.contains(&&*operation) => {}
            false => never.push((operation, statuses)),
        }
    }
    assert!(count >= MIN_DONE, "only {count} operations were done; not: {never:?}");
}

/// The program, if `tests/run` installed it.
fn program() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let program = target.join("schemathesis/python/bin/schemathesis");
    program.is_file().then_some(program)
}

#[test]
fn schemathesis_finds_nothing_that_is_not_as_described() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(program) = program() else {
        return tools::skip("schemathesis is not installed (tests/run does it)");
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let gone = runtime.block_on(SmsProvider::start());
    gone.always(Answer::Say(410, "gone"));
    let receiver = Receiver::start();
    let flow =
        format!("[[flow]]\non = \"sms.accepted\"\nwebhook = {{ url = \"{}flow\" }}\n", gone.url());
    let tables = tables(&provider) + &flow;
    let setup = Setup { tables, ..Setup::relaying_to(receiver.port()) };
    let daemon = Daemon::start(&setup);
    let api = daemon.api("admin");
    let known = fill(&daemon, &api);
    let count = std::env::var("WAYBILL_SCHEMATHESIS").unwrap_or_else(|_| "3".to_owned());
    let me = api.read("/api/v1/me")["name"].as_str().unwrap().to_lowercase();
    let own = [me.trim_start_matches("token ")];
    let file = daemon.folder().join("answers");
    let mut command = Command::new(program);
    command
        .args(["--config-file"])
        .arg(root.join("tests/schemathesis/schemathesis.toml"))
        .args(["run", "--seed", "1", "--max-examples", &count, "--checks", "all"])
        .args(["--continue-on-failure", "--no-shrink", "--request-timeout", "20"])
        .args(["--exclude-path", "/api/v1/stream"])
        .args(["--header", &format!("Authorization: Bearer {}", api.token().unwrap())])
        .arg(format!("http://127.0.0.1:{}/api/v1/openapi.json", api.port()))
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("WAYBILL_KNOWN", json!(known).to_string())
        .env("WAYBILL_OWN", json!(own).to_string())
        .env("WAYBILL_ANSWERS", &file)
        .env("PYTHONPATH", root.join("tests/schemathesis"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(daemon.folder());
    let output = tools::run(&mut command, b"");
    println!("{output}");
    assert_eq!(
        api.get("/api/v1/me").unwrap().status,
        200,
        "the token of the run is good to the end"
    );
    check_reached(&answers(&file));
}
