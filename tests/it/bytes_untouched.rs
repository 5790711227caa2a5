//! The bytes of a message that is not rewritten are relayed unchanged: a `Received` field is added,
//! the fields that steer and `Bcc` are taken out, and every other byte stays.

use bytes::Bytes;
use proptest::prelude::*;
use waybill::mime;
use waybill::model::{Digest, ForwardPath, MessageId, Outgoing, Timestamp};
use waybill::rewrite::{self, Trace};

fn trace<'a>() -> Trace<'a> {
    let accepted_at = Timestamp::from_millis(1_795_321_671_000);
    Trace {
        id: MessageId::new(accepted_at, 7),
        hostname: "gateway.example.com",
        client_helo: "erp.example.com",
        client_address: "192.0.2.1".parse().unwrap(),
        protocol: "ESMTPSA",
        tls: Some("TLSv1.3 TLS_AES_256_GCM_SHA384"),
        accepted_at,
        recipient: None,
    }
}

fn bytes(outgoing: &Outgoing) -> Vec<u8> {
    outgoing.segments.concat()
}

fn rendered(raw: &str) -> String {
    let outgoing = rewrite::render(&Bytes::copy_from_slice(raw.as_bytes()), &trace());
    assert_eq!(outgoing.digest, Digest::of(&bytes(&outgoing)));
    String::from_utf8(bytes(&outgoing)).unwrap()
}

/// The field that `trace` gives.
const RECEIVED: &str = "Received: from erp.example.com ([192.0.2.1]) by gateway.example.com (Waybill)\r\n\
    \twith ESMTPSA (TLSv1.3 TLS_AES_256_GCM_SHA384) id 01M80R5BAR0000000000000007;\r\n\
    \tSun, 22 Nov 2026 04:27:51 +0000\r\n";

#[test]
fn what_steers_or_gives_away_is_cut_out() {
    let check = |raw: &str, rest: &str| assert_eq!(rendered(raw), format!("{RECEIVED}{rest}"));
    check("X-Waybill-Tag: a\r\n\r\nbody\r\n", "\r\nbody\r\n");
    check("A: b\r\nx-waybill-HOLD:\r\n manual\r\n\t x\r\nC: d\r\n\r\n", "A: b\r\nC: d\r\n\r\n");
    check("Bcc: a@b\r\nA: b\r\nBCC : c@d\r\nbcc:e@f\r\n\r\n", "A: b\r\n\r\n");
    check("Resent-Bcc: a@b\r\nA: b\r\n", "A: b\r\n");
    check("A: b\r\nBcc: a@b", "A: b\r\n");
    check("A: b\nBcc: a@b\n c@d\nE: f\n\nBcc: x\n", "A: b\nE: f\n\nBcc: x\n");
    check("junk\r\nBcc: a@b\r\n\r\nbody", "junk\r\n\r\nbody");
    for name in ["Reference", "Tag", "Hold", "Send-At", "Track", "Sender"] {
        check(&format!("X-Waybill-{name}: x\r\nA: b\r\n\r\n"), "A: b\r\n\r\n");
    }
}

#[test]
fn everything_else_stays() {
    for raw in [
        "",
        "\r\n",
        "\r\nBcc: in the body\r\n",
        "no line break",
        "no field\r\nA: b\r\n",
        "A: b",
        "A: b\r\n",
        "A: b\r\n\r\n",
        "A: b\n\nlf only\n",
        "A: b\r\n\r\nX-Waybill-Tag: in the body\r\n",
        "A: b\r\n\r\n--x\r\nBcc: in a part\r\n\r\n--x--",
        "A:  b \t\r\n  \r\n\u{e5}\u{0}\r\n\r\n.\r\n..\r\n",
        "X-Waybill-Id: is not ours\r\nXBcc: a\r\nBcc-: b\r\n",
        "Received: from a by b; c\r\nDKIM-Signature: v=1;\r\n b=x\r\n\r\n",
    ] {
        assert_eq!(rendered(raw), format!("{RECEIVED}{raw}"), "{raw:?}");
    }
}

#[test]
fn first_lines_keep_their_meaning() {
    let check = |raw: &str, expected: &str| assert_eq!(rendered(raw), expected, "{raw:?}");
    let mbox = "From a@b Mon Jan  1 00:00:00 2026\r\n";
    check(&format!("{mbox}A: b\r\n\r\n"), &format!("{mbox}{RECEIVED}A: b\r\n\r\n"));
    check(&format!("{mbox}Bcc: b\r\n\r\n"), &format!("{mbox}{RECEIVED}\r\n"));
    check(" fold\r\n\tfold\r\nA: b\r\n", &format!(" fold\r\n\tfold\r\n{RECEIVED}A: b\r\n"));
    check(" \r\n\r\nbody", &format!(" \r\n{RECEIVED}\r\nbody"));
    // Without a line break there is no place that does not change the line.
    check("From: x", &format!("{RECEIVED}From: x"));
    check("From : x\r\n", &format!("{RECEIVED}From : x\r\n"));
    check("From \t : x\r\n", &format!("{RECEIVED}From \t : x\r\n"));
    // A line that can not be kept apart in any other way gets an empty line before it.
    check(" x", &format!("{RECEIVED}\r\n x"));
    check(" x\r\n\ty", &format!("{RECEIVED}\r\n x\r\n\ty"));
}

#[test]
fn nothing_that_a_client_claims_leaves_its_place() {
    let hostile = "a)\r\nBcc: x@y\r\n\r\nbody (; id 1 \\\u{e5}\0";
    let mut trace = trace();
    (trace.client_helo, trace.protocol, trace.tls) = (hostile, hostile, Some(hostile));
    let outgoing = bytes(&rewrite::render(&Bytes::from_static(b"A: b\r\n\r\n"), &trace));
    let names: Vec<_> = mime::fields(&outgoing).map(|f| f.name.to_vec()).collect();
    assert_eq!(names, [&b"Received"[..], b"A"]);
    let received = mime::fields(&outgoing).next().unwrap().span;
    let received = std::str::from_utf8(&outgoing[received]).unwrap();
    assert!(received.is_ascii() && received.matches(';').count() == 1, "{received:?}");
    assert_eq!(received.matches('(').count(), received.matches(')').count(), "{received:?}");
}

#[test]
fn received_says_how_it_came() {
    let field = |trace: &Trace<'_>| {
        let raw = bytes(&rewrite::render(&Bytes::new(), trace));
        let field = mime::fields(&raw).next().unwrap();
        String::from_utf8(field.unfolded().into_owned()).unwrap()
    };
    let path = ForwardPath::parse("\"kim k\"@example.org").unwrap();
    let mut trace = trace();
    trace.recipient = Some(&path);
    assert!(field(&trace).contains("for <\"kim k\"@example.org>; Sun, 22 Nov"));
    let path = ForwardPath::parse("j\u{f8}ran@example.org").unwrap();
    trace.recipient = Some(&path);
    assert!(!field(&trace).contains("for <"));
    trace.recipient = None;
    trace.client_address = "2001:db8::1".parse().unwrap();
    trace.client_helo = "not a name";
    assert!(field(&trace).starts_with("from [IPv6:2001:db8::1] (helo=not a name) by "));
    trace.client_helo = "[10.0.0.7]";
    trace.client_address = "::ffff:192.0.2.1".parse().unwrap();
    assert!(field(&trace).starts_with("from [10.0.0.7] ([192.0.2.1]) by "));
    let raw = bytes(&rewrite::render(&Bytes::new(), &trace));
    assert_eq!(mime::hops(&raw, "gateway.example.com").own, 1);
}

#[test]
fn lines_of_received_are_short() {
    let host = format!("{}.example.com", "h".repeat(50));
    let path = ForwardPath::parse(&format!("{}@example.org", "r".repeat(60))).unwrap();
    let mut trace = trace();
    (trace.hostname, trace.client_helo, trace.recipient) = (&host, &host, Some(&path));
    let raw = bytes(&rewrite::render(&Bytes::new(), &trace));
    for line in std::str::from_utf8(&raw).unwrap().lines() {
        assert!(line.len() <= 78, "{line:?}");
    }
}

/// Header sections and bodies as senders and attackers write them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("Subject: x"),
        Just("Bcc: a@b"),
        Just("bcc :c@d,"),
        Just("X-WAYBILL-hold: manual"),
        Just("X-Waybill-Reference: INV-1"),
        Just("Received: by gateway.example.com (Waybill); x"),
        Just(" folded"),
        Just("\t"),
        Just(""),
        Just("junk"),
        Just("From a@b"),
        Just(": no name"),
        Just("\u{e5}: x"),
    ];
    let end = prop_oneof![8 => Just("\r\n"), 2 => Just("\n"), 1 => Just("\r\r\n"), 1 => Just("")];
    let text = prop::collection::vec((line, end), 0..20)
        .prop_map(|lines| lines.into_iter().flat_map(|(l, e)| [l, e]).collect::<String>());
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    (text, noise).prop_map(|(text, noise)| [text.into_bytes(), noise].concat())
}

proptest! {
    #[test]
    fn only_removed_spans_are_missing(raw in message()) {
        let removed = rewrite::removed(&raw);
        let mut at = 0;
        let mut expected = Vec::new();
        for span in &removed {
            prop_assert!(at <= span.start && span.start < span.end && span.end <= raw.len());
            expected.extend_from_slice(&raw[at..span.start]);
            at = span.end;
        }
        expected.extend_from_slice(&raw[at..]);

        let outgoing = rewrite::render(&Bytes::from(raw.clone()), &trace());
        let mut sent = bytes(&outgoing);
        prop_assert_eq!(outgoing.digest, Digest::of(&sent));
        let received = sent.windows(RECEIVED.len()).position(|w| w == RECEIVED.as_bytes());
        let received = received.expect("the field stands in one piece");
        prop_assert!(received == 0 || sent[received - 1] == b'\n');
        sent.drain(received..received + RECEIVED.len());
        let continues = |line: &[u8]| line.starts_with(b" ") || line.starts_with(b"\t");
        let mbox = usize::from(raw.starts_with(b"From ") && raw.contains(&b'\n'));
        if raw.split(|b| *b == b'\n').skip(mbox).all(continues) {
            prop_assert_eq!(sent.strip_prefix(b"\r\n"), Some(&expected[..]));
        } else {
            prop_assert_eq!(sent, expected);
        }
    }

    #[test]
    fn what_is_read_again_is_the_original_without_those_fields(raw in message()) {
        let sent = bytes(&rewrite::render(&Bytes::from(raw.clone()), &trace()));
        prop_assert!(rewrite::removed(&sent).is_empty());
        let kept = |raw: &[u8], own: &str| -> Vec<Vec<u8>> {
            let all = mime::all_fields(raw).filter(|f| {
                let name = String::from_utf8_lossy(f.name).to_ascii_lowercase();
                let text = String::from_utf8_lossy(&raw[f.span.clone()]).into_owned();
                !name.starts_with("x-waybill-") && name != "bcc" && text != own
            });
            all.map(|f| raw[f.span].to_vec()).collect()
        };
        let separated = sent.get(RECEIVED.len()..).is_some_and(|rest| rest.starts_with(b"\r\n"));
        if !separated {
            prop_assert_eq!(kept(&sent, RECEIVED), kept(&raw, ""));
        }
    }

    #[test]
    fn the_same_record_gives_the_same_bytes(raw in message()) {
        let raw = Bytes::from(raw);
        prop_assert_eq!(rewrite::render(&raw, &trace()).digest, rewrite::render(&raw, &trace()).digest);
    }
}
