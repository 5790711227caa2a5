//! Stopping an SMS and sending it exclude each other, whoever stops it: the application in its own
//! dialect, or an operator. Who is told that it was stopped never hears of it again.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::daemon::{Daemon, Setup};
use crate::support::sms_app::{port, tables};
use crate::support::sms_provider::{Answer, SmsProvider};

const MESSAGES: u32 = 200;

#[test]
fn exactly_one_of_application_operator_and_queue_wins() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    provider.always(Answer::After(Duration::from_millis(1), Box::new(Answer::Accept)));
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let operator = daemon.api("operator");
    let (mut canceled, mut stopped, mut too_late) = (BTreeSet::new(), BTreeSet::new(), 0);
    for serial in 0..MESSAGES {
        let number = format!("+45{:08}", 20_000_000 + serial);
        // The hold ends about when the stops come.
        let hold = serial % 12 * 2;
        let body = format!(
            r#"{{"to": "{number}", "from": "Example", "text": "Hello", "hold": "{hold}ms"}}"#
        );
        let id = port(&daemon).post("/v1/sms", &body).unwrap().json()["id"].clone();
        let id = id.as_str().unwrap();
        let path = format!("/api/v1/messages/{id}/stop");
        let (by_app, by_operator) = std::thread::scope(|scope| {
            let app = scope.spawn(|| port(&daemon).post(&format!("/v1/sms/{id}/stop"), ""));
            let operator = scope.spawn(|| operator.post(&path, ""));
            (app.join().unwrap().unwrap(), operator.join().unwrap().unwrap())
        });
        assert!([200, 409].contains(&by_app.status), "{}", by_app.json());
        assert!([200, 409].contains(&by_operator.status), "{}", by_operator.json());
        match (by_app.status, by_operator.status) {
            (200, 200) => panic!("{id} was stopped twice"),
            (200, _) => drop(canceled.insert(number)),
            (_, 200) => drop(stopped.insert(number)),
            (_, _) => too_late += 1,
        }
    }
    operator.wait_until_nothing_is_pending();
    let asked: BTreeSet<String> =
        provider.requests().iter().map(|request| request.field("To").unwrap()).collect();
    assert!(asked.is_disjoint(&canceled), "an SMS went out that the application stopped");
    assert!(asked.is_disjoint(&stopped), "an SMS went out that an operator stopped");
    assert_eq!(asked.len(), too_late, "an SMS was neither stopped nor sent");
    for message in operator.all_messages("&channel=sms") {
        let number = message["recipients"][0]["address"].as_str().unwrap();
        let expected = if asked.contains(number) { "sent" } else { "stopped" };
        assert_eq!(message["status"], expected, "{message}");
    }
    assert!(!asked.is_empty() && asked.len() < MESSAGES as usize, "one side always won");
    println!("{} by the app, {} by the operator, {too_late} sent", canceled.len(), stopped.len());
}

#[test]
fn what_is_held_is_sent_once_it_is_released_and_no_sooner() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let body = r#"{"to": "+4512345678", "from": "Example", "text": "Later", "hold": "manual"}"#;
    let answer = port(&daemon).post("/v1/sms", body).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.json());
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let operator = daemon.api("operator");
    let message = operator.message(&id);
    assert_eq!((&message["status"], &message["held"]), (&"pending".into(), &true.into()));
    assert_eq!(message["text"], "Later");
    assert_eq!(message["segments"], 1);
    assert!(provider.requests().is_empty());
    operator.post(&format!("/api/v1/messages/{id}/release"), "").unwrap();
    let message = operator.wait_for_status(&id, "sent");
    assert_eq!(message["recipients"][0]["upstream"], "provider");
    let asked = provider.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].field("Body").as_deref(), Some("Later"));
}
