//! What comes back by mail ends up at the message and the recipient that it is about, once, and the return
//! path takes nothing else.

use std::sync::Arc;

use arc_swap::ArcSwap;
use waybill::archive::{Accepted, Filter, Message, Order};
use waybill::intake::{Intake, MailArrival};
use waybill::model::{
    Cause, Digest, Direction, Mailbox, Medium, Outcome, RecipientState, Reply, Status,
};
use waybill::policy::{Apps, Routes};
use waybill::rewrite::{SEVERAL, VerpKeys};

use super::support::gateway::app;
use super::support::queue::{accept, get, kinds, message, now};
use super::support::return_path::{BASE, House, dsn, no_such_user};
use super::support::submitter::Submitter;

fn tag(message: &Message) -> String {
    message.tag.as_ref().map(ToString::to_string).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_return_path_takes_mail_to_itself_alone() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    for to in [
        "kim@example.org",
        "bounce@example.org",
        "bounce+token@example.org",
        "bouncer@bounces.example.com",
        "bounce-x@bounces.example.com",
        "postmaster",
        "bounce@bounces.example.com.example.org",
        "x%bounce@bounces.example.com",
    ] {
        let answer = house.tell("", to, "Subject: x\n\nx\n").await;
        assert_eq!((answer.code, answer.text.starts_with("5.7.1")), (550, true), "{to} {answer:?}");
    }
    let port = house.address.port();
    let dialog = move || {
        let mut submitter = Submitter::connect(port).unwrap();
        let mut say = |line: &str| submitter.command(line).unwrap();
        let hello = say("EHLO mx.example.org");
        assert!(!hello.text.contains("AUTH") && !hello.text.contains("STARTTLS"), "{hello:?}");
        assert_eq!(say("AUTH PLAIN AGEAYg==").code / 100, 5);
        assert_eq!(say("MAIL FROM:<>").code, 250);
        assert_eq!(say(&format!("RCPT TO:<{BASE}>")).code, 250);
        assert_eq!(say("RCPT TO:<bounce+x@bounces.example.com>").code, 452);
        assert_eq!(say("RSET").code, 250);
        assert_eq!(say("MAIL FROM:<> SIZE=99999999").code, 552);
    };
    tokio::task::spawn_blocking(dialog).await.unwrap();
    let filter = Filter { direction: Some(Direction::Inbound), ..Filter::default() };
    assert!(house.archive.list(&filter, Order::Newest, None, 10).unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_ends_its_recipient_and_keeps_what_was_said() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    for _ in 0..40 {
        accept(&house.archive, message("another", &["kim@example.org"])).await;
    }
    let sent = house.sent("one", &["a@example.org", "Kim@example.org"]).await;
    accept(&house.archive, message("another", &["kim@example.org"])).await;
    let path = house.path(sent.sequence, 1).to_uppercase();
    // It was forwarded over there: the report names an address that we never wrote to.
    let report = no_such_user("other@elsewhere.example", "unknown");
    let told = house.told("", &path, &report).await;
    let after = get(&house.archive, sent.id);
    assert_eq!(after.recipients[0].state.status(), Status::Sent);
    let RecipientState::Failed { cause: Cause::Bounced { reply, is_hard }, .. } =
        &after.recipients[1].state
    else {
        panic!("{:?}", after.recipients[1].state)
    };
    assert_eq!((reply.to_string().as_str(), *is_hard), ("550 5.1.1 no such user", true));
    assert_eq!(kinds(&house.archive, sent.id), ["accepted", "sent", "sent", "bounced"]);
    assert_eq!(house.bounced(), 1);

    assert_eq!((told.direction, tag(&told).as_str()), (Direction::Inbound, "bounce"));
    assert_eq!(told.app, sent.app);
    assert_eq!(told.references, sent.references);
    let raw = house.archive.raw(told.id).unwrap().unwrap();
    assert_eq!(raw, report.replace('\n', "\r\n").as_bytes());

    let entry = house.suppressed("kim@example.org", "anybody@example.com").unwrap();
    assert_eq!(entry.by, "bounce");
    assert!(entry.reason.contains("no such user"), "{}", entry.reason);
    assert!(entry.expires_at.is_some());
    assert!(house.suppressed("other@elsewhere.example", "anna@example.com").is_none());
    assert!(house.suppressed("a@example.org", "anna@example.com").is_none());

    let again = house.told("", &path, &report).await;
    assert_eq!(again.id, told.id);
    assert_eq!(kinds(&house.archive, sent.id), ["accepted", "sent", "sent", "bounced"]);
    house.stop.request();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_path_of_several_leaves_it_to_the_report() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let sent = house.sent("one", &["a@example.org", "b@example.org", "c@example.org"]).await;
    let path = house.path(sent.sequence, SEVERAL);
    house.told("", &path, &no_such_user("B@Example.ORG", "one")).await;
    let unknown = house.told("", &path, &no_such_user("z@example.org", "one")).await;
    assert_eq!(tag(&unknown), "unmatched");
    let after = get(&house.archive, sent.id);
    let statuses: Vec<Status> = after.recipients.iter().map(|r| r.state.status()).collect();
    assert_eq!(statuses, [Status::Sent, Status::Failed, Status::Sent]);
    // Whoever got it knows the return path, so that it proves nothing about the others.
    assert!(house.suppressed("b@example.org", "anna@example.com").is_none());
    assert!(house.suppressed("z@example.org", "anna@example.com").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_only_names_the_message_silences_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let sent = house.sent("one", &["kim@example.org"]).await;
    let other = house.sent("two", &["kim@example.org"]).await;
    house.told("", BASE, &no_such_user("kim@example.org", "one")).await;
    assert_eq!(get(&house.archive, sent.id).status(), Status::Failed);
    assert_eq!(get(&house.archive, other.id).status(), Status::Sent);
    assert!(house.suppressed("kim@example.org", "anna@example.com").is_none());
    // A token that we did not make is as good as none.
    let forged = VerpKeys::new(&[8; 32], &[]);
    let base = Mailbox::parse(BASE).unwrap();
    let path = forged.return_path(&base, other.sequence, 0).unwrap().to_string();
    let told = house.told("", &path, &no_such_user("nobody@example.org", "unknown")).await;
    assert_eq!(tag(&told), "unmatched");
    assert_eq!(get(&house.archive, other.id).status(), Status::Sent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_only_names_an_address_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let sent = house.sent("one", &["kim@example.org"]).await;
    let told = house.told("", BASE, &no_such_user("kim@example.org", "unknown")).await;
    let after = get(&house.archive, sent.id);
    assert_eq!((after.status(), house.bounced()), (Status::Sent, 0));
    assert_eq!(kinds(&house.archive, sent.id), ["accepted", "sent"]);
    // It is still found beside the message that it may be about.
    assert_eq!((tag(&told).as_str(), &told.references), ("bounce", &sent.references));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_report_is_told_in_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let sent = house.sent("one", &["kim@example.org"]).await;
    let path = house.path(sent.sequence, 0);
    let dsn = |action, status, said| dsn("kim@example.org", action, status, said, "one");
    let told = house.told("", &path, &dsn("delayed", "4.4.1", "451 busy")).await;
    assert_eq!(tag(&told), "delay");
    let told = house.told("", &path, &dsn("delivered", "2.0.0", "250 ok")).await;
    assert_eq!(tag(&told), "delivery");
    let mdn = "From: Kim <kim@example.org>\nTo: x@example.com\nSubject: Read: one\n\
        Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n\
        --b\n\nIt was displayed.\n\n--b\nContent-Type: message/disposition-notification\n\n\
        Final-Recipient: rfc822; kim@example.org\nOriginal-Message-ID: <one@app.example.com>\n\
        Disposition: manual-action/MDN-sent-manually; displayed\n\n--b--\n";
    let told = house.told("kim@example.org", BASE, mdn).await;
    assert_eq!(tag(&told), "read-receipt");
    let complaint = "From: fbl@provider.example\nTo: x@example.com\nSubject: complaint\n\
        Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n\
        --b\n\nA complaint.\n\n--b\nContent-Type: message/feedback-report\n\n\
        Feedback-Type: abuse\nUser-Agent: x/1\nVersion: 1\n\n--b\n\
        Content-Type: message/rfc822\n\nMessage-ID: <one@app.example.com>\nSubject: one\n\nx\n--b--\n";
    let told = house.told("fbl@provider.example", &path, complaint).await;
    assert_eq!(tag(&told), "complaint");
    let kinds = kinds(&house.archive, sent.id);
    assert_eq!(kinds, ["accepted", "sent", "deferred", "delivered", "read", "complained"]);
    let after = get(&house.archive, sent.id);
    assert_eq!(after.status(), Status::Sent);
    assert!(after.recipients[0].delivered_at.is_some());
    let entry = house.suppressed("kim@example.org", "Anna@example.com").unwrap();
    assert_eq!((entry.by.as_str(), entry.expires_at), ("complaint", None));
    assert!(house.suppressed("kim@example.org", "other@example.com").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_and_their_programs_answer_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let sent = house.sent("one", &["kim@example.org"]).await;
    let away = "From: kim@example.org\nTo: x@example.com\nSubject: Out of office: one\n\
        Auto-Submitted: auto-replied\nIn-Reply-To: <one@app.example.com>\n\nI am away.\n";
    let told = house.told("", BASE, away).await;
    assert_eq!((tag(&told).as_str(), &told.references), ("auto-reply", &sent.references));
    assert_eq!(kinds(&house.archive, sent.id), ["accepted", "sent"]);
    let answer = "From: kim@example.org\nTo: x@example.com\nSubject: Re: one\n\
        References: <one@app.example.com>\n\nThank you.\n";
    let told = house.told("kim@example.org", BASE, answer).await;
    assert_eq!((tag(&told).as_str(), &told.references), ("reply", &sent.references));
    assert_eq!(kinds(&house.archive, sent.id), ["accepted", "sent", "replied"]);
    let stranger = "From: eve@example.org\nTo: x@example.com\nSubject: Hello\n\nX-Waybill-Tag: x\n";
    let told = house.told("eve@example.org", BASE, stranger).await;
    assert_eq!((tag(&told).as_str(), told.status()), ("unmatched", Status::Sent));
    // It may be about anybody's mail: nobody sees it who is limited to an app.
    assert_eq!(told.app.as_str(), "unmatched");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_told_once_although_a_crash_came_between() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let sent = house.sent("one", &["kim@example.org"]).await;
    let answer = "Subject: Re: one\nReferences: <one@app.example.com>\n\nThank you.\n";
    // It is archived, and then the daemon dies.
    let mut arrived = message("answer", &[BASE]);
    let Medium::Mail(envelope) = arrived.medium else { panic!() };
    arrived.raw = answer.replace('\n', "\r\n").into();
    let apps = Apps(vec![Arc::new(app("erp", None))]);
    let routes = Arc::new(ArcSwap::from_pointee(Routes { routes: vec![], upstreams: vec![] }));
    let intake = Intake::new(house.archive.clone(), routes, &apps);
    let arrival = MailArrival {
        envelope,
        raw: arrived.raw,
        newlines_fixed: false,
        client: arrived.client,
        about: Some(sent.id),
        tag: "reply",
        is_passed_on: false,
        received_at: now(),
    };
    let apps = Arc::new(apps);
    let first = intake.receive_mail(arrival.clone(), &apps).await.unwrap();
    let Accepted::New(first) = first else { panic!("{first:?}") };
    assert_eq!(kinds(&house.archive, sent.id), ["accepted", "sent"]);
    for _ in 0..2 {
        let again = intake.receive_mail(arrival.clone(), &apps).await.unwrap();
        let Accepted::Repeated(again) = again else { panic!("it is the same answer: {again:?}") };
        assert_eq!(again[0].get(), first[0].get());
        // So it is when it comes through the port.
        assert_eq!(house.told("kim@example.org", BASE, answer).await.id, first[0].get());
        assert_eq!(kinds(&house.archive, sent.id), ["accepted", "sent", "replied"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_settles_what_was_unknown_and_waits_for_what_is_under_way() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let id = house.claimed("one", &["kim@example.org"]).await;
    house.judge(id, 1, Outcome::Unknown { detail: "cut".into() }).await;
    let unsure = get(&house.archive, id);
    assert_eq!(unsure.status(), Status::Pending);
    let path = house.path(unsure.sequence, 0);
    house.told("", &path, &no_such_user("kim@example.org", "one")).await;
    assert_eq!(get(&house.archive, id).status(), Status::Failed);

    let id = house.claimed("two", &["kim@example.org"]).await;
    let path = house.path(get(&house.archive, id).sequence, 0);
    let report = no_such_user("kim@example.org", "two");
    let telling = house.told("", &path, &report);
    let judging = async {
        let inbound = Filter { direction: Some(Direction::Inbound), ..Filter::default() };
        let mut journal = house.archive.journal();
        while house.archive.list(&inbound, Order::Newest, None, 9).unwrap().items.len() < 2 {
            journal.changed().await.unwrap();
        }
        let sent = Outcome::Sent {
            reply: Reply::new(250, None, "ok"),
            digest: Digest::of(b"sent"),
            parts: Vec::new(),
            owes_report: false,
        };
        house.judge(id, 1, sent).await;
    };
    tokio::join!(telling, judging);
    assert_eq!(get(&house.archive, id).status(), Status::Failed);
    assert_eq!(kinds(&house.archive, id), ["accepted", "sent", "bounced"]);
}
