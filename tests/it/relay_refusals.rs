//! Every recipient gets the outcome that its upstream gave it, whatever the upstream does.

use std::time::Duration;

use waybill::relay::settings::SmtpUpstream;

use crate::support::sink::{Action, CONNECT, END_OF_DATA, Script, Sink};
use crate::support::upstream::{
    MESSAGE, assert_outcomes, attempt, credential, impatient, relay, settings, transaction,
};

/// Three recipients over a new connection; `given` prepares the settings.
async fn outcomes_of(
    script: Script,
    given: fn(std::net::SocketAddr) -> SmtpUpstream,
) -> Vec<String> {
    let sink = Sink::start(script).await;
    let relay = relay(given(sink.address));
    attempt(&relay, &transaction(&["a@x.test", "b@x.test", "c@x.test"], MESSAGE)).await
}

async fn check(script: Script, expected: &[&str]) {
    for script in [script.clone(), script.without("PIPELINING")] {
        assert_outcomes(&outcomes_of(script, settings).await, expected);
    }
}

/// For peers that let the relay wait.
async fn check_impatiently(script: Script, expected: &[&str]) {
    for script in [script.clone(), script.without("PIPELINING")] {
        assert_outcomes(&outcomes_of(script, impatient).await, expected);
    }
}

#[tokio::test]
async fn a_refused_recipient_is_refused_alone() {
    check(
        Script::new()
            .say("RCPT TO:<b", "550 5.1.1 no such user")
            .say("RCPT TO:<c", "450-4.2.0 over\r\n450 4.2.0 quota"),
        &[
            "sent 250 2.0.0 Ok: queued",
            "permanent recipient 550 5.1.1 no",
            "temporary recipient 450 4.2.0 over quota",
        ],
    )
    .await;
}

#[tokio::test]
async fn enhanced_codes_are_not_clipped() {
    let expected = ["permanent recipient 550 5.7.509 access denied"; 3];
    check(Script::new().say("RCPT", "550 5.7.509 Access denied"), &expected).await;
}

#[tokio::test]
async fn when_every_recipient_is_refused_nothing_is_sent() {
    let script = Script::new().say("RCPT", "550 5.1.1 no");
    check(script.clone(), &["permanent recipient 550 5.1.1"; 3]).await;
    // A server that wants the message all the same gets an empty one, and keeps nothing.
    let eager = script.say("DATA", "354 go on");
    let sink = Sink::start(eager).await;
    let relay = relay(settings(sink.address));
    for _ in 0..2 {
        let outcomes = attempt(&relay, &transaction(&["a@x.test"], MESSAGE)).await;
        assert_outcomes(&outcomes, &["permanent recipient 550"]);
    }
    let record = sink.record();
    assert_eq!((record.connections, record.messages.len()), (1, 0));
    assert!(memchr::memmem::find(&record.wires[0], b"Hello").is_none());
}

#[tokio::test]
async fn a_refused_mail_reaches_the_whole_message() {
    check(Script::new().say("MAIL", "550 5.1.8 bad sender"), &["permanent message 550 5.1.8"; 3])
        .await;
    check(Script::new().say("MAIL", "451 4.3.0 later"), &["temporary message 451 4.3.0"; 3]).await;
    check(Script::new().say("MAIL", "421 4.3.2 bye"), &["temporary session 421 4.3.2"; 3]).await;
    let eager = Script::new().say("MAIL", "550 no").say("RCPT", "250 ok").say("DATA", "354 go on");
    check(eager, &["permanent message 550"; 3]).await;
}

#[tokio::test]
async fn the_operators_mistake_fails_no_mail() {
    let locked = Script::new().auth("erp", "secret");
    check(locked.clone(), &["temporary upstream 530 5.7.0"; 3]).await;
    let wrong =
        |address| SmtpUpstream { credential: credential("erp", "guess"), ..settings(address) };
    assert_outcomes(
        &outcomes_of(locked.clone(), wrong).await,
        &["temporary upstream 535 5.7.8"; 3],
    );
    let right =
        |address| SmtpUpstream { credential: credential("erp", "secret"), ..settings(address) };
    assert_outcomes(&outcomes_of(locked, right).await, &["sent"; 3]);
    assert_outcomes(
        &outcomes_of(Script::new(), right).await,
        &["temporary upstream auth failed"; 3],
    );
}

#[tokio::test]
async fn a_refused_message_is_refused_for_those_who_were_left() {
    let first = Script::new().say("RCPT TO:<a", "550 5.1.1 no");
    check(
        first.clone().say("DATA", "451 4.3.0 no room"),
        &["permanent recipient 550", "temporary message 451", "temporary message 451"],
    )
    .await;
    check(
        first.clone().say(END_OF_DATA, "554 5.7.1 spam"),
        &["permanent recipient 550", "permanent message 554 5.7.1", "permanent message 554 5.7.1"],
    )
    .await;
    check(
        first.say(END_OF_DATA, "421 4.3.2 bye"),
        &["permanent recipient 550", "temporary session 421", "temporary session 421"],
    )
    .await;
    check(Script::new().say(END_OF_DATA, "452 4.3.1 full"), &["temporary message 452"; 3]).await;
}

#[tokio::test]
async fn a_session_that_ends_before_the_dot_sent_nothing() {
    let lost = ["temporary session"; 3];
    check(Script::new().on("RCPT TO:<b", Action::SayAndClose("421 4.4.2 bye".into())), &lost).await;
    check(Script::new().on("RCPT TO:<b", Action::Close), &lost).await;
    check(Script::new().on("RCPT TO:<b", Action::Reset), &lost).await;
    check(Script::new().on("DATA", Action::Close), &lost).await;
    // What was said before the end still stands.
    check(
        Script::new().say("RCPT TO:<a", "550 5.1.1 no").on("DATA", Action::Close),
        &["permanent recipient 550", "temporary session", "temporary session"],
    )
    .await;
    check_impatiently(Script::new().on("RCPT TO:<b", Action::Silence), &lost).await;
    check_impatiently(Script::new().on("DATA", Action::Silence), &lost).await;
    check_impatiently(
        Script::new().on("MAIL", Action::Drip(b"250 2.1.0".to_vec(), Duration::from_millis(200))),
        &lost,
    )
    .await;
}

#[tokio::test]
async fn a_reset_in_a_large_message_sent_nothing() {
    let sink = Sink::start(Script::new().in_data(200_000, Action::Reset)).await;
    let relay = relay(settings(sink.address));
    let message = b"0123456789abcdef\r\n".repeat(1_000_000);
    let outcomes = attempt(&relay, &transaction(&["a@x.test"], &message)).await;
    assert_outcomes(&outcomes, &["temporary session"]);
    assert!(sink.messages().is_empty());
}

#[tokio::test]
async fn an_upstream_that_stops_taking_a_message_is_left() {
    let message = b"0123456789abcdef\r\n".repeat(1_000_000);
    for (script, expected) in [
        (
            Script::new().on("DATA", Action::SayAndStall("354 go".into())),
            "temporary session no answer",
        ),
        // Some say why.
        (
            Script::new().in_data(200_000, Action::SayAndStall("552 5.3.4 too big".into())),
            "permanent message 552 5.3.4",
        ),
        (
            Script::new().in_data(200_000, Action::SayAndStall("421 4.3.2 bye".into())),
            "temporary session 421 4.3.2",
        ),
        (
            Script::new().in_data(200_000, Action::SayAndStall("250 2.0.0 thanks".into())),
            "temporary session no answer",
        ),
    ] {
        let sink = Sink::start(script).await;
        let relay = relay(impatient(sink.address));
        let outcomes = attempt(&relay, &transaction(&["a@x.test"], &message)).await;
        assert_outcomes(&outcomes, &[expected]);
        assert!(sink.messages().is_empty());
    }
}

#[tokio::test]
async fn a_reply_too_many_is_never_taken_for_the_last_one() {
    let early = Script::new().say("DATA", "354 go\r\n250 2.0.0 Ok: queued");
    check(early, &["temporary session"; 3]).await;
    let twice = Script::new().say("RCPT TO:<a", "250 2.1.5 Ok\r\n250 2.1.5 Ok");
    check(twice, &["temporary session"; 3]).await;
}

#[tokio::test]
async fn after_the_dot_only_a_reply_decides() {
    let unknown = ["unknown the end of the message was not answered"; 3];
    check(Script::new().on(END_OF_DATA, Action::Close), &unknown).await;
    check(Script::new().on(END_OF_DATA, Action::Reset), &unknown).await;
    // So small a message is out, dot and all, before anybody can see the reset.
    check(Script::new().in_data(1, Action::Reset), &unknown).await;
    check_impatiently(Script::new().on(END_OF_DATA, Action::Raw(b"250".to_vec())), &unknown).await;
    check(Script::new().on(END_OF_DATA, Action::Raw(b"what?\r\n".to_vec())), &unknown).await;
    check(Script::new().on(END_OF_DATA, Action::Raw(b"354 more\r\n".to_vec())), &unknown).await;
    check_impatiently(Script::new().on(END_OF_DATA, Action::Silence), &unknown).await;
    let drip = Action::Drip(b"250 2.0.0 Ok\r\n".to_vec(), Duration::from_millis(100));
    check_impatiently(Script::new().on(END_OF_DATA, drip), &unknown).await;
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_tried_later() {
    let check_upstream = |script: Script, words: &'static str| async move {
        let outcomes = outcomes_of(script, impatient).await;
        let expected = format!("temporary upstream {words}");
        assert_outcomes(&outcomes, &[expected.as_str(); 3]);
    };
    check_upstream(Script::new().on(CONNECT, Action::Silence), "the greeting failed: no answer")
        .await;
    check_upstream(Script::new().on(CONNECT, Action::Close), "the greeting failed").await;
    check_upstream(Script::new().on(CONNECT, Action::Raw(b"22".to_vec())), "the greeting failed")
        .await;
    check_upstream(Script::new().say(CONNECT, "554 5.3.2 go away"), "554 5.3.2 go away").await;
    check_upstream(Script::new().say(CONNECT, "421 busy"), "421 busy").await;
    check_upstream(Script::new().say(CONNECT, "SSH-2.0-OpenSSH"), "the greeting failed").await;
    check_upstream(Script::new().on("EHLO", Action::Silence), "ehlo failed: no answer").await;
    check_upstream(Script::new().on("EHLO", Action::Close), "ehlo failed").await;
    check_upstream(Script::new().say("EHLO", "550 5.7.1 not you"), "550 5.7.1 not you").await;
    let drip = Action::Drip(b"220 sink.test".to_vec(), Duration::from_millis(100));
    check_upstream(Script::new().on(CONNECT, drip), "the greeting failed: no answer").await;

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let outcomes = attempt(&relay(settings(closed)), &transaction(&["a@x.test"], MESSAGE)).await;
    assert_outcomes(&outcomes, &["temporary upstream connecting to 127.0.0.1"]);
    let mut nowhere = settings(closed);
    nowhere.host = "no-such-host.invalid".into();
    let outcomes = attempt(&relay(nowhere), &transaction(&["a@x.test"], MESSAGE)).await;
    assert_outcomes(&outcomes, &["temporary upstream cannot find the address"]);
}

#[tokio::test]
async fn endless_replies_are_cut_off() {
    let lost = ["temporary session the upstream does not speak smtp"; 3];
    let lines = Action::Flood(b"250-and another thing\r\n".repeat(100));
    check(Script::new().on("MAIL", lines.clone()), &lost).await;
    let line = Action::Flood(vec![b'x'; 64 * 1024]);
    check(Script::new().on("MAIL", line.clone()), &lost).await;
    check(Script::new().on(END_OF_DATA, line.clone()), &["unknown"; 3]).await;
    check(Script::new().on(CONNECT, line), &["temporary upstream the greeting failed"; 3]).await;
    check(Script::new().on("EHLO", lines), &["temporary upstream ehlo failed"; 3]).await;
}

#[tokio::test]
async fn replies_are_safe_to_show() {
    let script = Script::new().say("RCPT", "550 5.1.1 \u{1b}[2J\u{7}no\u{0}");
    let outcomes = outcomes_of(script, settings).await;
    assert!(outcomes.iter().all(|o| !o.contains(char::is_control)), "{outcomes:?}");
}

#[tokio::test]
async fn odd_but_honest_servers_are_understood() {
    let sent = ["sent"; 3];
    check(Script::new().on("DATA", Action::Say("354".into())), &sent).await;
    check(Script::new().say("RCPT", "251 2.1.5 forwarded"), &sent).await;
    check(Script::new().say(END_OF_DATA, "250"), &["sent 250"; 3]).await;
    let slow = Script::new().on("RCPT", Action::Delay(Duration::from_millis(20)));
    check(slow, &sent).await;
    for ehlo in [
        "250 sink.test",
        "250-sink.test Hello [127.0.0.1], pleased to meet you\r\n250-SIZE\r\n250 HELP",
        "250-sink.test\r\n250-AUTH=LOGIN PLAIN\r\n250-XCLIENT NAME ADDR\r\n250 pipelining",
        "250-sink.test\r\n250-SIZE 99999999999999999999999999\r\n250 8BITMIME",
        "250-sink.test\r\n250-X-UNKNOWN 1 2 3\r\n250-\r\n250 DSN",
    ] {
        check(Script::new().say("EHLO", ehlo), &sent).await;
    }
    let ancient = Script::new().say("EHLO", "502 5.5.1 not implemented");
    check(ancient, &sent).await;
}

#[tokio::test]
async fn what_the_upstream_cannot_carry_is_refused_unchanged() {
    let eight_bit = "Subject: x\r\n\r\nblåbær\r\n".as_bytes();
    let sink = Sink::start(
        Script::new().without("8BITMIME").without("SMTPUTF8").without("SIZE").with("SIZE 100"),
    )
    .await;
    let relay = relay(settings(sink.address));
    let outcomes = attempt(&relay, &transaction(&["a@x.test"], eight_bit)).await;
    assert_outcomes(&outcomes, &["permanent message 5.6.3"]);
    let outcomes = attempt(&relay, &transaction(&["jøran@x.test"], MESSAGE)).await;
    assert_outcomes(&outcomes, &["permanent message 5.6.7 an address"]);
    let mut flagged = transaction(&["a@x.test"], MESSAGE);
    flagged.smtputf8 = true;
    assert_outcomes(&attempt(&relay, &flagged).await, &["permanent message 5.6.7 the message"]);
    let outcomes = attempt(&relay, &transaction(&["a@x.test"], &[b'x'; 101])).await;
    assert_outcomes(&outcomes, &["permanent message 5.3.4"]);
    // The connection is still good for what it can carry.
    assert_outcomes(&attempt(&relay, &transaction(&["a@x.test"], MESSAGE)).await, &["sent"]);
    assert_eq!(sink.record().connections, 1);
    assert!(relay.is_available(std::time::Instant::now()));
}

#[tokio::test]
async fn an_empty_transaction_is_nothing() {
    let sink = Sink::start(Script::new()).await;
    assert!(relay(settings(sink.address)).attempt(&transaction(&[], MESSAGE)).await.is_empty());
    assert_eq!(sink.record().connections, 0);
}
