//! People log in, stay who they are, and leave; nobody else becomes them; and what they do is on record.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use waybill::account::{AppScope, NewUser, Role, UserName};
use waybill::admin::LoginRules;
use waybill::archive::{Log, LogFilter};
use waybill::model::Secret;
use waybill::net::http::HttpLimits;

use super::admin_access::{CONTRACT, filled};
use crate::support::admin::{Answer, Gateway, MAIL, ask, now};

pub const PASSWORD: &str = "canary correct horse battery";

pub fn name(text: &str) -> UserName {
    UserName::parse(text).unwrap()
}

pub async fn user(gateway: &Gateway, text: &str, role: Role) {
    let new = NewUser { name: name(text), role, scope: AppScope::All };
    gateway.accounts.add_user(new, Secret::new(PASSWORD.into()), now()).await.unwrap();
}

/// What a browser holds after a login.
#[derive(Clone, Debug)]
pub struct Browser {
    pub cookie: String,
    pub csrf: String,
}

impl Browser {
    pub fn of(answer: &Answer) -> Browser {
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        let json = answer.json();
        let csrf = json["session"]["csrf_token"].as_str().or(json["csrf_token"].as_str());
        Browser { cookie, csrf: csrf.unwrap().to_owned() }
    }

    pub async fn ask(&self, gateway: &Gateway, method: &str, path: &str, body: Value) -> Answer {
        let fields = [
            ("cookie", self.cookie.as_str()),
            ("x-csrf-token", self.csrf.as_str()),
            ("origin", "http://x"),
        ];
        send(gateway, method, path, &fields, &body).await
    }

    pub async fn get(&self, gateway: &Gateway, path: &str) -> Answer {
        self.ask(gateway, "GET", path, Value::Null).await
    }
}

pub async fn send(
    gateway: &Gateway,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &Value,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path).header("host", "x");
    for (field, value) in fields {
        request = request.header(*field, *value);
    }
    let body = match body {
        Value::Null => String::new(),
        body => {
            request = request.header("content-type", "application/json");
            body.to_string()
        }
    };
    ask(gateway.address, request.body(body.into()).unwrap()).await
}

pub async fn log_in(gateway: &Gateway, user: &str, password: &str, otp: Option<&str>) -> Answer {
    let body = json!({"user": user, "password": password, "otp": otp});
    send(gateway, "POST", "/api/v1/session", &[], &body).await
}

pub async fn browser(gateway: &Gateway, user: &str) -> Browser {
    let answer = log_in(gateway, user, PASSWORD, None).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    Browser::of(&answer)
}

/// A code as an authenticator would show it, so many steps from now.
pub fn code(seed: &str, offset: i64) -> String {
    let (mut bits, mut held, mut bytes) = (0, 0_u32, Vec::new());
    for c in seed.bytes() {
        let five = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|b| *b == c).unwrap();
        held = (held << 5 | five as u32) & 0xffff;
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    let step = (now().as_millis() / 30_000 + offset) as u64;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &bytes);
    let tag = hmac::sign(&key, &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// Turns two-factor on; gives the seed, the recovery codes and the browser afterwards.
pub async fn enrol(gateway: &Gateway, browser: &Browser) -> (String, String, Vec<String>, Browser) {
    let shown = browser.ask(gateway, "POST", "/api/v1/me/2fa", Value::Null).await;
    assert_eq!(shown.status, 200, "{}", String::from_utf8_lossy(&shown.body));
    let seed = shown.json()["secret"].as_str().unwrap().to_owned();
    let used = code(&seed, -1);
    let body = json!({"otp": used});
    let done = browser.ask(gateway, "POST", "/api/v1/me/2fa/confirm", body).await;
    assert_eq!(done.status, 200, "{}", String::from_utf8_lossy(&done.body));
    let codes = done.json()["recovery_codes"].as_array().unwrap().clone();
    let codes = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    (seed, used, codes, Browser::of(&done))
}

pub async fn words(gateway: &Gateway, log: Log) -> Vec<String> {
    // Rows of failures and reads wait half a second for company.
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(gateway.archive.check_log(log).unwrap().broken, None);
    let page = gateway.archive.log(log, &LogFilter::default(), None, 500).unwrap();
    page.items.iter().rev().map(|entry| entry.what.clone()).collect()
}

#[tokio::test]
async fn every_route_asks_every_role_that_logged_in() {
    let gateway = Gateway::start().await;
    let message = gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    for role in Role::ALL {
        user(&gateway, role.as_str(), role).await;
        let browser = browser(&gateway, role.as_str()).await;
        for (method, path, roles) in CONTRACT {
            // What ends the session or begins one is tried elsewhere.
            if path == "/api/v1/session" {
                continue;
            }
            let path = filled(path, &message.id.to_string());
            let answer = browser.ask(&gateway, method, &path, Value::Null).await;
            let denied = matches!(answer.status, 401 | 403);
            assert_eq!(denied, !roles.contains(&role), "{path} {role:?}: {}", answer.status);
            if method == "GET" {
                continue;
            }
            let bare = [("cookie", browser.cookie.as_str())];
            let answer = send(&gateway, method, &path, &bare, &Value::Null).await;
            assert_eq!(answer.status, 403, "{path} without the CSRF token");
        }
    }
}

#[tokio::test]
async fn another_site_can_not_use_a_session() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let body = json!({"role": "admin"});
    let (cookie, csrf) = (("cookie", anna.cookie.as_str()), ("x-csrf-token", anna.csrf.as_str()));
    for fields in [
        vec![cookie, csrf],
        vec![cookie, ("origin", "http://x")],
        vec![cookie, csrf, ("origin", "http://evil.test")],
        vec![cookie, csrf, ("origin", "https://evil.test")],
        vec![cookie, csrf, ("origin", "null")],
        vec![cookie, csrf, ("origin", "http://x"), ("sec-fetch-site", "cross-site")],
        vec![cookie, ("x-csrf-token", "x"), ("origin", "http://x")],
    ] {
        let answer = send(&gateway, "POST", "/api/v1/tokens", &fields, &body).await;
        assert_eq!((answer.status, answer.problem().as_str()), (403, "forbidden"), "{fields:?}");
    }
    let login = json!({"user": "anna", "password": PASSWORD});
    let foreign = [("origin", "https://evil.test")];
    let answer = send(&gateway, "POST", "/api/v1/session", &foreign, &login).await;
    assert_eq!(answer.status, 403);
    assert_eq!(gateway.accounts.tokens().unwrap(), []);
    let answer = anna.ask(&gateway, "POST", "/api/v1/tokens", body).await;
    assert_eq!(answer.status, 201);
    assert!(words(&gateway, Log::Security).await.contains(&"cross_site_refused".to_owned()));
}

#[tokio::test]
async fn a_session_is_new_and_ends_for_good() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    // A cookie that somebody planted before the login is not the session of the login.
    let planted = "waybill=".to_owned() + &"x".repeat(43);
    let body = json!({"user": "anna", "password": PASSWORD});
    let fields = [("cookie", planted.as_str())];
    let answer = send(&gateway, "POST", "/api/v1/session", &fields, &body).await;
    let first = Browser::of(&answer);
    assert_ne!(first.cookie, planted);
    assert_eq!(send(&gateway, "GET", "/api/v1/me", &fields, &Value::Null).await.status, 401);
    let cookie = answer.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let second = browser(&gateway, "anna").await;
    assert_ne!(first.cookie, second.cookie);
    let sessions = first.get(&gateway, "/api/v1/me/sessions").await.json();
    assert_eq!(sessions["items"].as_array().unwrap().len(), 2);
    // Out, and the stolen cookie with it; the other one stays.
    assert_eq!(first.ask(&gateway, "DELETE", "/api/v1/session", Value::Null).await.status, 204);
    assert_eq!(first.get(&gateway, "/api/v1/me").await.status, 401);
    assert_eq!(second.get(&gateway, "/api/v1/me").await.status, 200);
    // A new password ends all.
    let secret = Secret::new("another long password".into());
    gateway.accounts.set_password(name("anna"), secret).await.unwrap();
    assert_eq!(second.get(&gateway, "/api/v1/me").await.status, 401);
    // So does the door for good.
    user(&gateway, "bo", Role::Admin).await;
    let bo = browser(&gateway, "bo").await;
    gateway.accounts.disable_user(name("bo"), now()).await.unwrap();
    assert_eq!(bo.get(&gateway, "/api/v1/me").await.status, 401);
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let rules = LoginRules { session: Duration::from_secs(3_600), require_2fa: Vec::new() };
    let gateway = Gateway::start_ruled(HttpLimits::default(), rules).await;
    user(&gateway, "anna", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let secret = anna.cookie.split_once('=').unwrap().1.to_owned();
    let is_good = |minutes: u64| {
        let at = now().plus(Duration::from_secs(minutes * 60));
        gateway.accounts.visitor(&secret, at).unwrap().is_some()
    };
    assert!(is_good(29) && !is_good(31), "without use");
    for minutes in [25, 50] {
        let at = now().plus(Duration::from_secs(minutes * 60));
        gateway.accounts.touch(&Secret::new(secret.clone()), at).await.unwrap();
        assert!(is_good(minutes));
    }
    assert!(is_good(59) && !is_good(61), "its absolute end");
}

#[tokio::test]
async fn a_code_works_once_and_a_recovery_code_too() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let before = browser(&gateway, "anna").await;
    let (seed, used, recovery, after) = enrol(&gateway, &before).await;
    assert_eq!(before.get(&gateway, "/api/v1/me").await.status, 401, "the step makes a new one");
    assert_eq!(after.get(&gateway, "/api/v1/me").await.status, 200);
    // The password alone says the same as a wrong one.
    let alone = log_in(&gateway, "anna", PASSWORD, None).await;
    let wrong = log_in(&gateway, "anna", "not the password", None).await;
    assert_eq!((alone.status, alone.json()), (wrong.status, wrong.json()));
    assert_eq!(log_in(&gateway, "anna", PASSWORD, Some(&used)).await.status, 401, "used");
    // One code, many at one time: one is let in.
    let fresh = code(&seed, 0);
    let tries = (0..4).map(|_| log_in(&gateway, "anna", PASSWORD, Some(&fresh)));
    let mut inside = 0;
    for answer in futures(tries.collect()).await {
        inside += usize::from(answer.status == 200);
    }
    assert_eq!(inside, 1);
    let first = &recovery[0];
    assert_eq!(log_in(&gateway, "anna", PASSWORD, Some(first)).await.status, 200);
    assert_eq!(log_in(&gateway, "anna", PASSWORD, Some(first)).await.status, 401);
    gateway.accounts.reset_two_factor(name("anna")).await.unwrap();
    assert_eq!(after.get(&gateway, "/api/v1/me").await.status, 401);
    assert_eq!(log_in(&gateway, "anna", PASSWORD, None).await.status, 200);
}

async fn futures<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut left: Vec<_> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        for place in &mut left {
            if let Some(future) = place
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                done.push(value);
                *place = None;
            }
        }
        match left.iter().all(Option::is_none) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    done
}

#[tokio::test]
async fn a_role_that_must_use_two_factors_enrols_first() {
    let rules = LoginRules { require_2fa: vec![Role::Admin], ..LoginRules::default() };
    let gateway = Gateway::start_ruled(HttpLimits::default(), rules).await;
    user(&gateway, "anna", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let answer = anna.get(&gateway, "/api/v1/messages").await;
    assert_eq!((answer.status, answer.problem().as_str()), (403, "two-factor-required"));
    let me = anna.get(&gateway, "/api/v1/me").await.json();
    assert_eq!(me["session"]["two_factor_required"], true);
    let (_, _, _, anna) = enrol(&gateway, &anna).await;
    assert_eq!(anna.get(&gateway, "/api/v1/messages").await.status, 200);
}

#[tokio::test]
async fn guesses_are_slowed_but_the_last_administrator_is_never_kept_out() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    user(&gateway, "eva", Role::Viewer).await;
    for who in ["eva", "nobody", "anna"] {
        let mut last = 0;
        for _ in 0..6 {
            last = log_in(&gateway, who, "not the password", None).await.status;
        }
        assert_eq!(last, if who == "anna" { 401 } else { 429 }, "{who}");
    }
    assert_eq!(log_in(&gateway, "eva", PASSWORD, None).await.status, 429);
    let anna = browser(&gateway, "anna").await;
    let path = "/api/v1/users/eva/unlock";
    assert_eq!(anna.ask(&gateway, "POST", path, Value::Null).await.status, 200);
    assert_eq!(log_in(&gateway, "eva", PASSWORD, None).await.status, 200);
    let words = words(&gateway, Log::Security).await;
    for word in ["login_failed", "login_locked", "login", "user_unlocked"] {
        assert!(words.contains(&word.to_owned()), "{word}: {words:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_logins_do_not_stop_others() {
    let gateway = std::sync::Arc::new(Gateway::start().await);
    let token = gateway.token(Role::Viewer, &[]).await;
    let logins: Vec<_> = (0..200)
        .map(|number| {
            let gateway = gateway.clone();
            tokio::spawn(async move {
                let who = format!("user{number}");
                log_in(&gateway, &who, "not the password", None).await.status
            })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(gateway.get(&token, "/api/v1/messages").await.status, 200);
    }
    let is_under_way = logins.iter().any(|login| !login.is_finished());
    assert!(is_under_way, "whoever reads does not wait until all of them are done");
    let mut busy = 0;
    for login in logins {
        let status = login.await.unwrap();
        assert!(matches!(status, 401 | 503), "{status}");
        busy += usize::from(status == 503);
    }
    assert!(busy > 0, "the queue has an end");
}

#[tokio::test]
async fn what_people_do_is_on_record_without_any_secret() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let message = gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    let anna = browser(&gateway, "anna").await;
    let (seed, _, recovery, anna) = enrol(&gateway, &anna).await;
    let id = message.id;
    for path in ["", "/raw", "/raw", "/events"] {
        anna.get(&gateway, &format!("/api/v1/messages/{id}{path}")).await;
    }
    let stopped = format!("/api/v1/messages/{id}/stop");
    assert_eq!(anna.ask(&gateway, "POST", &stopped, Value::Null).await.status, 200);
    assert_eq!(anna.ask(&gateway, "POST", &stopped, Value::Null).await.status, 409);
    let created = anna.ask(&gateway, "POST", "/api/v1/tokens", json!({"role": "viewer"})).await;
    let token = created.json()["token"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/tokens/{token}");
    let denied = gateway.ask(Method::DELETE, &path, Some(&token), None).await;
    assert_eq!(denied.status, 403);
    gateway.get(&token, &format!("/api/v1/messages?tag={token}")).await;
    // A password in the wrong field, and others that are wrong.
    log_in(&gateway, "canary-in-the-user-field", "canary-in-the-password", Some("canary")).await;
    let new = json!({"name": "bo", "role": "viewer", "password": "canary of another user"});
    assert_eq!(anna.ask(&gateway, "POST", "/api/v1/users", new).await.status, 201);
    let operations = words(&gateway, Log::Operations).await;
    assert!(operations.iter().filter(|word| *word == "GET").count() >= 4, "{operations:?}");
    let security = words(&gateway, Log::Security).await;
    for word in [
        "login",
        "two_factor_begun",
        "two_factor_enabled",
        "token_created",
        "denied",
        "login_failed",
        "user_added",
    ] {
        assert!(security.contains(&word.to_owned()), "{word}: {security:?}");
    }
    let events = gateway.archive.events(id, None, 99).unwrap().items;
    let viewed: Vec<_> = events.iter().filter(|event| event.kind.as_str() == "viewed").collect();
    assert_eq!(viewed.len(), 1, "{viewed:?}");
    assert_eq!(viewed[0].by.as_deref(), Some("user anna"));
    let auditor = gateway.token(Role::Auditor, &[]).await;
    let mut shown = String::new();
    for log in ["security", "operations"] {
        let answer = gateway.get(&auditor, &format!("/api/v1/logs/{log}?limit=500")).await;
        assert_eq!(answer.status, 200);
        shown += &answer.json().to_string();
    }
    let by = "/api/v1/logs/operations?by=user%20anna&limit=1";
    let page = gateway.get(&auditor, by).await.json();
    assert_eq!(page["items"][0]["by"], "user anna");
    assert!(page["next"].is_string());
    let cookie = anna.cookie.split_once('=').unwrap().1;
    let secrets = ["canary", &token, cookie, &anna.csrf, &seed, &recovery[0]];
    for secret in secrets {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert!(shown.contains("\"status\":409"), "{shown}");
}

#[tokio::test]
async fn a_disabled_person_is_let_in_again_and_lists_tell_of_second_factors() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    user(&gateway, "bo", Role::Viewer).await;
    let anna = browser(&gateway, "anna").await;
    let (_, _, _, anna) = enrol(&gateway, &anna).await;
    let disable = anna.ask(&gateway, "POST", "/api/v1/users/bo/disable", Value::Null).await;
    assert_eq!(disable.status, 200);
    assert_eq!(log_in(&gateway, "bo", PASSWORD, None).await.status, 401);
    let edit = async |body| anna.ask(&gateway, "PATCH", "/api/v1/users/bo", body).await;
    assert_eq!(edit(json!({})).await.status, 400);
    assert_eq!(edit(json!({"role": "operator"})).await.status, 409, "it is disabled");
    let enabled = edit(json!({"role": "operator", "disabled": false})).await;
    assert_eq!(enabled.status, 200);
    assert_eq!(enabled.json()["disabled_at"], Value::Null);
    assert_eq!(enabled.json()["role"], "operator");
    assert_eq!(log_in(&gateway, "bo", PASSWORD, None).await.status, 200);
    let users = anna.get(&gateway, "/api/v1/users").await.json();
    let factors = [&users["items"][0], &users["items"][1]].map(|user| &user["two_factor"]);
    assert_eq!(factors, [&json!(true), &json!(false)]);
}
