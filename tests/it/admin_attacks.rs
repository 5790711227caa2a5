//! Whoever guesses, repeats or floods gets in no sooner; and whoever belongs in does, and so does the mail.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher as _;
use serde_json::json;
use waybill::account::{LoginAttempt, LoginRefusal, Role};
use waybill::archive::{SessionChange, UserChange, UserRecord};
use waybill::model::Secret;

use super::admin_people::{Browser, PASSWORD, browser, code, enrol, log_in, name, user};
use crate::support::admin::{Gateway, now};
use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

const LIFETIME: Duration = Duration::from_secs(3_600);

/// How many of a hundred who show one code at one time are let in.
async fn let_in_of_a_hundred(gateway: &Arc<Gateway>, code: &str) -> usize {
    let logins: Vec<_> = (0..100)
        .map(|_| {
            let (gateway, code) = (gateway.clone(), code.to_owned());
            tokio::spawn(
                async move { log_in(&gateway, "anna", PASSWORD, Some(&code)).await.status },
            )
        })
        .collect();
    let mut inside = 0;
    for login in logins {
        let status = login.await.unwrap();
        assert!(matches!(status, 200 | 401 | 429 | 503), "{status}");
        inside += usize::from(status == 200);
    }
    inside
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_hundred_with_one_code_one_is_let_in() {
    let gateway = Arc::new(Gateway::start().await);
    user(&gateway, "anna", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let (seed, _, recovery, _) = enrol(&gateway, &anna).await;
    assert_eq!(let_in_of_a_hundred(&gateway, &code(&seed, 0)).await, 1);
    gateway.accounts.unlock(&name("anna")).unwrap();
    assert_eq!(let_in_of_a_hundred(&gateway, &recovery[4]).await, 1);
    gateway.accounts.unlock(&name("anna")).unwrap();
    assert_eq!(log_in(&gateway, "anna", PASSWORD, Some(&recovery[5])).await.status, 200);
}

/// A login at a moment that the test chooses.
async fn log_in_at(
    gateway: &Gateway,
    code: &str,
    at: Instant,
    client: IpAddr,
) -> Result<(), LoginRefusal> {
    let attempt = LoginAttempt {
        user: "anna".into(),
        password: Secret::new(PASSWORD.into()),
        code: Some(Secret::new(code.into())),
        client,
    };
    gateway.accounts.log_in(attempt, LIFETIME, now(), at).await.unwrap().map(drop)
}

#[tokio::test]
async fn five_wrong_codes_lock_codes_for_a_quarter_of_an_hour_but_not_recovery() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let (seed, _, recovery, after) = enrol(&gateway, &anna).await;
    let (start, local) = (Instant::now(), IpAddr::V4(Ipv4Addr::LOCALHOST));
    let minutes = |count: u64| start + Duration::from_secs(count * 60);
    for _ in 0..5 {
        // Four steps away, so never the right one.
        let wrong = log_in_at(&gateway, &code(&seed, 4), start, local).await;
        assert_eq!(wrong, Err(LoginRefusal::Wrong));
    }
    for at in [start, minutes(14)] {
        let right = log_in_at(&gateway, &code(&seed, 0), at, local).await;
        assert_eq!(right, Err(LoginRefusal::Wrong), "locked, and said like any other no");
    }
    // Who is inside stays inside; nobody locks them out.
    assert_eq!(after.get(&gateway, "/api/v1/me").await.status, 200);
    assert_eq!(log_in_at(&gateway, &code(&seed, 0), minutes(16), local).await, Ok(()));
    for _ in 0..5 {
        log_in_at(&gateway, &code(&seed, 4), minutes(17), local).await.unwrap_err();
    }
    assert_eq!(log_in_at(&gateway, &recovery[0], minutes(17), local).await, Ok(()));
}

#[tokio::test]
async fn a_network_that_guesses_is_kept_out_even_from_the_last_administrator() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let (guesser, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let start = Instant::now();
    let guess = async |password: &str, client| {
        let attempt = LoginAttempt {
            user: "anna".into(),
            password: Secret::new(password.into()),
            code: None,
            client,
        };
        gateway.accounts.log_in(attempt, LIFETIME, now(), start).await.unwrap().map(drop)
    };
    for _ in 0..20 {
        assert_eq!(guess("not the password", guesser).await, Err(LoginRefusal::Wrong));
    }
    let locked = guess(PASSWORD, guesser).await;
    assert!(matches!(locked, Err(LoginRefusal::Locked { .. })), "{locked:?}");
    assert_eq!(guess(PASSWORD, other).await, Ok(()), "anna herself, from elsewhere");
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_one_answer() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Viewer).await;
    user(&gateway, "gone", Role::Viewer).await;
    gateway.accounts.disable_user(name("gone"), now()).await.unwrap();
    let wrong = log_in(&gateway, "anna", "not the password", None).await;
    for who in ["nobody", "gone", "", "a b", "\u{202e}", &"x".repeat(500)] {
        let answer = log_in(&gateway, who, "not the password", None).await;
        assert_eq!((answer.status, &answer.body), (wrong.status, &wrong.body), "{who}");
        let fields = |answer: &crate::support::admin::Answer| {
            let mut fields: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
            fields.sort();
            fields
        };
        assert_eq!(fields(&answer), fields(&wrong), "{who}");
    }
}

#[tokio::test]
async fn a_weak_hash_is_made_anew_at_the_next_login() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let weak = argon2::Argon2::new(
        argon2::Algorithm::Argon2id,
        argon2::Version::V0x13,
        argon2::Params::new(64, 1, 1, None).unwrap(),
    );
    let weak = weak.hash_password(PASSWORD.as_bytes()).unwrap().to_string();
    let old = weak.clone();
    let decide = move |users: &[UserRecord]| {
        let user = UserRecord { password_hash: old, ..users[0].clone() };
        Ok::<_, ()>(UserChange { user, sessions: SessionChange::Keep, entries: Vec::new() })
    };
    gateway.archive.change_user(decide).await.unwrap().unwrap();
    assert_eq!(log_in(&gateway, "anna", "not the password", None).await.status, 401);
    assert_eq!(gateway.archive.users().unwrap()[0].password_hash, weak);
    browser(&gateway, "anna").await;
    let made = gateway.archive.users().unwrap().remove(0).password_hash;
    assert!(made.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{made}");
    browser(&gateway, "anna").await;
    assert_eq!(gateway.archive.users().unwrap()[0].password_hash, made, "made anew once");
}

#[tokio::test]
async fn what_everybody_tries_first_is_no_password() {
    let gateway = Gateway::start().await;
    let admin = gateway.token(Role::Admin, &[]).await;
    let add = async |password: &str| {
        let body = json!({"name": "anna", "role": "viewer", "password": password});
        gateway.post(&admin, "/api/v1/users", Some(body)).await
    };
    for plain in ["password1234", "qwertyuiop123", "anna@example", "elevenchars"] {
        let answer = add(plain).await;
        let is_taken = answer.status == 201;
        assert_eq!(is_taken, plain == "anna@example", "{plain}");
        if !is_taken {
            assert_eq!(answer.json()["errors"][0]["field"], "password");
        }
    }
    let long = "ein sehr langer satz aus vielen worten, der niemandem sonst einfaellt";
    assert!(long.len() >= 64);
    let body = json!({"password": long});
    let set = gateway.post(&admin, "/api/v1/users/anna/password", Some(body)).await;
    assert_eq!(set.status, 200);
    assert_eq!(log_in(&gateway, "anna", long, None).await.status, 200);
}

#[tokio::test]
async fn the_seed_is_shown_once() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let (seed, _, recovery, anna) = enrol(&gateway, &anna).await;
    let again = anna.ask(&gateway, "POST", "/api/v1/me/2fa", json!(null)).await;
    assert_eq!((again.status, again.problem().as_str()), (409, "conflict"));
    let mut shown = String::from_utf8_lossy(&again.body).into_owned();
    for path in ["me", "me/sessions", "users", "logs/security", "logs/operations"] {
        let answer = anna.get(&gateway, &format!("/api/v1/{path}")).await;
        assert_eq!(answer.status, 200, "{path}");
        shown += &String::from_utf8_lossy(&answer.body);
    }
    assert!(!shown.contains(&seed) && !shown.contains(&recovery[0]), "{shown}");
    let record = gateway.archive.users().unwrap().remove(0).second_factor.unwrap();
    assert!(!record.sealed_seed.windows(8).any(|part| seed.as_bytes().starts_with(part)));
}

fn add_admin(daemon: &Daemon) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["user", "add", "anna", "--role", "admin", "--password-stdin", "--config"])
        .arg(daemon.config())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), PASSWORD.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The most memory that a process ever had, in MiB.
fn peak_mib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
}

/// Every file below a folder that holds this text.
fn files_with(folder: &Path, text: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            files_with(&entry.path(), text, found);
        } else if kind.is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            if bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                found.push(entry.path().display().to_string());
            }
        }
    }
}

/// Right passwords all of them: each is let in, or told to come back and let in then; mail goes on, memory is
/// bounded by the places for hashing, and no secret is left lying about.
#[test]
fn two_hundred_log_in_while_mail_flows() {
    const LOGINS: usize = 200;
    let receiver = Receiver::start();
    let daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let admin = daemon.api("admin");
    add_admin(&daemon);
    let login = json!({"user": "anna", "password": PASSWORD}).to_string();
    let port = admin.port();
    let before = peak_mib(daemon.pid());
    let answers: Vec<String> = std::thread::scope(|scope| {
        let logins: Vec<_> = (0..LOGINS)
            .map(|_| {
                scope.spawn(|| {
                    let api = Api::new(port, None);
                    loop {
                        let answer = api.post("/api/v1/session", &login).unwrap();
                        match answer.status {
                            200 => return String::from_utf8(answer.body).unwrap(),
                            // The clear refusal; its client comes back.
                            429 | 503 => std::thread::sleep(Duration::from_millis(100)),
                            other => panic!("{other}: {}", String::from_utf8_lossy(&answer.body)),
                        }
                    }
                })
            })
            .collect();
        let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
        for number in 0..30 {
            let to = format!("{number}@example.org");
            let mail = b"Subject: x\r\n\r\nx\r\n";
            let answer = submitter.submit("a@example.com", &[&to], mail).unwrap();
            assert_eq!(answer.code, 250, "{answer:?}");
        }
        logins.into_iter().map(|login| login.join().unwrap()).collect()
    });
    assert_eq!(answers.len(), LOGINS);
    receiver.wait_for_count(30);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let grown = peak_mib(daemon.pid()) - before;
    assert!(grown < 2 * cores * 20 + 150, "{grown} MiB more");
    let metrics = daemon.metrics().get("/metrics").unwrap();
    let metrics = String::from_utf8(metrics.body).unwrap();
    let success = format!("waybill_login_total{{outcome=\"success\"}} {LOGINS}\n");
    assert!(metrics.contains(&success), "{metrics}");
    // What a login gives is in no file: neither in the log nor in the archive.
    let token = admin.token().unwrap();
    let csrf: serde_json::Value = serde_json::from_str(&answers[0]).unwrap();
    let csrf = csrf["session"]["csrf_token"].as_str().unwrap();
    for secret in [PASSWORD, token, csrf] {
        let mut found = Vec::new();
        files_with(daemon.folder(), secret, &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}

#[tokio::test]
async fn sessions_end_with_every_step_that_makes_them_doubtful() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    user(&gateway, "bo", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let is_in = async |who: &Browser| who.get(&gateway, "/api/v1/me").await.status == 200;
    for (method, path, body) in [
        ("POST", "password", json!({"password": "quite another phrase"})),
        ("POST", "reset-2fa", json!(null)),
        ("DELETE", "sessions", json!(null)),
        ("POST", "disable", json!(null)),
    ] {
        let secret = Secret::new(PASSWORD.into());
        gateway.accounts.set_password(name("bo"), secret).await.unwrap();
        let (one, two) = (browser(&gateway, "bo").await, browser(&gateway, "bo").await);
        let path = format!("/api/v1/users/bo/{path}");
        let done = anna.ask(&gateway, method, &path, body).await;
        assert!(matches!(done.status, 200 | 204), "{path}: {}", done.status);
        assert!(!is_in(&one).await && !is_in(&two).await, "{path}");
        assert!(is_in(&anna).await, "{path}");
    }
}
