//! Rendering any bytes: only the removed fields are missing, only one `Received` field is added. Tracking any bytes:
//! doing it twice is doing it once, and what is not touched leaves as it would untracked.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use waybill::model::TouchReport;
use waybill::model::{Digest, MessageId, Timestamp};
use waybill::rewrite::{self, PublicUrl, Tokens, Trace, Tracking, Treatment};

struct Numbers;

impl Tokens for Numbers {
    fn open(&self) -> String {
        String::from("open")
    }

    fn click(&self, link: u16, url: &[u8]) -> String {
        assert!(!url.is_empty());
        format!("{link}")
    }
}

/// The message as it leaves to somebody who is tracked, without the field that is put in.
fn tracked(
    raw: &[u8],
    honeypot: bool,
    trace: &Trace<'_>,
    received: &[u8],
) -> (Vec<u8>, TouchReport) {
    let public_url = PublicUrl::parse("https://t.example.com").expect("a URL");
    let tracking = Tracking {
        opens: true,
        clicks: true,
        honeypot,
        public_url: &public_url,
        exclude: &[],
        tokens: &Numbers,
    };
    let treatment = Treatment { tracking: Some(&tracking), ..Treatment::default() };
    let rewrite::Rendition { outgoing, report, .. } =
        rewrite::render_for(&Bytes::copy_from_slice(raw), trace, treatment);
    (without(&outgoing.segments.concat(), received), report)
}

fn without(sent: &[u8], received: &[u8]) -> Vec<u8> {
    let place = sent.windows(received.len()).position(|w| w == received).expect("the field");
    [&sent[..place], &sent[place + received.len()..]].concat()
}

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
    let (once, report) = tracked(raw, claim.is_empty(), &trace, &received);
    if report.rewritten == 0 && !report.pixel {
        assert!(report.untouched_because.is_none() || once == without(&sent, &received));
    }
    let (twice, report) = tracked(&once, claim.is_empty(), &trace, &received);
    assert!(report.rewritten == 0 && !report.pixel && twice == once);

    let rest = [&sent[..place], &sent[place + received.len()..]].concat();
    // An empty line comes in between only where each line would continue the field above it.
    let separated = rest.strip_prefix(b"\r\n").is_some_and(|rest| rest == expected);
    let lines = raw.split(|b| *b == b'\n');
    let continues = |line: &[u8]| line.starts_with(b" ") || line.starts_with(b"\t");
    let mbox = raw.starts_with(b"From ") || raw.starts_with(b">From ");
    let glued = lines.skip(usize::from(mbox)).all(continues);
    assert!(rest == expected || (separated && glued));
});
