//! Words, reading and filters mean the same messages wherever they are taken: in the list, the export,
//! the live stream, the numbers, and actions on many.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use waybill::account::Role;
use waybill::model::MessageId;

use crate::admin_export::parsed;
use crate::admin_stream::Client;
use crate::support::admin::Gateway;

/// What is asked, and how many messages of `fill` it finds.
const QUESTIONS: [(&[(&str, &str)], usize); 14] = [
    (&[("q", "zebra")], 0),
    (&[("q", "invoice"), ("status", "failed")], 0),
    (&[("read", "opened")], 0),
    (&[("q", "invoice"), ("since", "2100-01-01")], 0),
    (&[("q", "invoice")], 6),
    (&[("q", "inv-1")], 3),
    (&[("q", "invoice"), ("app", "erp")], 3),
    (&[("q", "-invoice")], 5),
    (&[("q", "status:stopped OR reminder")], 4),
    (&[("q", "to:kim"), ("channel", "email"), ("since", "2020-01-01")], 4),
    (&[("q", "\"brown fox\""), ("until", "2100-01-01")], 9),
    (&[("read", "unread"), ("status", "stopped")], 1),
    (&[("read", "unread"), ("q", "invoice"), ("status", "sent")], 1),
    (&[("q", "parcel"), ("channel", "sms")], 1),
];

fn mail(subject: &str, text: &str) -> String {
    format!("From: Anna Berg <anna@example.com>\r\nSubject: {subject}\r\n\r\n{text}\r\n")
}

async fn fill(gateway: &Gateway) {
    let mut ids = Vec::new();
    for (number, subject) in ["Invoice INV-1", "Invoice INV-2", "Reminder"].iter().enumerate() {
        for to in ["kim@example.org", "bo@example.org", "ole@example.org"] {
            let app = ["erp", "crm"][(number + to.len()) % 2];
            let mail = mail(subject, "The brown fox.");
            ids.push(gateway.submit(app, &[to], &mail, false).await.id);
        }
    }
    let both = mail("Note", "A fox that is brown.");
    gateway.submit("erp", &["kim@example.org", "bo@example.org"], &both, false).await;
    gateway.submit_sms("erp", "+4512345678", "Your parcel is here").await;
    gateway.claim(ids[0], 0).await;
    gateway.sent(ids[0], 0, None).await;
    let admin = gateway.token(Role::Admin, &[]).await;
    gateway.post(&admin, &format!("/api/v1/messages/{}/stop", ids[1]), None).await;
}

fn url(question: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(question);
    text.finish()
}

async fn listed(gateway: &Gateway, token: &str, question: &str) -> BTreeSet<String> {
    let (mut ids, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let path = format!("/api/v1/messages?{question}&limit=2{cursor}");
        let page = gateway.get(token, &path).await.json();
        let items = page["items"].as_array().unwrap();
        ids.extend(items.iter().map(|message| message["id"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

async fn exported(gateway: &Gateway, token: &str, question: &str) -> BTreeSet<String> {
    let answer = gateway.get(token, &format!("/api/v1/messages.csv?{question}")).await;
    let rows = parsed(std::str::from_utf8(&answer.body).unwrap());
    let column = rows[0].iter().position(|name| name == "id").unwrap();
    rows[1..].iter().map(|row| row[column].clone()).collect()
}

async fn counted(gateway: &Gateway, token: &str, question: &str) -> u64 {
    let path = format!("/api/v1/statistics?by=app&{question}");
    let answer = gateway.get(token, &path).await.json();
    assert_eq!(answer["complete"], true, "{answer}");
    answer["total"]["messages"].as_u64().unwrap()
}

/// The messages that a dry run would act on.
async fn wished(gateway: &Gateway, token: &str, question: &[(&str, &str)]) -> BTreeSet<String> {
    let query: Map<String, Value> =
        question.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let wish = json!({"action": "stop", "query": query, "dry_run": true});
    let answer = gateway.post(token, "/api/v1/messages/actions", Some(wish)).await.json();
    let path = format!("/api/v1/jobs/{}", answer["job"].as_str().unwrap());
    let job = gateway.get(token, &path).await.json();
    assert_eq!(job["state"], "done", "{job}");
    let items = job["items"].as_array().unwrap().iter();
    items.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

/// The messages of the first events that a stream tells, as many as these messages have.
fn told(
    gateway: &Gateway,
    token: &str,
    question: &str,
    ids: &BTreeSet<String>,
) -> BTreeSet<String> {
    let events = ids.iter().map(|id| {
        let id = MessageId::parse(id).unwrap();
        gateway.archive.events(id, None, 500).unwrap().items.len()
    });
    let client = Client::connect(gateway.address, token, &format!("?{question}"), Some(0));
    let told = (0..events.sum()).map(|_| client.next());
    told.map(|event| event.data["message"]["id"].as_str().unwrap().to_owned()).collect()
}

async fn agree(gateway: &Gateway, token: &str) {
    for (question, count) in QUESTIONS {
        let text = url(question);
        let ids = listed(gateway, token, &text).await;
        assert_eq!(ids.len(), count, "{text}");
        assert_eq!(exported(gateway, token, &text).await, ids, "{text} as a table");
        assert_eq!(counted(gateway, token, &text).await, ids.len() as u64, "{text} in numbers");
        assert_eq!(wished(gateway, token, question).await, ids, "{text} to act on");
        assert_eq!(told(gateway, token, &text, &ids), ids, "{text} on the stream");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_means_the_same_messages_everywhere() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    fill(&gateway).await;
    agree(&gateway, &token).await;
    while gateway.archive.search_progress().unwrap().indexed < 11 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    agree(&gateway, &token).await;
    let limited = gateway.token(Role::Operator, &["crm"]).await;
    for (question, _) in QUESTIONS {
        let text = url(question);
        let all = listed(&gateway, &token, &text).await;
        let may_see = |id: &String| {
            let id = MessageId::parse(id).unwrap();
            gateway.message(id).app.as_str() == "crm"
        };
        let ids: BTreeSet<String> = all.into_iter().filter(may_see).collect();
        assert_eq!(listed(&gateway, &limited, &text).await, ids, "{text}");
        assert_eq!(exported(&gateway, &limited, &text).await, ids, "{text}");
        assert_eq!(counted(&gateway, &limited, &text).await, ids.len() as u64, "{text}");
        assert_eq!(wished(&gateway, &limited, question).await, ids, "{text}");
    }
}

#[tokio::test]
async fn mistakes_are_told_alike_everywhere() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    for path in ["messages", "messages.csv", "stream", "statistics"] {
        for wrong in ["q=a%20%22b", "q=", "read=both", "statsu=sent"] {
            let answer = gateway.get(&token, &format!("/api/v1/{path}?by=app&{wrong}")).await;
            assert_eq!(answer.problem(), "invalid-parameter", "{path} {wrong}");
            let text = answer.json().to_string();
            let name = wrong.split('=').next().unwrap();
            assert!(text.contains(&format!("\"field\":\"{name}\"")), "{path} {wrong}: {text}");
        }
    }
    for wrong in [json!({"q": "a \"b"}), json!({"read": "both"}), json!({"order": "newest"})] {
        let wish = json!({"action": "stop", "query": wrong});
        let answer = gateway.post(&token, "/api/v1/messages/actions", Some(wish)).await;
        assert_eq!(answer.status, 400, "{wrong}");
    }
    let answer = gateway.get(&token, "/api/v1/messages.csv?q=a&order=relevance").await;
    assert_eq!(answer.problem(), "invalid-parameter");
}

/// A wish that is found by words goes through all of them in many steps, and once over each.
#[tokio::test(flavor = "multi_thread")]
async fn many_found_by_words_are_acted_on_once_each() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Operator, &[]).await;
    let mut wanted = BTreeSet::new();
    for number in 0..260 {
        let subject = if number % 2 == 0 { "Invoice" } else { "Reminder" };
        let mail = mail(subject, "x");
        let id = gateway.submit("erp", &["kim@example.org"], &mail, true).await.id.to_string();
        if number % 2 == 0 {
            wanted.insert(id);
        }
    }
    let query = json!({"q": "subject:invoice status:pending"});
    let wish = json!({"action": "stop", "query": query});
    let answer = gateway.post(&token, "/api/v1/messages/actions", Some(wish)).await.json();
    assert_eq!(answer["counts"], json!({"matched": 130, "done": 130, "refused": 0}), "{answer}");
    assert_eq!(listed(&gateway, &token, "status=stopped").await, wanted);
}
