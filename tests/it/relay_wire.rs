//! What reaches the upstream is the message and the envelope, to the byte, and nothing else.

use bytes::Bytes;
use proptest::prelude::*;
use waybill::model::envelope::{DsnReturn, Notify, OriginalRecipient};
use waybill::model::{Outcome, Outgoing, ReversePath};

use crate::support::sink::{Script, Sink};
use crate::support::tools;
use crate::support::upstream::{
    MESSAGE, assert_outcomes, attempt, recipient, relay, settings, transaction,
};

/// The first bare CR or LF of what an upstream read, with what stands around it.
fn bare_line_end(wire: &[u8]) -> Option<String> {
    let bare = |&i: &usize| match wire[i] {
        b'\r' => wire.get(i + 1) != Some(&b'\n'),
        b'\n' => i == 0 || wire[i - 1] != b'\r',
        _ => false,
    };
    let at = (0..wire.len()).find(bare)?;
    let around = &wire[at.saturating_sub(20)..wire.len().min(at + 20)];
    Some(around.escape_ascii().to_string())
}

#[tokio::test]
async fn no_content_smuggles_a_second_message() {
    let sink = Sink::start(Script::new()).await;
    let relay = relay(settings(sink.address));
    let ends = [
        "\n.\n",
        "\n.\r\n",
        "\r.\r",
        "\r.\r\n",
        "\r\n.\n",
        "\r\n.\r",
        "\r\r\n.\r\r\n",
        "\r\n\0.\r\n",
        "\r\n.\r\r\n",
        "\r\n.\r\n",
        "\n\n.\n\n",
    ];
    for (number, end) in ends.iter().enumerate() {
        let message = format!(
            "Subject: x\r\n\r\nx{end}MAIL FROM:<evil@x.test>\r\nRCPT TO:<v@x.test>\r\nDATA\r\nevil{end}"
        );
        let outcomes = attempt(&relay, &transaction(&["a@x.test"], message.as_bytes())).await;
        assert_outcomes(&outcomes, &["sent"]);
        assert_eq!(sink.messages().len(), number + 1, "{end:?}");
    }
    let record = sink.record();
    assert!(record.messages.iter().all(|m| m.rcpts == ["RCPT TO:<a@x.test>"]));
    for wire in &record.wires {
        assert_eq!(bare_line_end(wire), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn whatever_the_content_no_bare_line_end_leaves(
        segments in prop::collection::vec(
            prop::collection::vec(prop::sample::select(&b"\r\n.a\0\xff"[..]), 0..40), 0..5)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let sink = Sink::start(Script::new()).await;
            let relay = relay(settings(sink.address));
            let mut transaction = transaction(&["a@x.test"], b"");
            let segments = segments.into_iter().map(Bytes::from).collect();
            transaction.eight_bit = true;
            transaction.message = Outgoing::new(segments);
            assert_outcomes(&attempt(&relay, &transaction).await, &["sent"]);
            let record = sink.record();
            assert_eq!(record.messages.len(), 1);
            assert_eq!(bare_line_end(&record.wires[0]), None);
        });
    }
}

#[tokio::test]
async fn canonical_messages_arrive_to_the_byte() {
    let sink = Sink::start(Script::new()).await;
    let relay = relay(settings(sink.address));
    let large = b"A line of a large message, which is not that long.\r\n..\r\n".repeat(100_000);
    let binary: Vec<u8> = (0..=255).filter(|b| !b"\r\n".contains(b)).chain(*b"\r\n").collect();
    let long_line = [&[b'x'; 500_000][..], b"\r\n"].concat();
    for message in [b"".as_slice(), b"\r\n", b".\r\n", MESSAGE, &binary, &long_line, &large] {
        let transaction = transaction(&["a@x.test"], message);
        let outcomes = relay.attempt(&transaction).await;
        assert!(
            matches!(&outcomes[..], [Outcome::Sent { digest, .. }] if *digest == transaction.message.digest)
        );
        assert!(sink.messages().last().unwrap().bytes == message);
    }
    assert_eq!(sink.record().connections, 1);
}

/// CR, LF and CRLF each as one CRLF, and one at the end.
fn canonical(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 2);
    for (i, &octet) in message.iter().enumerate() {
        match octet {
            b'\n' if i > 0 && message[i - 1] == b'\r' => (),
            b'\r' | b'\n' => out.extend_from_slice(b"\r\n"),
            other => out.push(other),
        }
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[tokio::test]
async fn real_messages_arrive_to_the_byte() {
    let Some(folder) = std::env::var_os("WAYBILL_CORPUS").map(std::path::PathBuf::from) else {
        tools::skip("WAYBILL_CORPUS names no folder");
        return;
    };
    let manifest = std::fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
    let sink = Sink::start(Script::new()).await;
    let relay = relay(settings(sink.address));
    let names = manifest.lines().skip(1).filter_map(|line| line.split('\t').next());
    let mut count = 0;
    for name in names.filter(|name| name.ends_with(".eml")) {
        let message = std::fs::read(folder.join(name)).unwrap();
        let outcomes = attempt(&relay, &transaction(&["a@x.test"], &message)).await;
        assert_outcomes(&outcomes, &["sent"]);
        count += 1;
        let arrived = sink.last_message();
        assert!(arrived.is_some_and(|arrived| arrived.bytes == canonical(&message)), "{name}");
    }
    let record = sink.record();
    assert!(count > 0 && record.messages.len() == count, "{count}");
    assert!(record.wires.iter().all(|wire| bare_line_end(wire).is_none()));
    eprintln!("{count} messages over {} connections", record.connections);
}

#[tokio::test]
async fn parameters_go_where_they_are_understood() {
    let everything = || {
        let mut full = transaction(&["kim@x.test"], "blåbær\r\n".as_bytes());
        full.smtputf8 = true;
        full.ret = Some(DsnReturn::Full);
        full.envid = Some("QQ 314+159".into());
        full.recipients[0].notify = Some(Notify::On { success: true, failure: true, delay: false });
        full.recipients[0].original = Some(OriginalRecipient {
            address_type: "rfc822".into(),
            address: "kim+x@x.test\r\nRSET".into(),
        });
        full
    };
    let sink = Sink::start(Script::new()).await;
    attempt(&relay(settings(sink.address)), &everything()).await;
    let message = &sink.messages()[0];
    assert_eq!(
        message.mail,
        "MAIL FROM:<anna@example.com> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=QQ+20314+2B159"
    );
    let expected =
        "RCPT TO:<kim@x.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;kim+2Bx@x.test+0D+0ARSET";
    assert_eq!(message.rcpts, [expected]);

    let sink = Sink::start(Script::new().without("DSN").without("SIZE")).await;
    attempt(&relay(settings(sink.address)), &everything()).await;
    let message = &sink.messages()[0];
    assert_eq!(message.mail, "MAIL FROM:<anna@example.com> BODY=8BITMIME SMTPUTF8");
    assert_eq!(message.rcpts, ["RCPT TO:<kim@x.test>"]);
}

#[tokio::test]
async fn addresses_keep_their_spelling() {
    let sink = Sink::start(Script::new()).await;
    let relay = relay(settings(sink.address));
    let addresses = ["\"a > b\"@x.test", "Jøran@blåbær.example", "Postmaster", "a@[192.0.2.1]"];
    let mut bounce = transaction(&addresses, MESSAGE);
    bounce.reverse_path = ReversePath::Null;
    assert_outcomes(&attempt(&relay, &bounce).await, &["sent"; 4]);
    let message = &sink.messages()[0];
    assert_eq!(message.mail, "MAIL FROM:<> SIZE=25 SMTPUTF8");
    assert_eq!(message.rcpts, addresses.map(|address| format!("RCPT TO:<{address}>")));
}

#[tokio::test]
async fn a_thousand_recipients_travel_together() {
    let addresses: Vec<String> = (0..1_000).map(|i| format!("user{i}@x.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let refusing = Script::new().say("RCPT TO:<user7", "550 5.1.1 no");
    for script in [refusing.clone(), refusing.without("PIPELINING")] {
        let sink = Sink::start(script).await;
        let relay = relay(settings(sink.address));
        let outcomes = attempt(&relay, &transaction(&addresses, MESSAGE)).await;
        for (index, outcome) in outcomes.iter().enumerate() {
            let refused = index.to_string().starts_with('7');
            let expected = if refused { "permanent recipient 550" } else { "sent" };
            assert!(outcome.starts_with(expected), "{index}: {outcome}");
        }
        let record = sink.record();
        assert_eq!((record.connections, record.messages.len()), (1, 1));
        assert_eq!(record.messages[0].rcpts.len(), 889);
    }
}

#[tokio::test]
async fn recipients_that_are_too_many_get_a_transaction_of_their_own() {
    let mut script = Script::new();
    for i in 0..3 {
        // The first four of each transaction are taken.
        script =
            script.on_first(4, "RCPT", crate::support::sink::Action::Say("250 2.1.5 Ok".into()));
        let rest = 10 - 4 * (i + 1_usize).min(2);
        let reply = crate::support::sink::Action::Say("452 4.5.3 too many".into());
        script = script.on_first(if i < 2 { rest } else { 0 }, "RCPT", reply);
    }
    let sink = Sink::start(script).await;
    let addresses: Vec<String> = (0..10).map(|i| format!("user{i}@x.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let outcomes = attempt(&relay(settings(sink.address)), &transaction(&addresses, MESSAGE)).await;
    assert_outcomes(&outcomes, &["sent"; 10]);
    let record = sink.record();
    let sizes: Vec<usize> = record.messages.iter().map(|m| m.rcpts.len()).collect();
    assert_eq!((record.connections, sizes), (1, vec![4, 4, 2]));
}

#[tokio::test]
async fn an_envelope_of_unlike_recipients_stays_apart() {
    let sink = Sink::start(Script::new()).await;
    let mut both = transaction(&["a@x.test"], MESSAGE);
    let mut quiet = recipient("b@x.test");
    quiet.notify = Some(Notify::Never);
    both.recipients.push(quiet);
    attempt(&relay(settings(sink.address)), &both).await;
    let rcpts = &sink.messages()[0].rcpts;
    assert_eq!(rcpts[..], ["RCPT TO:<a@x.test>", "RCPT TO:<b@x.test> NOTIFY=NEVER"]);
}
