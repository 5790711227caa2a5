//! Bounces, delays, complaints and receipts as many mail systems shape them.
//!
//! Those without a machine part stand in `tests/reports`: a line with the system's name, one with what is to
//! be made out (see `described`), and the message. What is fixed in a system's program stands there as it
//! writes it; the rest is written for this test.

use super::described;

const FILES: [(&str, &str); 5] = [
    ("free_servers", include_str!("../../../tests/reports/free_servers.txt")),
    ("groupware", include_str!("../../../tests/reports/groupware.txt")),
    ("filters", include_str!("../../../tests/reports/filters.txt")),
    ("providers", include_str!("../../../tests/reports/providers.txt")),
    ("languages", include_str!("../../../tests/reports/languages.txt")),
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
    assert!(rows > 90, "{rows}");
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

#[test]
fn complaints_of_many_providers_are_read() {
    let arf = |fields: &str, original: &str| {
        format!(
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nThis is an email abuse report.\n--b\nContent-Type: message/feedback-report\n\n{fields}\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <m1@app.example>\n{original}\n\nx\n--b--\n"
        )
    };
    let check = |system: &str, from: &str, subject: &str, body: &str, expected: &str| {
        let raw = format!("From: {from}\nTo: fbl@sender.example\nSubject: {subject}\n{body}");
        assert_eq!(described(raw.as_bytes()), expected, "{system}");
    };
    let fields = "Feedback-Type: abuse\nUser-Agent: Yahoo!-Mail-Feedback/2.0\nVersion: 0.1\nOriginal-Mail-From: <bounce+x@b.example>\nOriginal-Rcpt-To: bob@example.com\n";
    check(
        "Yahoo",
        "complaints@arf.yahoo.example",
        "FW: hello",
        &arf(fields, "To: bob@example.com"),
        "Complaint Abuse bob@example.com",
    );
    let fields = "Feedback-Type: abuse\nUser-Agent: AOL SComp\nVersion: 0.1\nOriginal-Rcpt-To: redacted@aol.example\n";
    check(
        "AOL",
        "scomp@aol.example",
        "Email Feedback Report for IP 192.0.2.9",
        &arf(fields, "To: redacted@aol.example"),
        "Complaint Abuse ?",
    );
    let fields = "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <***@provider.example>\n";
    check(
        "crossed out",
        "fbl@provider.example",
        "complaint",
        &arf(fields, "To: xxxxx@provider.example"),
        "Complaint Abuse ?",
    );
    let fields = "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <x@redacted.invalid>\n";
    check(
        "another domain",
        "fbl@provider.example",
        "complaint",
        &arf(fields, "To: bob@example.com"),
        "Complaint Abuse bob@example.com",
    );
    let fields = "Feedback-Type: virus\nVersion: 1\nRemoval-Recipient: bob@example.com\n";
    check(
        "Comcast",
        "fbl@provider.example",
        "complaint",
        &arf(fields, ""),
        "Complaint Virus bob@example.com",
    );
    check(
        "Hotmail JMRP",
        "staff@hotmail.com",
        "complaint about message from 192.0.2.9",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: bob@example.com\nX-Reporter-IP: 192.0.2.1\nMessage-ID: <m1@app.example>\nTo: redacted@example.com\n\nx\n--b--\n",
        "Complaint Abuse bob@example.com",
    );
    check(
        "without a label",
        "fbl@provider.example",
        "complaint",
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nAn abuse report.\n--b\nContent-Type: text/plain\n\nFeedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: bob@example.com\n\n--b--\n",
        "Complaint Abuse bob@example.com",
    );
    let fields =
        "Feedback-Type: auth-failure\nAuth-Failure: dmarc\nOriginal-Rcpt-To: bob@example.com\n";
    check(
        "DMARC",
        "noreply@provider.example",
        "FW: hello",
        &arf(fields, ""),
        "Unknown AuthFailure bob@example.com",
    );
}
