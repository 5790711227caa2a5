//! A thread tells all that was said about one reference, and a contact all that was said with one counterpart.

use serde_json::{Value, json};
use waybill::account::Role;

use crate::support::admin::{Gateway, MAIL, now};

fn items(page: &Value) -> &Vec<Value> {
    page["items"].as_array().unwrap_or_else(|| panic!("{page}"))
}

fn call(text: &str) -> Value {
    json!({"kind": "call", "text": text, "by": "Anna Berg", "address": "Kim@Example.org"})
}

#[tokio::test]
async fn wrong_entries_are_told_by_field() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let later = now().plus(std::time::Duration::from_secs(3_600)).to_string();
    for (field, value) in [
        ("kind", json!("")),
        ("kind", json!("Phone call")),
        ("text", json!("  ")),
        ("text", json!("a\u{0}b")),
        ("text", json!("x".repeat(8_001))),
        ("by", json!("a\r\nb")),
        ("at", json!("yesterday")),
        ("at", json!(later)),
        ("address", json!("")),
        ("app", json!("a b")),
    ] {
        let mut body = call("x");
        body[field] = value;
        let answer = gateway.post(&token, "/api/v1/threads/INV-1/entries", Some(body)).await;
        assert_eq!((answer.status, answer.problem().as_str()), (400, "invalid-body"), "{field}");
        assert_eq!(answer.json()["errors"][0]["field"], field);
    }
    let answer = gateway.get(&token, "/api/v1/threads/INV-1").await;
    assert_eq!((answer.status, answer.problem().as_str()), (404, "not-found"));
    let answer = gateway.post(&token, "/api/v1/threads/---/entries", Some(call("x"))).await;
    assert_eq!(answer.status, 404, "nothing can be found by this");
}

#[tokio::test]
async fn an_entry_without_a_name_is_of_whoever_adds_it() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let path = "/api/v1/threads/INV-12345/entries";
    let entry = gateway.post(&token, path, Some(json!({"kind": "note", "text": "rang"}))).await;
    assert_eq!(entry.status, 201);
    let entry = entry.json();
    assert!(entry["by"].as_str().unwrap().starts_with("token "), "{entry}");
    assert_eq!(entry["by"], entry["added_by"]);
}

#[tokio::test]
async fn a_thread_is_told_in_the_order_of_time() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    for _ in 0..5 {
        gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
        let path = "/api/v1/threads/inv12345/entries";
        assert_eq!(gateway.post(&token, path, Some(call("rang"))).await.status, 201);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    for limit in [1, 2, 100] {
        let (mut told, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/threads/INV-12345?limit={limit}{cursor}");
            let page = gateway.get(&token, &path).await.json();
            told.extend(items(&page).clone());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let kinds: Vec<&str> = told.iter().map(|item| item["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["message", "entry"].repeat(5), "{limit}");
    }
    let page = gateway.get(&token, "/api/v1/contacts/KIM@example.org?limit=3").await.json();
    let rest = page["next"].as_str().unwrap();
    let rest = format!("/api/v1/contacts/kim@example.org?cursor={rest}");
    let rest = gateway.get(&token, &rest).await.json();
    let told: Vec<&str> = items(&page)
        .iter()
        .chain(items(&rest))
        .map(|item| item["type"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["entry", "message"].repeat(5), "the newest first");
    assert_eq!(gateway.get(&token, "/api/v1/contacts/nobody@example.org").await.status, 404);
    let sender = gateway.get(&token, "/api/v1/contacts/anna@example.com").await.json();
    assert_eq!(items(&sender).len(), 5, "both directions");
}

#[tokio::test]
async fn no_page_is_longer_than_was_asked_for() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    for number in 0..9 {
        let mut body = call(&format!("rang {number}"));
        // Some of them at one and the same time, long before the message.
        if number % 2 == 0 {
            body["at"] = json!("2026-01-31T08:00:00Z");
        }
        let answer = gateway.post(&token, "/api/v1/threads/INV-12345/entries", Some(body)).await;
        assert_eq!(answer.status, 201);
    }
    for (path, is_newest_first) in
        [("/api/v1/threads/INV-12345", false), ("/api/v1/contacts/kim@example.org", true)]
    {
        let whole = gateway.get(&token, &format!("{path}?limit=500")).await.json();
        let mut times: Vec<&str> = items(&whole)
            .iter()
            .map(|item| item["at"].as_str().or(item["accepted_at"].as_str()).unwrap())
            .collect();
        if is_newest_first {
            times.reverse();
        }
        assert!(times.is_sorted(), "{times:?}");
        for limit in [1, 2, 4] {
            let (mut told, mut cursor) = (Vec::new(), String::new());
            loop {
                let page =
                    gateway.get(&token, &format!("{path}?limit={limit}{cursor}")).await.json();
                assert!(items(&page).len() <= limit, "{page}");
                told.extend(items(&page).clone());
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
            }
            assert_eq!(&told, items(&whole), "{path} in pages of {limit}");
        }
    }
}

#[tokio::test]
async fn threads_are_listed_by_their_last_activity_and_only_what_may_be_seen() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    for (app, number) in [("erp", 1), ("crm", 2), ("erp", 3), ("crm", 1), ("erp", 4)] {
        let mail = MAIL.replace("INV-12345", &format!("INV-{number}{number}{number}"));
        gateway.submit(app, &["kim@example.org"], &mail, true).await;
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let list = |token: String, limit: usize| {
        let gateway = &gateway;
        async move {
            let (mut told, mut cursor) = (Vec::new(), String::new());
            loop {
                let path = format!("/api/v1/threads?limit={limit}{cursor}");
                let page = gateway.get(&token, &path).await.json();
                let found = items(&page).iter();
                told.extend(found.map(|thread| thread["reference"].as_str().unwrap().to_owned()));
                match page["next"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => return told,
                }
            }
        }
    };
    for limit in [1, 2, 100] {
        let all = ["INV-444", "INV-111", "INV-333", "INV-222"];
        assert_eq!(list(token.clone(), limit).await, all);
        let both = gateway.token(Role::Viewer, &["erp", "crm"]).await;
        assert_eq!(list(both, limit).await, all, "a thread of two apps comes once");
        let erp = gateway.token(Role::Viewer, &["erp"]).await;
        assert_eq!(list(erp, limit).await, ["INV-444", "INV-333", "INV-111"]);
    }
    let erp = gateway.token(Role::Operator, &["erp"]).await;
    let path = "/api/v1/threads/INV-222";
    assert_eq!(gateway.get(&erp, path).await.status, 404);
    let entries = format!("{path}/entries");
    assert_eq!(gateway.post(&token, &entries, Some(call("secret"))).await.status, 201);
    assert_eq!(gateway.get(&erp, path).await.status, 404, "an entry without an app is not theirs");
    assert_eq!(gateway.post(&erp, &entries, Some(call("ours"))).await.json()["app"], "erp");
    assert_eq!(items(&gateway.get(&erp, path).await.json()).len(), 1);
    assert_eq!(list(token.clone(), 1).await[0], "INV-222", "the entry is an activity");
    assert_eq!(list(erp, 1).await[0], "INV-222");
}

#[tokio::test]
async fn what_is_printed_is_inert() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let mail =
        MAIL.replace("Subject: Invoice", "Subject: <script>alert(1)</script> Invoice").replace(
            "Please find your invoice.\r\n--a\r\nContent-Type: text/html",
            "</pre><img src=\"https://x.example/y\">\r\n--a\r\nContent-Type: text/html",
        );
    gateway.submit("erp", &["kim@example.org"], &mail, true).await;
    let body = call("<iframe src=//x.example></iframe>");
    gateway.post(&token, "/api/v1/threads/INV-12345/entries", Some(body)).await;
    assert_eq!(gateway.get(&token, "/api/v1/threads/INV-9/print").await.status, 404);
    let answer = gateway.get(&token, "/api/v1/threads/INV-12345/print").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    let html = String::from_utf8(answer.body.to_vec()).unwrap();
    for wrong in ["<script", "<img", "<iframe", "<link", "<a ", "onclick"] {
        assert!(!html.contains(wrong), "{wrong} in {html}");
    }
    for right in ["&lt;script&gt;", "&lt;img src=&quot;", "&lt;iframe", "evil.html", "</html>"] {
        assert!(html.contains(right), "{right} not in {html}");
    }
}
