//! An operator follows a message by its id: one log line for each milestone, how its upstream is doing in the queue's
//! view, and a time to send in which the hold does not count.

use std::time::Duration;

use serde_json::json;

use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

fn setup(upstream: u16) -> Setup {
    let tables = "[[app]]\nname = \"erp\"\nnetworks = [\"127.0.0.0/8\"]\n".to_owned();
    Setup { tables, ..Setup::relaying_to(upstream) }
}

fn submit(daemon: &Daemon, field: &str) -> String {
    let message = format!("From: a@example.com\r\n{field}Subject: hello\r\n\r\nhello\r\n");
    let mut client = Submitter::connect(daemon.smtp()).unwrap();
    let answer = client.submit("a@example.com", &["kim@example.org"], message.as_bytes()).unwrap();
    answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// The words of the log lines that name this message, in order.
fn milestones(daemon: &Daemon, id: &str) -> Vec<&'static str> {
    const WORDS: [&str; 7] =
        ["accepted", "sent", "deferred", "failed", "stopped", "restarted", "released"];
    let log = daemon.log();
    let lines = log.lines().filter(|line| line.contains(id));
    let word = |line: &str| {
        let word = WORDS.iter().find(|word| line.contains(&format!(" {word} ")));
        *word.unwrap_or_else(|| panic!("no milestone: {line}"))
    };
    lines.map(word).collect()
}

#[test]
fn each_milestone_is_one_line_with_the_id() {
    let receiver = Receiver::start();
    let daemon = Daemon::start(&setup(receiver.port()));
    let api = daemon.api("operator");
    let id = submit(&daemon, "X-Waybill-Hold: manual\r\n");
    for action in ["stop", "restart"] {
        assert_eq!(api.post(&format!("/api/v1/messages/{id}/{action}"), "").unwrap().status, 200);
    }
    api.wait_for_status(&id, "sent");
    let held = submit(&daemon, "X-Waybill-Hold: manual\r\n");
    assert_eq!(api.post(&format!("/api/v1/messages/{held}/release"), "").unwrap().status, 200);
    api.wait_for_status(&held, "sent");
    // The last line is written just after the commit that `wait_for_status` saw.
    let lost = submit(&daemon, "");
    api.wait_for_status(&lost, "sent");
    assert_eq!(milestones(&daemon, &id), ["accepted", "stopped", "restarted", "sent"]);
    assert_eq!(milestones(&daemon, &held), ["accepted", "released", "sent"]);
}

#[test]
fn trouble_of_an_upstream_is_told_in_the_log_and_in_the_queue() {
    // Nobody listens there.
    let daemon = Daemon::start(&setup(crate::support::daemon::free_port()));
    let api = daemon.api("viewer");
    let id = submit(&daemon, "");
    let upstream = loop {
        let queue = api.read("/api/v1/queue");
        let upstream = queue["upstreams"][0].clone();
        if upstream["state"] == "down" {
            break upstream;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!((&upstream["name"], &upstream["connections"]), (&json!("receiver"), &json!(0)));
    assert!(upstream["next_probe_at"].is_string(), "{upstream}");
    assert!(upstream["last_error"].as_str().unwrap().contains("refused"), "{upstream}");
    let told = milestones(&daemon, &id);
    assert_eq!(told.first(), Some(&"accepted"));
    assert!(told.len() > 1 && told[1..].iter().all(|word| *word == "deferred"), "{told:?}");
}

#[test]
fn a_hold_is_no_time_to_send() {
    let receiver = Receiver::start();
    let daemon = Daemon::start(&setup(receiver.port()));
    let api = daemon.api("viewer");
    let id = submit(&daemon, "X-Waybill-Hold: 3s\r\n");
    api.wait_for_status(&id, "sent");
    let upstream = &api.read("/api/v1/queue")["upstreams"][0];
    assert_eq!((&upstream["state"], &upstream["last_error"]), (&json!("up"), &json!(null)));
    assert_eq!((&upstream["connections"], &upstream["idle_connections"]), (&json!(1), &json!(1)));
    let seconds = loop {
        let metrics = daemon.metrics().get("/metrics").unwrap();
        let text = String::from_utf8(metrics.body).unwrap();
        let value = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse().ok());
        let sum = text.lines().find(|line| line.starts_with("waybill_time_to_send_seconds_sum"));
        if let Some(sum) = sum.and_then(value) {
            break sum;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    let seconds: f64 = seconds;
    assert!(seconds < 2.0, "{seconds}");
}
