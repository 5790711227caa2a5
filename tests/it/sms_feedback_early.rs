//! Receipts that are faster than the response to the message that they are about.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio::sync::watch;

use super::support::daemon::{Daemon, Setup};
use super::support::sms_app::{callback, port, signed, tables};
use super::support::sms_provider::{AUTH_TOKEN, Answer, SmsProvider};

const SID: &str = "SM00000000000000000000000000000001";

/// The provider answers only after somebody has opened the gate.
#[test]
fn a_receipt_that_comes_before_the_response_waits_for_it_and_counts() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let (gate, closed) = watch::channel(false);
    provider.answers([Answer::When(closed, Box::new(Answer::Accept))]);
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let (erp, api) = (port(&daemon), daemon.api("operator"));
    let body = r#"{"to": "+4512345678", "from": "Example", "text": "Hello"}"#;
    let id = erp.post("/v1/sms", body).unwrap().json()["id"].as_str().unwrap().to_owned();
    runtime.block_on(provider.wait_for(|record| record.requests.len() == 1));
    let url = provider.requests()[0].field("StatusCallback").expect("nowhere to report");
    let base = format!("http://127.0.0.1:{}", daemon.public());
    let path = url.strip_prefix(&base).unwrap();

    let receipt = [("MessageSid", SID), ("MessageStatus", "delivered"), ("ErrorCode", "")];
    let mut early = TcpStream::connect(("127.0.0.1", daemon.public())).unwrap();
    early.write_all(signed(&base, path, &receipt, AUTH_TOKEN).as_bytes()).unwrap();
    early.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut answer = [0; 1];
    let nothing = early.read(&mut answer).unwrap_err().kind();
    assert!(matches!(nothing, ErrorKind::WouldBlock | ErrorKind::TimedOut), "answered too early");
    assert_eq!(api.message(&id)["status"], "pending", "the provider has not answered yet");

    gate.send(true).unwrap();
    early.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let message = api.message(&id);
    assert!(message["recipients"][0]["delivered_at"].is_string(), "{message}");
    let events: Vec<String> =
        api.events(&id).iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect();
    assert_eq!(events, ["accepted", "sent", "delivered"]);
    assert_eq!(provider.requests().len(), 1);
}

/// The provider gives up on its callback before the response comes, and calls again later.
#[test]
fn a_receipt_that_waited_in_vain_is_taken_when_it_comes_again() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let (gate, closed) = watch::channel(false);
    provider.answers([Answer::When(closed, Box::new(Answer::Accept))]);
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let (erp, api) = (port(&daemon), daemon.api("operator"));
    let body = r#"{"to": "+4512345678", "from": "Example", "text": "Hello"}"#;
    let id = erp.post("/v1/sms", body).unwrap().json()["id"].as_str().unwrap().to_owned();
    runtime.block_on(provider.wait_for(|record| record.requests.len() == 1));
    let url = provider.requests()[0].field("StatusCallback").unwrap();
    let base = format!("http://127.0.0.1:{}", daemon.public());
    let path = url.strip_prefix(&base).unwrap();
    let receipt = [("MessageSid", SID), ("MessageStatus", "failed"), ("ErrorCode", "30003")];
    let mut given_up = TcpStream::connect(("127.0.0.1", daemon.public())).unwrap();
    given_up.write_all(signed(&base, path, &receipt, AUTH_TOKEN).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    drop(given_up);
    gate.send(true).unwrap();
    api.wait_for_status(&id, "sent");
    assert_eq!(callback(&daemon, path, &receipt, AUTH_TOKEN), 200);
    let message = api.wait_for_status(&id, "failed");
    let reason = message["recipients"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("30003"), "{message}");
}
