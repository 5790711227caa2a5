//! Rendering any bytes: only the removed fields are missing, only one `Received` field is added.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use waybill::model::{Digest, MessageId, Timestamp};
use waybill::rewrite::{self, Trace};

fuzz_target!(|input: (&str, &[u8])| {
    let (claim, raw) = input;
    let accepted_at = Timestamp::from_millis(1_795_321_671_000);
    let trace = Trace {
        id: MessageId::new(accepted_at, 7),
        hostname: "gateway.example.com",
        client_helo: claim,
        client_address: "192.0.2.1".parse().expect("an address"),
        protocol: claim,
        tls: Some(claim),
        accepted_at,
        recipient: None,
    };
    let received = rewrite::render(&Bytes::new(), &trace).segments.concat();
    assert!(received.is_ascii() && received.ends_with(b"\r\n"));
    // One field, in lines that are folded: no claim of a client ends it.
    let lines = received.split(|b| *b == b'\n').skip(1).filter(|line| !line.is_empty());
    assert!(lines.into_iter().all(|line| line.starts_with(b"\t")));

    let mut expected = Vec::with_capacity(raw.len());
    let mut at = 0;
    for span in rewrite::removed(raw) {
        assert!(at <= span.start && span.start < span.end && span.end <= raw.len());
        expected.extend_from_slice(&raw[at..span.start]);
        at = span.end;
    }
    expected.extend_from_slice(&raw[at..]);

    let outgoing = rewrite::render(&Bytes::copy_from_slice(raw), &trace);
    let sent = outgoing.segments.concat();
    assert_eq!(outgoing.digest, Digest::of(&sent));
    assert!(rewrite::removed(&sent).is_empty());
    let place = sent.windows(received.len()).position(|w| w == received).expect("the field");
    let rest = [&sent[..place], &sent[place + received.len()..]].concat();
    // An empty line comes in between only where each line would continue the field above it.
    let separated = rest.strip_prefix(b"\r\n").is_some_and(|rest| rest == expected);
    let lines = raw.split(|b| *b == b'\n');
    let continues = |line: &[u8]| line.starts_with(b" ") || line.starts_with(b"\t");
    let mbox = raw.starts_with(b"From ") || raw.starts_with(b">From ");
    let glued = lines.skip(usize::from(mbox)).all(continues);
    assert!(rest == expected || (separated && glued));
});
