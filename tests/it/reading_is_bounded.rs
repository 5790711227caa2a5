//! Any bytes can be read: no panic, no deep stack, time in proportion to the length, and a message
//! that is beyond a limit is told so instead of refused.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use waybill::mime::{self, Reading};

/// Reads on a thread with the stack of a worker, and not for long.
fn read(raw: Vec<u8>) -> Reading {
    let size = raw.len();
    let start = Instant::now();
    let thread = std::thread::Builder::new().stack_size(2 << 20);
    let reading = thread
        .spawn(move || {
            let reading = mime::read(&raw);
            mime::text(&raw);
            mime::html(&raw);
            mime::attachment(&raw, 0);
            mime::hops(&raw, "gw");
            check(&raw, &reading);
            reading
        })
        .unwrap()
        .join()
        .unwrap();
    // Without optimisation some 20 MB/s are read several times; the quadratic would take minutes.
    assert!(start.elapsed() < Duration::from_secs(20), "{size} bytes: {:?}", start.elapsed());
    reading
}

/// What holds for the reading of any bytes.
fn check(raw: &[u8], reading: &Reading) {
    let mut at = 0;
    for span in &reading.shared {
        assert!(at <= span.start && span.len() >= 16 * 1024 && span.end <= raw.len());
        at = span.end;
    }
    assert!(reading.preview.chars().count() <= 200);
    assert_eq!(reading.eight_bit, !raw.is_ascii());
    let printable = |text: &str| !text.chars().any(char::is_control);
    assert!(printable(&reading.preview));
    assert!(reading.subject.iter().all(|s| printable(s) && s.chars().count() <= 1000));
    for attachment in &reading.attachments {
        let name = attachment.filename.as_deref().unwrap_or("x");
        assert!(printable(name) && !name.contains(['/', '\\']) && name.chars().count() <= 150);
        assert!(
            attachment.content_type.is_ascii() && attachment.size_bytes <= 2 * raw.len() as u64
        );
    }
}

fn has(reading: &Reading, defect: &str) -> bool {
    reading.defects.iter().any(|d| d.contains(defect))
}

#[test]
fn nesting_is_limited() {
    let mut raw = String::from("From: a@b\r\nDate: x\r\n");
    for depth in 0..50_000 {
        raw += &format!("Content-Type: multipart/mixed; boundary=b{depth}\r\n\r\n--b{depth}\r\n");
    }
    let reading = read(raw.into_bytes());
    assert!(has(&reading, "nested deeper than 100"), "{:?}", reading.defects);
    assert_eq!(reading.attachments.len(), 1);
    let nested = "Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    assert_eq!(read(nested.into_bytes()).attachments.len(), 1);
}

#[test]
fn parts_are_limited() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let part = "--b\r\nContent-Type: image/png\r\n\r\nx\r\n";
    let reading = read(format!("{head}{}", part.repeat(50_000)).into_bytes());
    assert!(has(&reading, "more than 10000 parts"));
    assert_eq!(reading.attachments.len(), 9_999);
    let empty = read(format!("{head}{}", "--b\n".repeat(200_000)).into_bytes());
    assert!(has(&empty, "more than 10000 parts"));
}

#[test]
fn boundaries_that_never_come_cost_one_pass() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    let lost = "--b\r\nContent-Type: multipart/mixed; boundary=never\r\n\r\n--neve\r\n--\r\n";
    let reading = read(format!("{head}{}", lost.repeat(9_000)).into_bytes());
    assert!(has(&reading, "has no parts") && has(&reading, "not closed"));
    let dashes = format!(
        "Content-Type: multipart/mixed; boundary=\"{0}\"\r\n\r\n{1}",
        "-".repeat(200),
        "-".repeat(4 << 20)
    );
    read(dashes.into_bytes());
    let lines = format!(
        "Content-Type: multipart/mixed; boundary=\"{0}x\"\r\n\r\n{1}",
        "-".repeat(69),
        format!("{}\r\n", "-".repeat(71)).repeat(50_000)
    );
    read(lines.into_bytes());
}

#[test]
fn header_sections_are_limited() {
    let many = read("Subject: x\r\n".repeat(300_000).into_bytes());
    assert!(has(&many, "too large to be read") && has(&many, "more than one Subject"));
    read(format!("Subject: {}\r\n\r\n", "x".repeat(4 << 20)).into_bytes());
    read(format!("Subject:{}\r\n\r\n", "\r\n x".repeat(1 << 20)).into_bytes());
    read("no field\r\n".repeat(400_000).into_bytes());
    read("\r".repeat(4 << 20).into_bytes());
    read("\n".repeat(4 << 20).into_bytes());
    read(":".repeat(4 << 20).into_bytes());
}

#[test]
fn values_that_multiply_are_bounded() {
    for value in [
        "=?ab?q? ".repeat(30_000),
        "=?utf-8?q?x\r\n ".repeat(20_000),
        "=?".repeat(120_000),
        "=?utf-8?b?".repeat(25_000),
        "(".repeat(250_000),
        "\"".repeat(250_000),
        "<".repeat(250_000),
        "a:".repeat(125_000),
        "a:;".repeat(80_000),
        ",".repeat(250_000),
        "\\".repeat(250_000),
        "a@b,".repeat(60_000),
        "=?utf-8?q?x?= <a@b>,".repeat(12_000),
    ] {
        for name in ["Subject", "From", "To", "Message-ID", "Content-Type", "Content-ID"] {
            let reading = read(format!("{name}: {value}\r\n\r\n").into_bytes());
            assert!(reading.to.len() <= 2_000);
        }
    }
    let pieces: String = (1..20_000).map(|i| format!(" name*{i}=xxxx;\r\n")).collect();
    read(format!("Content-Type: image/png;\r\n{pieces}\r\n\r\n").into_bytes());
    let names: String = (1..20_000).map(|i| format!(" a{i}*1=x;\r\n")).collect();
    read(format!("Content-Type: image/png;\r\n{names}\r\n\r\n").into_bytes());
}

#[test]
fn bodies_that_grow_are_cut() {
    let latin = format!(
        "Content-Type: text/plain; charset=iso-8859-1\r\n\r\n{}",
        "\u{e5}".repeat(20 << 20)
    );
    let raw = latin.into_bytes();
    assert!(mime::text(&raw).unwrap().len() <= 64 << 20);
    let part = "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\u{0}\r\n";
    read(
        format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{}", part.repeat(9_000))
            .into_bytes(),
    );
    let html = format!("Content-Type: text/html\r\n\r\n{}", "<td>a &amp; b".repeat(300_000));
    assert!(read(html.into_bytes()).preview.starts_with("a & b a & b"));
}

#[test]
fn defects_are_told() {
    let check = |raw: &str, defect: &str| {
        let reading = mime::read(raw.as_bytes());
        assert!(has(&reading, defect), "{raw:?}: {:?}", reading.defects);
    };
    check("", "no From");
    check("To: x\r\n\r\n", "no Date");
    check("From: nobody\r\n\r\n", "From field holds no address");
    check("From a@b\r\nTo: x\r\n\r\n", "separator of an mbox file");
    check("junk\r\n\r\n", "not a field");
    check("From: a@b\r\nFrom: c@d\r\n\r\n", "more than one From");
    check("Content-Type: multipart/mixed\r\n\r\n", "names no boundary");
    check("Content-Type: multipart/mixed; boundary=b\r\n\r\n", "has no parts");
    check("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx", "not closed");
    check("Content-Type: text/html\r\nContent-Type: text/plain\r\n\r\n", "comes twice");
    check("Content-Type: ;\r\n\r\n", "names no media type");
    check("Content-Type: text/plain; charset=klingon\r\n\r\n", "charset that is not known");
    check("Content-Transfer-Encoding: rot13\r\n\r\n", "transfer encoding that is not known");
    check("Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n***", "damaged");
    let crowd = "a@b.example,".repeat(2001);
    check(&format!("To: {crowd}\r\n\r\n"), "more addresses in the header");
    check(&format!("Cc: {}\r\n\r\n", " ".repeat(130 << 10)), "more addresses in the header");
    let clean = "From: a@b\r\nDate: x\r\nSubject: y\r\n\r\nbody\r\n";
    assert_eq!(mime::read(clean.as_bytes()).defects, [""; 0]);
}

#[test]
fn a_boundary_in_the_middle_of_a_line_is_text() {
    let raw = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx --b mid --b-- end\r\n--bb\r\n--b  \r\n\r\nsecond\r\n--b--\r\n";
    assert_eq!(mime::text(raw).as_deref(), Some("x --b mid --b-- end\r\n--bb\nsecond"));
}

fn parts() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("Content-Type: multipart/mixed; boundary=a"),
        Just("Content-Type: multipart/alternative; boundary=\"a b\""),
        Just("Content-Type: multipart/digest; boundary=--"),
        Just("Content-Type: text/html; charset=shift_jis"),
        Just("Content-Type: message/rfc822"),
        Just("Content-Type: application/pdf; name*0=\"a\"; name*1*=%C3"),
        Just("Content-Transfer-Encoding: base64"),
        Just("Content-Transfer-Encoding: quoted-printable"),
        Just("Content-Disposition: attachment; filename==?utf-8?q?x=2F..=2Fy?="),
        Just("Content-ID: <x@y>"),
        Just("Subject: =?utf-7?q?+?= =?x?b?/?="),
        Just("To: a: b <c@d>, (e) f@g;;"),
        Just("--a"),
        Just("--a--"),
        Just("--a b"),
        Just("----"),
        Just("------"),
        Just(""),
        Just(""),
        Just("=C3=A5=\u{e5}="),
        Just("aGVsbG8="),
        Just("<p>a &amp; &#x110000; b</p>"),
    ];
    let end = prop_oneof![6 => Just("\r\n"), 2 => Just("\n"), 1 => Just("\r")];
    let lines = prop::collection::vec((line, end), 0..40)
        .prop_map(|lines| lines.into_iter().flat_map(|(l, e)| [l, e]).collect::<String>());
    (lines, prop::collection::vec(any::<u8>(), 0..30))
        .prop_map(|(text, noise)| [text.into_bytes(), noise].concat())
}

proptest! {
    #[test]
    fn any_bytes_can_be_read(raw in prop_oneof![parts(), prop::collection::vec(any::<u8>(), 0..300)]) {
        let reading = mime::read(&raw);
        check(&raw, &reading);
        prop_assert!(!has(&reading, "not parsed"));
        for index in 0..reading.attachments.len() {
            let content = mime::attachment(&raw, index).unwrap();
            prop_assert_eq!(waybill::model::Digest::of(&content.bytes), reading.attachments[index].sha256);
            prop_assert_eq!(&content.filename, &reading.attachments[index].filename);
        }
        prop_assert!(mime::attachment(&raw, reading.attachments.len()).is_none());
        mime::text(&raw);
        mime::html(&raw);
        mime::preview_html(&raw);
    }
}
