//! Anybody in the world may send to the return path: nobody takes the room of others there, and what proves that
//! it is about our mail is taken beside any flood.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use waybill::feedback::settings::ReturnPathLimits;
use waybill::model::{Mailbox, MessageId, Status};
use waybill::rewrite::{SEVERAL, VerpKeys};

use super::support::port::Client;
use super::support::queue::{get, kinds};
use super::support::return_path::{BASE, House, no_such_user};

const KIB: usize = 1 << 10;
const NO_ROOM: &str = "452 4.3.1 There is no room to store mail now";

/// A client with this address that has said hello.
async fn caller(house: &House, number: u8) -> Client {
    let mut client = house.connect_from([127, 0, 0, number].into()).await;
    assert!(client.reply().await.starts_with("220 "));
    assert!(client.ask("EHLO mx.example.org").await.starts_with("250 "));
    client
}

async fn address_it(client: &mut Client, to: &str) {
    for command in ["MAIL FROM:<>", &format!("RCPT TO:<{to}>")] {
        assert!(client.ask(command).await.starts_with("250 "));
    }
}

/// Sends a message; gives the last reply.
async fn bring(client: &mut Client, to: &str, text: &str) -> String {
    address_it(client, to).await;
    assert!(client.ask("DATA").await.starts_with("354 "));
    client.send(text.replace('\n', "\r\n").as_bytes()).await;
    client.ask(".").await
}

fn is_taken(reply: &str) -> bool {
    reply.starts_with("250 2.0.0 Ok: taken as ")
}

/// Something of about this size.
fn large(subject: &str, size: usize) -> String {
    format!("Subject: {subject}\n\n{}", format!("{}\n", "x".repeat(78)).repeat(size / 80))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_sends_too_much_of_is_refused_and_others_have_their_room() {
    let dir = tempfile::tempdir().unwrap();
    let limits = ReturnPathLimits { kept_bytes: 4 << 20, ..ReturnPathLimits::default() };
    let house = House::with(&dir, limits).await;
    let mut one = caller(&house, 2).await;
    assert_eq!(bring(&mut one, BASE, &large("too large", 2_000 * KIB)).await, NO_ROOM);
    assert!(is_taken(&bring(&mut one, BASE, &large("small", KIB)).await));

    // With one message on its way there is no room for another one of the same client.
    address_it(&mut one, BASE).await;
    let half = large("half", 900 * KIB).replace('\n', "\r\n");
    one.send(format!("BDAT {}\r\n{half}", half.len()).as_bytes()).await;
    assert!(one.reply().await.starts_with("250 "));
    let mut sibling = caller(&house, 2).await;
    let text = large("whole", 900 * KIB);
    assert_eq!(bring(&mut sibling, BASE, &text).await, NO_ROOM);
    let mut other = caller(&house, 3).await;
    let reply = bring(&mut other, BASE, &text).await;
    assert!(is_taken(&reply), "{reply}");
    let id = MessageId::parse(reply.rsplit(' ').next().unwrap()).unwrap();
    assert_eq!(house.archive.raw(id).unwrap().unwrap(), text.replace('\n', "\r\n").as_bytes());
    assert!(is_taken(&one.ask("BDAT 0 LAST").await));
    assert!(is_taken(&bring(&mut sibling, BASE, &text).await));
    assert_eq!(std::fs::read_dir(dir.path().join("spool")).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_have_a_part_of_each_hour_and_what_is_proven_is_taken_beside_them() {
    let dir = tempfile::tempdir().unwrap();
    let limits =
        ReturnPathLimits { strangers_bytes_per_hour: 1 << 20, ..ReturnPathLimits::default() };
    let house = House::with(&dir, limits).await;
    let sent = house.sent("one", &["kim@example.org"]).await;
    let mut one = caller(&house, 2).await;
    assert!(is_taken(&bring(&mut one, BASE, &large("first", 200 * KIB)).await));
    assert_eq!(bring(&mut one, BASE, &large("second", 200 * KIB)).await, NO_ROOM);
    assert!(is_taken(&bring(&mut one, BASE, &large("third", 10 * KIB)).await));
    // A name, or a token that we did not make, is no proof.
    let base = Mailbox::parse(BASE).unwrap();
    let forged = VerpKeys::new(&[8; 32], &[]).return_path(&base, sent.sequence, 0).unwrap();
    let bounce = no_such_user("kim@example.org", "one");
    for to in [BASE.to_owned(), forged.to_string()] {
        let reply = bring(&mut one, &to, &(bounce.clone() + &large("", 200 * KIB))).await;
        assert_eq!(
            (reply.as_str(), get(&house.archive, sent.id).status()),
            (NO_ROOM, Status::Sent)
        );
    }
    // All strangers together have an end as well.
    for number in 3..7 {
        let mut other = caller(&house, number).await;
        let reply = bring(&mut other, BASE, &large(&number.to_string(), 200 * KIB)).await;
        assert!(is_taken(&reply), "{number}: {reply}");
    }
    let mut late = caller(&house, 7).await;
    assert_eq!(bring(&mut late, BASE, &large("late", 200 * KIB)).await, NO_ROOM);

    let path = house.path(sent.sequence, 0);
    for number in 0..5 {
        let text = bounce.clone() + &large(&number.to_string(), 400 * KIB);
        assert!(is_taken(&bring(&mut one, &path, &text).await));
    }
    assert_eq!(get(&house.archive, sent.id).status(), Status::Failed);
    // A complaint comes to the return path itself, and brings the proof in the original.
    let complaint = format!(
        "From: fbl@provider.example\nTo: x@example.com\nSubject: complaint\n\
         Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n\
         --b\n\nA complaint.\n\n--b\nContent-Type: message/feedback-report\n\n\
         Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n\n--b\n\
         Content-Type: message/rfc822\n\nReturn-Path: <{path}>\n{}\n--b--\n",
        large("one", 400 * KIB)
    );
    let reply = bring(&mut late, BASE, &complaint).await;
    assert!(is_taken(&reply), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_say_of_one_message_does_not_fill_its_history() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let addresses: Vec<String> = (0..20).map(|n| format!("r{n}@example.org")).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let sent = house.sent("one", &recipients).await;
    let mut client = caller(&house, 2).await;
    let delayed = nobody_got_it(&addresses, "one").replace("failed", "delayed");
    let mut say = async |to: &str, number: usize| {
        let text = delayed.replace("5.1.1", "4.4.1").replace("550 ", &format!("450 {number} "));
        bring(&mut client, to, &text).await
    };
    for number in 0..10 {
        assert!(is_taken(&say(BASE, number).await));
    }
    assert_eq!(say(BASE, 10).await, NO_ROOM);
    // All recipients of it know this one.
    assert_eq!(say(&house.path(sent.sequence, SEVERAL), 11).await, NO_ROOM);
    assert!(is_taken(&say(&house.path(sent.sequence, 7), 12).await));
    let told = kinds(&house.archive, sent.id);
    assert_eq!(told.iter().filter(|kind| **kind == "deferred").count(), 10 * 20 + 1);
}

/// A delivery report (RFC 3464) of a message with this Message-ID that none of these got.
fn nobody_got_it(recipients: &[String], about: &str) -> String {
    let block = |address: &String| {
        format!(
            "\nFinal-Recipient: rfc822; {address}\nAction: failed\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\n"
        )
    };
    let blocks: String = recipients.iter().map(block).collect();
    format!(
        "From: MAILER-DAEMON@mx.example.org\nTo: {BASE}\nSubject: Report\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\n\nIt is as follows.\n\n--b\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; mx.example.org\n{blocks}\n--b\nContent-Type: text/rfc822-headers\n\n\
         Message-ID: <{about}@app.example.com>\nSubject: the original\n\n--b--\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_about_a_thousand_recipients_costs_a_few_commits() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let addresses: Vec<String> = (0..1_000).map(|n| format!("r{n}@example.org")).collect();
    let recipients: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let sent = house.sent("one", &recipients).await;
    let moves = Arc::new(AtomicUsize::new(0));
    let counting = {
        let (mut journal, moves) = (house.archive.journal(), moves.clone());
        tokio::spawn(async move {
            let mut last = *journal.borrow_and_update();
            while journal.changed().await.is_ok() {
                let now = *journal.borrow_and_update();
                moves.fetch_add(usize::from(now != last), Ordering::Relaxed);
                last = now;
            }
        })
    };
    let report = nobody_got_it(&addresses, "one");
    let told = house.told("", BASE, &report).await;
    let after = get(&house.archive, sent.id);
    assert!(after.recipients.iter().all(|one| one.state.status() == Status::Failed));
    // Its acceptance, and a hundred recipients in each of the others.
    let most = 1 + addresses.len() / 100;
    assert!(moves.load(Ordering::Relaxed) <= most, "{moves:?}");
    let end = *house.archive.journal().borrow();
    assert_eq!(house.told("", BASE, &report).await.id, told.id);
    assert_eq!(*house.archive.journal().borrow(), end, "the same report twice is told once");
    counting.abort();
}
