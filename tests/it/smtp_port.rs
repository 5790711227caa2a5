//! What the SMTP port promises beyond what is said over it: limits, deadlines, lock-outs, a stop
//! that loses nothing, and memory that a message can not fill.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use waybill::policy::Apps;
use waybill::submission::SmtpSettings;

use crate::support::port::{Port, accepted, app, settings};

/// `\0erp\0wrong`, `\0nobody\0right` and `\0erp\0right` in base64.
const WRONG: &str = "AUTH PLAIN AGVycAB3cm9uZw==";
const UNKNOWN: &str = "AUTH PLAIN AG5vYm9keQByaWdodA==";
const RIGHT: &str = "AUTH PLAIN AGVycAByaWdodA==";

#[tokio::test]
async fn one_connection_too_many_is_told_so() {
    for (total, per_client) in [(2, 10), (10, 2)] {
        let limits = SmtpSettings {
            max_connections: total,
            max_connections_per_client: per_client,
            ..settings()
        };
        let port = Port::open(limits, app(true), accepted()).await;
        let mut first = port.connect().await;
        let mut second = port.connect().await;
        assert!(first.reply().await.starts_with("220 "));
        assert!(second.reply().await.starts_with("220 "));
        let mut third = port.connect().await;
        assert_eq!(third.reply().await, "421 4.7.0 gateway.example: Too many connections");
        assert!(third.is_closed().await);
        assert!(first.ask("QUIT").await.starts_with("221 "));
        drop(first);
        while !port.connect().await.reply().await.starts_with("220 ") {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn silence_and_dripping_end_a_session() {
    let impatient = SmtpSettings { timeout: Duration::from_millis(500), ..settings() };
    let port = Port::open(impatient, app(true), accepted()).await;
    let mut silent = port.connect().await;
    assert!(silent.reply().await.starts_with("220 "));
    assert!(silent.reply().await.starts_with("421 4.4.2 "));
    assert!(silent.is_closed().await);

    let mut dripping = port.connect().await;
    assert!(dripping.reply().await.starts_with("220 "));
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) && dripping.try_send(b"x").await {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if dripping.has_more().await {
            break;
        }
    }
    assert!(dripping.reply().await.starts_with("421 4.4.2 "));
    assert!(began.elapsed() < Duration::from_secs(2), "dripping earned {:?}", began.elapsed());

    let mut in_data = port.connect().await;
    in_data.begin().await;
    assert!(in_data.ask("DATA").await.starts_with("354 "));
    in_data.send(b"half a mess").await;
    assert!(in_data.reply().await.starts_with("421 4.4.2 "));
    assert!(port.door.submissions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn who_guesses_is_locked_out_and_learns_nothing() {
    let port = Port::open(settings(), app(false), accepted()).await;
    let mut replies = Vec::new();
    for guess in [WRONG, UNKNOWN] {
        let mut client = port.connect().await;
        assert!(client.reply().await.starts_with("220 "));
        client.ask("EHLO client.example").await;
        let began = Instant::now();
        replies.push(client.ask(guess).await);
        assert!(began.elapsed() >= Duration::from_millis(290));
    }
    assert_eq!(replies, ["535 5.7.8 Authentication credentials invalid"; 2]);

    let mut guessers = Vec::new();
    for _ in 0..9 {
        let mut client = port.connect().await;
        guessers.push(tokio::spawn(async move {
            client.reply().await;
            client.ask("EHLO client.example").await;
            client.ask(WRONG).await
        }));
    }
    for guesser in guessers {
        assert!(guesser.await.unwrap().starts_with("535 "));
    }
    let mut client = port.connect().await;
    assert!(client.reply().await.starts_with("220 "));
    client.ask("EHLO client.example").await;
    assert!(client.ask(RIGHT).await.starts_with("454 4.7.0 "));
}

#[tokio::test]
async fn a_stop_lets_messages_end_and_turns_the_others_away() {
    let port = Port::usual().await;
    let mut idle = port.connect().await;
    idle.begin().await;
    let mut busy = port.connect().await;
    busy.begin().await;
    assert!(busy.ask("DATA").await.starts_with("354 "));
    busy.send(b"Subject: x\r\n").await;

    let stop = port.stop.clone();
    let stopped = tokio::spawn(async move { stop.finish(Duration::from_secs(10)).await });
    assert!(idle.reply().await.starts_with("421 4.3.2 "));
    assert!(idle.is_closed().await);
    assert_eq!(busy.ask("\r\nHello\r\n.").await, "250 2.0.0 Ok: queued as ID");
    assert!(busy.reply().await.starts_with("421 4.3.2 "));
    drop(busy);
    assert!(stopped.await.unwrap(), "a task had to be dropped");
    assert_eq!(port.door.submissions.lock().unwrap().len(), 1);
    assert!(tokio::net::TcpStream::connect(port.address).await.is_err());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let port = Port::usual().await;
    let mut stuck = port.connect().await;
    stuck.begin().await;
    assert!(stuck.ask("DATA").await.starts_with("354 "));
    assert!(!port.stop.finish(Duration::from_millis(200)).await);
    assert!(stuck.is_closed().await);
    assert!(port.door.submissions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_reload_is_for_those_who_come_next() {
    let port = Port::usual().await;
    let mut before = port.connect().await;
    assert!(before.reply().await.starts_with("220 "));
    port.apps.store(Arc::new(Apps::default()));
    before.ask("EHLO client.example").await;
    assert!(before.ask("MAIL FROM:<a@example.com>").await.starts_with("250 "));
    let mut after = port.connect().await;
    assert!(after.reply().await.starts_with("220 "));
    after.ask("EHLO client.example").await;
    assert!(after.ask("MAIL FROM:<a@example.com>").await.starts_with("530 "));
}

#[tokio::test]
async fn a_full_disk_is_told_at_mail_and_at_the_end_of_a_large_message() {
    let port = Port::usual().await;
    let mut client = port.connect().await;
    client.begin().await;
    std::fs::remove_dir(&port.spool).unwrap();
    assert!(client.ask("DATA").await.starts_with("354 "));
    client.send(&b"0123456789012345678901234567890123456789\r\n".repeat(20_000)).await;
    assert!(client.ask(".").await.starts_with("452 4.3.1 "));
    port.door.full.store(true, Ordering::Relaxed);
    assert!(client.ask("MAIL FROM:<a@example.com>").await.starts_with("452 4.3.1 "));
    port.door.full.store(false, Ordering::Relaxed);
    assert!(client.ask("MAIL FROM:<a@example.com>").await.starts_with("250 "));
    assert!(port.door.submissions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_in_a_message_leaves_nothing() {
    let port = Port::usual().await;
    for begin in ["DATA", "BDAT 10 LAST"] {
        let mut client = port.connect().await;
        client.begin().await;
        client.send(format!("{begin}\r\nabc").as_bytes()).await;
        drop(client);
    }
    assert!(port.stop.finish(Duration::from_secs(10)).await);
    assert!(port.door.submissions.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_known_of_a_client_reaches_the_door() {
    let port = Port::usual().await;
    let mut client = port.connect().await;
    client.begin().await;
    assert!(client.ask("BDAT 0 LAST").await.starts_with("250 "));
    assert!(client.ask(RIGHT).await.starts_with("235 "));
    assert!(client.ask("MAIL FROM:<a@example.com>").await.starts_with("250 "));
    assert!(client.ask("RCPT TO:<b@example.org>").await.starts_with("250 "));
    assert!(client.ask("BDAT 0 LAST").await.starts_with("250 "));
    let submissions = port.door.submissions.lock().unwrap();
    let [first, second] = &submissions[..] else { panic!("{}", submissions.len()) };
    assert_eq!(first.client.helo, "client.example");
    assert_eq!(first.client.gateway, "gateway.example");
    assert!(first.client.address.is_loopback());
    assert_eq!((first.client.protocol.as_str(), &first.client.authenticated), ("ESMTP", &None));
    assert_eq!(second.client.protocol, "ESMTPA");
    assert_eq!(second.client.authenticated.as_deref(), Some("erp"));
    assert_eq!(second.client.tls, None);
}
