//! What leaves signed is still signed when a real Postfix has passed it on, says dkimpy; and mail that must not change
//! arrives as it was submitted.
//!
//! Skipped where Postfix or dkimpy is not installed or the caller is not root.

use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;
use waybill::model::{Domain, Secret};
use waybill::rewrite::DkimSigner;

use crate::support::daemon::{Daemon, Setup, free_port};
use crate::support::dkimpy::Verifier;
use crate::support::postfix::{Postfix, PostfixSettings};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;
use crate::support::tools;

const PUBLIC: &str = "https://t.example.com";
/// Three keys of one domain, as when one follows another.
const KEYS: [(&str, bool); 3] = [("rsa", true), ("ed", false), ("next", false)];

struct Bench {
    daemon: Daemon,
    _postfix: Postfix,
    _folder: TempDir,
    receiver: Receiver,
    signers: Vec<DkimSigner>,
    sent: usize,
}

/// A daemon that signs and tracks, and relays through a Postfix.
fn bench() -> Option<Bench> {
    let receiver = Receiver::start();
    let folder = TempDir::new().unwrap();
    // Postfix runs as several users.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let listen = free_port();
    let relay_to = receiver.port();
    let settings = PostfixSettings { listen, relay_to, tls: None, credential: None };
    let postfix = match Postfix::start(folder.path(), &settings) {
        Ok(postfix) => postfix,
        Err(why) => {
            tools::skip(&why);
            return None;
        }
    };
    let mut tables = format!(
        "[[app]]\nname = \"erp\"\nnetworks = [\"127.0.0.0/8\"]\n\
         track = {{ opens = true, clicks = true }}\n[tracking]\npublic_url = \"{PUBLIC}\"\n"
    );
    let mut signers = Vec::new();
    for (selector, is_rsa) in KEYS {
        let algorithm = if is_rsa { &rcgen::PKCS_RSA_SHA256 } else { &rcgen::PKCS_ED25519 };
        let pem = rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        let file = folder.path().join(format!("{selector}.pem"));
        std::fs::write(&file, &pem).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        writeln!(
            tables,
            "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"{selector}\"\n\
             private_key = {{ file = {file:?} }}"
        )
        .unwrap();
        let domain = Domain::parse("example.com").unwrap();
        signers.push(DkimSigner::from_pem(domain, selector, &Secret::new(pem)).unwrap());
    }
    let daemon = Daemon::start(&Setup { tables, ..Setup::relaying_to(listen) });
    Some(Bench { daemon, _postfix: postfix, _folder: folder, receiver, signers, sent: 0 })
}

impl Bench {
    /// What arrives behind Postfix of a message.
    fn pass(&mut self, mail: &[u8]) -> Vec<u8> {
        self.sent += 1;
        let to = format!("r{}@example.org", self.sent);
        let mut submitter = Submitter::connect(self.daemon.smtp()).unwrap();
        let answer = submitter.submit("kim@example.com", &[&to], mail).unwrap();
        assert!(answer.id().is_some(), "{answer:?}");
        self.receiver.wait_for(&to).data
    }
}

const HEAD: &str = "From: Kim <kim@Example.com>\r\nTo: bo@example.org\r\nSubject: A  folded \r\n\t subject\t \r\n\
    Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n";

/// Messages whose signatures have to hold, by what is special about them.
fn signed_mails() -> Vec<(&'static str, Vec<u8>)> {
    let html = "Content-Type: text/html; charset=utf-8\r\n";
    let with = |head: &str, body: &str| format!("{HEAD}{head}\r\n{body}").into_bytes();
    let latin = with("Content-Type: text/plain; charset=iso-8859-1\r\nX: y\r\n", "bl?b?r\r\n");
    let latin = latin.iter().map(|b| if *b == b'?' { 0xE5 } else { *b }).collect();
    let link = "<a href=\"https://example.com/?a=1&amp;b=%20\">go</a>";
    let encoded = "Content-Transfer-Encoding: quoted-printable\r\n";
    vec![
        ("tracked", with(html, &format!("<p>bl\u{e5}b\u{e6}r {link} \t \r\n\r\n\r\n"))),
        ("no text", with("", "")),
        ("empty lines", with("", "\r\n\r\n\r\n")),
        ("dots", with("", ".\r\n..\r\n. x\r\n\r\n.\r\n")),
        ("latin 1", latin),
        (
            "long lines",
            with(html, &format!("{}{link}\r\n{}\r\n", "x".repeat(900), "y".repeat(998))),
        ),
        (
            "quoted",
            with(
                &format!("{html}{encoded}"),
                "<p>=C3=A5 =\r\n <a href=3D\"https://e.com/\">x</a> =20\r\n",
            ),
        ),
        ("no last line break", with("", "text")),
        (
            "white space",
            with(
                "List-Unsubscribe:  <https://example.com/u>  \r\nReply-To:\r\n x@example.com\r\n",
                " a  b \t\r\n \r\n\t\r\n",
            ),
        ),
        (
            "8-bit header",
            "Subject: bl\u{e5}b\u{e6}r\r\nFrom: kim@example.com\r\n\r\ntext\r\n"
                .to_owned()
                .into_bytes(),
        ),
        // Postfix adds what these lack.
        ("no date, no id", b"From: kim@example.com\r\nTo: bo@example.org\r\n\r\ntext\r\n".to_vec()),
        ("author alone", b"From: kim@example.com\r\n\r\ntext\r\n".to_vec()),
        ("steering", with("X-Waybill-Tag: x\r\nBcc: y@example.net\r\n", "text\r\n")),
        (
            "ours before",
            with(
                "DKIM-Signature: v=1; a=rsa-sha256; d=example.com; s=old;\r\n\tbh=x; h=from; b=x\r\n",
                "text\r\n",
            ),
        ),
        ("below", with("", "text\r\n").replace_author("kim@news.example.com")),
    ]
}

trait Author {
    fn replace_author(&self, with: &str) -> Vec<u8>;
}

impl Author for Vec<u8> {
    fn replace_author(&self, with: &str) -> Vec<u8> {
        String::from_utf8_lossy(self).replace("kim@Example.com", with).into_bytes()
    }
}

#[test]
fn signatures_hold_behind_a_real_postfix() {
    let (Some(verifier), Some(mut bench)) = (Verifier::find(), bench()) else { return };
    for (name, mail) in signed_mails() {
        let arrived = bench.pass(&mail);
        let found = verifier.verify(&arrived, &bench.signers);
        assert_eq!(found, "[True, True, True]", "{name}: {}", String::from_utf8_lossy(&arrived));
        let forged = [b"Subject: other\r\n", &arrived[..]].concat();
        assert_eq!(verifier.verify(&forged, &bench.signers), "[False, False, False]", "{name}");
        let is_tracked = memchr::memmem::find(&mail, b"<a href").is_some();
        assert_eq!(
            memchr::memmem::find(&arrived, PUBLIC.as_bytes()).is_some(),
            is_tracked,
            "{name}"
        );
    }
}

#[test]
fn what_must_not_change_arrives_as_it_was_behind_a_real_postfix() {
    let (Some(verifier), Some(mut bench)) = (Verifier::find(), bench()) else { return };
    let html =
        "Content-Type: text/html\r\n\r\n<body><a href=\"https://example.com/\">go</a> \r\n</body>";
    let multipart = |kind: &str, second: &str| {
        format!(
            "{HEAD}Content-Type: multipart/{kind}; boundary=b\r\n\r\n--b\r\n{html}\r\n--b\r\n{second}\r\n--b--\r\n"
        )
    };
    for mail in [
        multipart(
            "signed; micalg=pgp-sha256; protocol=\"application/pgp-signature\"",
            "Content-Type: application/pgp-signature\r\n\r\nx",
        ),
        multipart(
            "encrypted; protocol=\"application/pgp-encrypted\"",
            "Content-Type: application/octet-stream\r\n\r\nx",
        ),
        multipart(
            "alternative",
            "Content-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR",
        ),
    ] {
        let arrived = bench.pass(mail.as_bytes());
        // Before it stand what relays put there and our signatures.
        assert!(arrived.ends_with(mail.as_bytes()), "{}", String::from_utf8_lossy(&arrived));
        assert_eq!(verifier.verify(&arrived, &bench.signers), "[True, True, True]");
    }
    // Whom somebody else vouches for gets no link, and that signature still stands beside ours.
    let mail = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=o; bh=x;\r\n\th=from; b=x\r\n{HEAD}{html}\r\n"
    );
    let arrived = bench.pass(mail.as_bytes());
    let body = format!("{html}\r\n");
    assert!(arrived.ends_with(body.as_bytes()), "{}", String::from_utf8_lossy(&arrived));
    assert_eq!(verifier.verify(&arrived, &bench.signers), "[True, True, True, False]");
}
