//! Bounces, delays, complaints and receipts as many mail systems shape them.
//!
//! Those without a machine part stand in `tests/reports`: a line with the system's name, one with what is to
//! be made out (see `described`), and the message. What is fixed in a system's program stands there as it
//! writes it; the rest is written for this test.

use super::{Finding, Report, described, read};

const FILES: [(&str, &str); 6] = [
    ("free_servers", include_str!("../../../tests/reports/free_servers.txt")),
    ("groupware", include_str!("../../../tests/reports/groupware.txt")),
    ("filters", include_str!("../../../tests/reports/filters.txt")),
    ("providers", include_str!("../../../tests/reports/providers.txt")),
    ("languages", include_str!("../../../tests/reports/languages.txt")),
    ("shapes", include_str!("../../../tests/reports/shapes.txt")),
];

#[test]
fn bounces_in_words_are_read() {
    let original = "Message-ID: <m1@app.example>\nTo: bob@example.com\nSubject: hello\n";
    let (mut rows, mut wrong) = (0, Vec::new());
    for (file, text) in FILES {
        for row in text.split("=== ").skip(1) {
            let (system, rest) = row.split_once("\n--- ").unwrap();
            let (expected, message) = rest.split_once('\n').unwrap();
            let message = message.replace("{original}", original);
            let found = described(format!("To: app@sender.example\n{message}").as_bytes());
            rows += 1;
            if found != expected {
                wrong.push(format!("{file}, {system}: {found}, expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {rows}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(rows > 120, "{rows}");
}

#[test]
fn a_bounce_in_another_charset_is_read() {
    // "The mail could not be delivered. The address does not exist." in ISO-2022-JP.
    let mut raw = b"From: postmaster@carrier.example\nTo: app@sender.example\nSubject: =?ISO-2022-JP?B?GyRCJWEhPCVrR1s/LiVoGyhC?=\n\
        Content-Type: text/plain; charset=ISO-2022-JP\n\n"
        .to_vec();
    raw.extend_from_slice(
        b"\x1b$B0J2<$N%a!<%k%\"%I%l%9$X$NAw?.$K<:GT$7$^$7$?!#\x1b(B\nbob@example.com\n550 5.1.1\n",
    );
    assert_eq!(described(&raw), "bob@example.com Hard 5.1.1");
}

#[test]
fn a_signed_receipt_is_read() {
    let mdn = "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\n\r\nread\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; bob@example.com\r\nOriginal-Message-ID: <m1@app.example>\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--b--\r\n";
    let head = "From: bob@example.com\nTo: app@sender.example\nSubject: Read\n";
    let detached = format!(
        "{head}Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=s\n\n--s\n{mdn}\n--s\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nMIIB\n--s--\n"
    );
    assert_eq!(described(detached.as_bytes()), "bob@example.com Displayed Displayed");
    use base64::Engine;
    // What CMS puts around it, with a certificate after it.
    let wrapped = [
        b"\x30\x80\x06\x09*\x86H\x86\xf7\x0d\x01\x07\x02\xa0\x80",
        mdn.as_bytes(),
        b"\x31\x82\x00",
    ]
    .concat();
    let wrapped = base64::prelude::BASE64_STANDARD.encode(wrapped);
    let opaque = format!(
        "{head}Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\n{wrapped}\n"
    );
    assert_eq!(described(opaque.as_bytes()), "bob@example.com Displayed Displayed");
    let encrypted = format!(
        "{head}Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIIBAAECAwQFBgc=\n"
    );
    assert_eq!(described(encrypted.as_bytes()), "none");
}

fn complaint(from: &str, fields: &str, original: &str) -> String {
    let raw = format!(
        "From: {from}\nTo: fbl@sender.example\nSubject: FW: hello\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nThis is an email abuse report.\n--b\nContent-Type: message/feedback-report\n\n{fields}\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <m1@app.example>\n{original}\n\nx\n--b--\n"
    );
    described(raw.as_bytes())
}

#[test]
fn complaints_of_many_providers_are_read() {
    let check = |from: &str, fields: &str, original: &str, expected: &str| {
        assert_eq!(complaint(from, fields, original), expected, "{from}");
    };
    let fields = "Feedback-Type: abuse\nUser-Agent: Yahoo!-Mail-Feedback/2.0\nVersion: 0.1\nOriginal-Mail-From: <bounce+x@b.example>\nOriginal-Rcpt-To: bob@example.com\n";
    let expected = "Complaint Abuse bob@example.com";
    check("complaints@arf.yahoo.example", fields, "To: bob@example.com", expected);
    let fields = "Feedback-Type: abuse\nUser-Agent: AOL SComp\nVersion: 0.1\nOriginal-Rcpt-To: redacted@aol.example\n";
    check("scomp@aol.example", fields, "To: redacted@aol.example", "Complaint Abuse ?");
    let fields = "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <***@provider.example>\n";
    check("crossed-out@provider.example", fields, "To: xxxxx@x.example", "Complaint Abuse ?");
    let fields = "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <x@redacted.invalid>\n";
    check("another-domain@provider.example", fields, "To: bob@example.com", expected);
    let fields = "Feedback-Type: virus\nVersion: 1\nRemoval-Recipient: bob@example.com\n";
    check("fbl@comcast.example", fields, "", "Complaint Virus bob@example.com");
    let fields =
        "Feedback-Type: auth-failure\nAuth-Failure: dmarc\nOriginal-Rcpt-To: bob@example.com\n";
    check("dmarc@provider.example", fields, "", "Unknown AuthFailure bob@example.com");
}

#[test]
fn complaints_of_other_shapes_are_read() {
    let check = |from: &str, subject: &str, body: &str| {
        let raw = format!("From: {from}\nTo: fbl@sender.example\nSubject: {subject}\n{body}");
        assert_eq!(described(raw.as_bytes()), "Complaint Abuse bob@example.com", "{from}");
    };
    check(
        "staff@hotmail.com",
        "complaint about message from 192.0.2.9",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: bob@example.com\nX-Reporter-IP: 192.0.2.1\nMessage-ID: <m1@app.example>\nTo: redacted@example.com\n\nx\n--b--\n",
    );
    check(
        "without-a-label@provider.example",
        "complaint",
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nAn abuse report.\n--b\nContent-Type: text/plain\n\nFeedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: bob@example.com\n\n--b--\n",
    );
}

#[test]
fn receipts_in_words_are_read_in_many_languages() {
    for (subject, text, expected) in [
        (
            "Nicht gelesen: hallo",
            "Ihre Nachricht wurde ungelesen gel\u{f6}scht.",
            "Delivered Deleted",
        ),
        ("Le\u{ed}do: hola", "El mensaje fue le\u{ed}do el lunes.", "Displayed Displayed"),
        ("Letto: ciao", "Il messaggio \u{e8} stato letto luned\u{ec}.", "Displayed Displayed"),
        ("Lida: ol\u{e1}", "Sua mensagem foi lida.", "Displayed Displayed"),
        ("L\u{e4}st: hej", "Ditt meddelande l\u{e4}stes m\u{e5}ndag.", "Displayed Displayed"),
        (
            "Przeczytano: cze\u{15b}\u{107}",
            "Twoja wiadomo\u{15b}\u{107} zosta\u{142}a przeczytana.",
            "Displayed Displayed",
        ),
        (
            "\u{41f}\u{440}\u{43e}\u{447}\u{442}\u{435}\u{43d}\u{43e}: \u{43f}\u{440}\u{438}\u{432}\u{435}\u{442}",
            "\u{412}\u{430}\u{448}\u{435} \u{441}\u{43e}\u{43e}\u{431}\u{449}\u{435}\u{43d}\u{438}\u{435} \u{431}\u{44b}\u{43b}\u{43e} \u{43f}\u{440}\u{43e}\u{447}\u{438}\u{442}\u{430}\u{43d}\u{43e}.",
            "Displayed Displayed",
        ),
        ("Okundu: merhaba", "\u{130}letiniz okundu.", "Displayed Displayed"),
        (
            "\u{958b}\u{5c01}\u{6e08}\u{307f}: \u{3053}\u{3093}\u{306b}\u{3061}\u{306f}",
            "\u{3042}\u{306a}\u{305f}\u{306e}\u{30e1}\u{30c3}\u{30bb}\u{30fc}\u{30b8}\u{306f}\u{958b}\u{5c01}\u{3055}\u{308c}\u{307e}\u{3057}\u{305f}\u{3002}",
            "Displayed Displayed",
        ),
        (
            "\u{5df2}\u{8bfb}: \u{4f60}\u{597d}",
            "\u{60a8}\u{7684}\u{90ae}\u{4ef6}\u{5df2}\u{88ab}\u{9605}\u{8bfb}\u{3002}",
            "Displayed Displayed",
        ),
        (
            "Message status - opened",
            "The message that you sent was opened by the following:\n\tbob",
            "Displayed Displayed",
        ),
    ] {
        let raw = format!(
            "From: bob@example.com\nTo: app@sender.example\nSubject: {subject}\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n"
        );
        assert_eq!(described(raw.as_bytes()), format!("bob@example.com {expected}"), "{subject}");
    }
}

#[test]
fn complaints_without_a_part_of_their_own_are_read() {
    let hotmail = "X-HmXmrOriginalRecipient: bob@example.com\nFrom: app@sender.example\nTo: bob@example.com\nSubject: hello\n\nhello\n";
    assert_eq!(described(hotmail.as_bytes()), "Complaint Abuse bob@example.com");
    let apple = "X-Apple-Unsubscribe: true\nAuto-Submitted: auto-replied\nFrom: bob@example.com\nTo: leave@sender.example\nSubject: unsubscribe\n\nx\n";
    assert_eq!(described(apple.as_bytes()), "Complaint OptOut bob@example.com");
}

#[test]
fn a_complaint_may_name_several() {
    let raw = "From: fbl@provider.example\nSubject: complaint\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: bob@example.com\nOriginal-Rcpt-To: redacted@example.com\nOriginal-Rcpt-To: eve@example.org\nRemoval-Recipient: bob@example.com\n";
    let Some(Report { finding: Finding::Feedback(found), .. }) = read(raw.as_bytes()) else {
        panic!()
    };
    let named: Vec<String> = found.recipients.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["bob@example.com", "eve@example.org"]);
}

#[test]
fn empty_lines_before_the_header_are_passed_over() {
    let raw = "\r\n  \r\nFrom: MAILER-DAEMON@mx.example\r\nSubject: failure notice\r\n\r\n<bob@example.com>:\r\n550 5.1.1 unknown user\r\n";
    assert_eq!(described(raw.as_bytes()), "bob@example.com Hard 5.1.1");
}
