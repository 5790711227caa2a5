//! Each change that somebody makes over the admin API is on record, once, as it was answered.

use axum::http::Method;
use serde_json::{Value, json};
use waybill::account::{Role, UserName};
use waybill::admin::routes;
use waybill::archive::{DeliveryKind, Entry, Log, LogFilter, NewDelivery, Settled};
use waybill::model::Sequence;

use super::admin_people::{Browser, PASSWORD, browser, code, log_in, user};
use crate::support::admin::{Gateway, MAIL, now};

/// The rows of a log, newest first.
fn rows(gateway: &Gateway, log: Log) -> Vec<Entry> {
    assert_eq!(gateway.archive.check_log(log).unwrap().broken, None);
    gateway.archive.log(log, &LogFilter::default(), None, 500).unwrap().items
}

/// A change by anna, whose row must be there with the answer: its route, and what was answered.
struct Tried {
    gateway: Gateway,
    anna: Browser,
    routes: Vec<(String, String)>,
}

impl Tried {
    async fn call(&mut self, method: &str, route: &str, filling: &str, body: Value) -> Value {
        let path = match route.split_once('{') {
            Some((before, rest)) => {
                let after = rest.split_once('}').unwrap().1;
                format!("{before}{filling}{after}")
            }
            None => route.to_owned(),
        };
        let before = rows(&self.gateway, Log::Operations).first().map_or(0, |row| row.number);
        let answer = self.anna.ask(&self.gateway, method, &path, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(matches!(answer.status, 200..=299), "{method} {path}: {} {text}", answer.status);
        let of_route = |row: &&Entry| {
            row.number > before
                && row.what == method
                && row.route.as_deref() == route.strip_prefix("/api/v1")
        };
        let all = rows(&self.gateway, Log::Operations);
        let told: Vec<&Entry> = all.iter().filter(of_route).collect();
        assert_eq!(told.len(), 1, "{method} {route}: {told:?}");
        assert_eq!(told[0].status, Some(answer.status), "{method} {route}");
        assert_eq!(told[0].by.as_deref(), Some("user anna"), "{method} {route}");
        self.routes.push((method.to_owned(), route.to_owned()));
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    async fn delivery(&self) -> String {
        let message = self.gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
        let new = NewDelivery {
            message,
            event: Sequence(1),
            kind: DeliveryKind::Webhook,
            url: "https://erp.example.com/".into(),
        };
        self.gateway.archive.plan(vec![new], Sequence(9), now()).await.unwrap();
        let id = self.gateway.archive.deliveries(None, None, 9).unwrap().items[0].id;
        let given_up = Settled::GivenUp { error: "no".into() };
        self.gateway.archive.settle(id, given_up).await.unwrap();
        id.to_string()
    }
}

const NOTHING: Value = Value::Null;

async fn of_messages(tried: &mut Tried) {
    let held = tried.gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id.to_string();
    tried.call("POST", "/api/v1/messages/{id}/stop", &held, NOTHING).await;
    tried.call("POST", "/api/v1/messages/{id}/restart", &held, NOTHING).await;
    let held = tried.gateway.submit("erp", &["bo@example.org"], MAIL, true).await.id.to_string();
    tried.call("POST", "/api/v1/messages/{id}/release", &held, NOTHING).await;
    tried.call("POST", "/api/v1/messages/{id}/resend", &held, NOTHING).await;
    let wish = json!({"action": "stop", "ids": [held]});
    let job = tried.call("POST", "/api/v1/messages/actions", "", wish).await;
    let job = job["job"].as_str().unwrap().to_owned();
    tried.call("POST", "/api/v1/jobs/{id}/cancel", &job, NOTHING).await;
    let entry = json!({"kind": "call", "text": "They called.", "by": "Anna"});
    tried.call("POST", "/api/v1/threads/{reference}/entries", "INV-12345", entry).await;
    let why = json!({"reason": "asked for"});
    tried.call("DELETE", "/api/v1/messages/{id}", &held, why).await;
    let suppressed = json!({"channel": "sms", "recipient": "+4512345678"});
    let added = tried.call("POST", "/api/v1/suppressions", "", suppressed).await;
    let id = added["id"].as_str().unwrap().to_owned();
    tried.call("DELETE", "/api/v1/suppressions/{id}", &id, NOTHING).await;
    let delivery = tried.delivery().await;
    tried.call("POST", "/api/v1/deliveries/{id}/retry", &delivery, NOTHING).await;
    tried.call("DELETE", "/api/v1/deliveries/{id}", &delivery, NOTHING).await;
    tried.call("POST", "/api/v1/upstreams/{name}/pause", "provider", NOTHING).await;
    tried.call("POST", "/api/v1/upstreams/{name}/resume", "provider", NOTHING).await;
}

async fn of_people(tried: &mut Tried) {
    let token = tried.call("POST", "/api/v1/tokens", "", json!({"role": "viewer"})).await;
    let id = token["id"].as_str().unwrap().to_owned();
    tried.call("DELETE", "/api/v1/tokens/{id}", &id, NOTHING).await;
    let new = json!({"name": "bo", "role": "viewer", "password": PASSWORD});
    tried.call("POST", "/api/v1/users", "", new).await;
    tried.call("PATCH", "/api/v1/users/{name}", "bo", json!({"role": "operator"})).await;
    let other = json!({"password": "quite another phrase"});
    tried.call("POST", "/api/v1/users/{name}/password", "bo", other).await;
    tried.call("POST", "/api/v1/users/{name}/unlock", "bo", NOTHING).await;
    tried.call("POST", "/api/v1/users/{name}/reset-2fa", "bo", NOTHING).await;
    tried.call("POST", "/api/v1/users/{name}/disable", "bo", NOTHING).await;
    user(&tried.gateway, "eva", Role::Viewer).await;
    browser(&tried.gateway, "eva").await;
    tried.call("DELETE", "/api/v1/users/{name}/sessions", "eva", NOTHING).await;
}

async fn of_oneself(tried: &mut Tried) {
    let seed = tried.call("POST", "/api/v1/me/2fa", "", NOTHING).await;
    let seed = seed["secret"].as_str().unwrap().to_owned();
    for (method, route, offset) in
        [("POST", "/api/v1/me/2fa/confirm", -1), ("DELETE", "/api/v1/me/2fa", 1)]
    {
        tried.call(method, route, "", json!({"otp": code(&seed, offset)})).await;
        // The step began a session in place of this one.
        tried.anna = browser_after(tried, &seed).await;
    }
    let other = browser(&tried.gateway, "anna").await;
    let me = other.get(&tried.gateway, "/api/v1/me").await.json();
    let id = me["session"]["id"].as_str().unwrap().to_owned();
    tried.call("DELETE", "/api/v1/me/sessions/{id}", &id, NOTHING).await;
    tried.call("DELETE", "/api/v1/session", "", NOTHING).await;
}

async fn browser_after(tried: &Tried, seed: &str) -> Browser {
    let answer = log_in(&tried.gateway, "anna", PASSWORD, Some(&code(seed, 0))).await;
    assert_eq!(answer.status, 200);
    Browser::of(&answer)
}

#[tokio::test]
async fn every_change_is_on_record_as_it_was_answered() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    let anna = browser(&gateway, "anna").await;
    let mut tried = Tried { gateway, anna, routes: Vec::new() };
    of_messages(&mut tried).await;
    of_people(&mut tried).await;
    of_oneself(&mut tried).await;
    // Whoever logs in is nobody before: the security log has that.
    let changes = routes().into_iter().filter(|route| {
        route.method != Method::GET
            && (route.method != Method::POST || route.path != "/api/v1/session")
    });
    for route in changes {
        let (method, path) = (route.method.to_string(), route.path.to_owned());
        assert!(
            tried.routes.contains(&(method.clone(), path.clone())),
            "{method} {path} is not tried"
        );
    }
    let words: Vec<String> =
        rows(&tried.gateway, Log::Security).into_iter().map(|row| row.what).collect();
    for word in [
        "login",
        "user_added",
        "user_changed",
        "password_set",
        "user_unlocked",
        "two_factor_reset",
        "user_disabled",
        "sessions_ended",
        "token_created",
        "token_revoked",
        "two_factor_begun",
        "two_factor_enabled",
        "two_factor_disabled",
        "session_ended",
        "logout",
    ] {
        assert!(words.contains(&word.to_owned()), "{word}: {words:?}");
    }
}

/// Who asked for a job is who its every change is told of, also behind the answer.
#[tokio::test]
async fn what_a_job_does_is_done_by_who_asked_for_it() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Operator).await;
    let anna = browser(&gateway, "anna").await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let wish = json!({"action": "stop", "query": {"app": "erp"}});
    let answer = anna.ask(&gateway, "POST", "/api/v1/messages/actions", wish).await;
    assert_eq!(answer.json()["by"], "user anna");
    let events = gateway.archive.events(id, None, 99).unwrap().items;
    let stopped = events.iter().find(|event| event.kind.as_str() == "stopped").unwrap();
    assert_eq!(stopped.by.as_deref(), Some("user anna"));
}

#[tokio::test]
async fn a_printed_thread_is_in_the_history_of_its_messages() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Viewer).await;
    let anna = browser(&gateway, "anna").await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let page = anna.get(&gateway, "/api/v1/threads/INV-12345/print").await;
    assert_eq!(page.status, 200);
    let events = gateway.archive.events(id, None, 99).unwrap().items;
    let printed = events.iter().find(|event| event.kind.as_str() == "exported").unwrap();
    assert_eq!(printed.by.as_deref(), Some("user anna"));
    let listed = anna.get(&gateway, "/api/v1/threads/INV-12345").await;
    assert_eq!(listed.status, 200);
    let after = gateway.archive.events(id, None, 99).unwrap().items;
    assert_eq!(after.len(), events.len(), "a list shows no content");
}

#[tokio::test]
async fn another_role_ends_the_sessions_and_the_last_administrator_keeps_theirs() {
    let gateway = Gateway::start().await;
    user(&gateway, "anna", Role::Admin).await;
    user(&gateway, "bo", Role::Viewer).await;
    let (anna, bo) = (browser(&gateway, "anna").await, browser(&gateway, "bo").await);
    let change = async |who: &str, body: Value| {
        anna.ask(&gateway, "PATCH", &format!("/api/v1/users/{who}"), body).await
    };
    for (body, status) in [
        (json!({}), 400),
        (json!({"role": "boss"}), 400),
        (json!({"apps": ["a b"]}), 400),
        (json!({"name": "eva"}), 400),
    ] {
        assert_eq!(change("bo", body.clone()).await.status, status, "{body}");
    }
    assert_eq!(change("eva", json!({"role": "viewer"})).await.status, 404);
    for body in [json!({"role": "auditor"}), json!({"apps": ["erp"]})] {
        let refused = change("anna", body).await;
        assert_eq!((refused.status, refused.problem().as_str()), (409, "conflict"));
    }
    assert_eq!(bo.get(&gateway, "/api/v1/me").await.status, 200);
    let same = change("bo", json!({"role": "viewer", "apps": null})).await;
    assert_eq!(same.status, 200);
    assert_eq!(bo.get(&gateway, "/api/v1/me").await.status, 200, "nothing is another");
    let limited = change("bo", json!({"role": "admin", "apps": ["erp"]})).await;
    assert_eq!(limited.json()["apps"], json!(["erp"]));
    assert_eq!(bo.get(&gateway, "/api/v1/me").await.status, 401);
    // An administrator of one app can let nobody in: anna is still the last one who can.
    assert_eq!(change("anna", json!({"role": "viewer"})).await.status, 409);
    let open = change("bo", json!({"apps": null})).await.json();
    assert_eq!((&open["role"], &open["apps"]), (&json!("admin"), &NOTHING));
    assert_eq!(change("anna", json!({"role": "viewer"})).await.status, 200);
    assert_eq!(anna.get(&gateway, "/api/v1/me").await.status, 401);
    gateway.accounts.disable_user(UserName::parse("anna").unwrap(), now()).await.unwrap();
    let gone = gateway.token(Role::Admin, &[]).await;
    let body = Some(json!({"role": "viewer"}));
    let refused = gateway.ask(Method::PATCH, "/api/v1/users/anna", Some(&gone), body).await;
    assert_eq!(refused.status, 409, "who is disabled is added again");
}

#[tokio::test]
async fn an_orderly_end_writes_what_was_read_a_moment_before() {
    let mut gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let id = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id;
    let read = gateway.get(&token, &format!("/api/v1/messages/{id}/raw")).await;
    assert_eq!(read.status, 200);
    gateway.records.take().unwrap().finish().await;
    let events = gateway.archive.events(id, None, 99).unwrap().items;
    let viewed = events.iter().filter(|event| event.kind.as_str() == "viewed").count();
    assert_eq!(viewed, 1, "{events:?}");
    let is_read = |row: &Entry| row.path.as_deref().is_some_and(|path| path.ends_with("/raw"));
    assert!(rows(&gateway, Log::Operations).iter().any(is_read));
}
