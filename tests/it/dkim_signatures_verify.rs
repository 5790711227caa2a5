//! What is signed here, other verifiers accept, and a changed message they do not.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use mail_auth::common::parse::TxtRecordParser;
use mail_auth::common::verify::DomainKey;
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
};
use waybill::model::{Domain, Secret, Untouched};
use waybill::rewrite::{
    DkimKeyError, DkimSigner, Mismatch, PublicUrl, Rendition, Signing, Tokens, Tracking, Treatment,
    compare, render, render_for,
};

use crate::support::dkimpy::Verifier;
use crate::support::tracked::trace;

const MESSAGE: &str = "Received: from x by y; Sun, 22 Nov 2026 10:00:00 +0000\r\n\
    From: Kim <kim@Example.com>\r\nTo: bo@example.org\r\nSubject: A  folded\r\n\tsubject\r\n\
    Date: Sun, 22 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.com>\r\nMIME-Version: 1.0\r\n\
    List-Unsubscribe: <https://example.com/u>\r\nContent-Type: text/html\r\n\r\n\
    <p>Some  text \r\n<a href=\"https://example.com/\">go</a>\r\n\r\n\r\n";

fn signer(domain: &str, selector: &str, rsa: bool) -> DkimSigner {
    let algorithm = if rsa { &rcgen::PKCS_RSA_SHA256 } else { &rcgen::PKCS_ED25519 };
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let pem = Secret::new(key.serialize_pem());
    DkimSigner::from_pem(Domain::parse(domain).unwrap(), selector, &pem).unwrap()
}

struct Fixed;

impl Tokens for Fixed {
    fn open(&self) -> String {
        "o".into()
    }

    fn click(&self, link: u16, _: &[u8]) -> String {
        format!("c{link}")
    }
}

fn sent(raw: &str, signers: &[DkimSigner]) -> (Vec<u8>, Option<Untouched>) {
    let public_url = PublicUrl::parse("https://t.example.com").unwrap();
    let tracking = Tracking {
        opens: true,
        clicks: true,
        honeypot: false,
        public_url: &public_url,
        exclude: &[],
        tokens: &Fixed,
    };
    let treatment = Treatment { tracking: Some(&tracking), signing: Signing::With(signers) };
    let raw = Bytes::copy_from_slice(raw.as_bytes());
    let Rendition { outgoing, report, signatures } = render_for(&raw, &trace(), treatment);
    let again = render_for(&raw, &trace(), treatment).outgoing;
    let treatment = Treatment { tracking: Some(&tracking), signing: Signing::As(&signatures) };
    let without_keys = render_for(&raw, &trace(), treatment).outgoing;
    assert_eq!(without_keys.digest, outgoing.digest, "not the same without the keys");
    assert_eq!(outgoing.digest, again.digest, "the same message is signed in the same way");
    (outgoing.segments.concat(), report.untouched_because)
}

/// The records of the keys, instead of the network.
struct Records(Vec<(Box<str>, Txt)>);

impl ResolverCache<Box<str>, Txt> for Records {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.iter().find(|(key, _)| key.borrow() == name).map(|(_, record)| record.clone())
    }

    fn remove<Q>(&self, _: &Q) -> Option<Txt>
    where
        Box<str>: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        None
    }

    fn insert(&self, _: Box<str>, _: Txt, _: Instant) {}
}

/// What mail-auth finds of each signature.
async fn verified(message: &[u8], signers: &[DkimSigner]) -> Vec<bool> {
    let record = |signer: &DkimSigner| {
        let key = DomainKey::parse(signer.dns_txt().as_bytes()).unwrap();
        (format!("{}.", signer.dns_name().to_lowercase()).into(), Txt::DomainKey(Arc::new(key)))
    };
    let records = Records(signers.iter().map(record).collect());
    let authenticator = MessageAuthenticator::new_cloudflare().unwrap();
    let message = AuthenticatedMessage::parse(message).unwrap();
    let parameters = Parameters::new(&message).with_txt_cache(&records);
    let found = authenticator.verify_dkim(parameters).await;
    found.iter().map(|output| *output.result() == DkimResult::Pass).collect()
}

#[tokio::test]
async fn mail_auth_accepts_every_signature() {
    let signers = [signer("example.com", "rsa", true), signer("example.com", "ed", false)];
    for raw in [
        MESSAGE.to_owned(),
        MESSAGE.replace("\r\n", "\n"),
        MESSAGE.trim_end().to_owned(),
        "From: a@example.com\r\n".to_owned(),
        "From: a@example.com\r\n\r\n".to_owned(),
        format!("X-Waybill-Tag: x\r\nBcc: y@z.example\r\n{MESSAGE}"),
    ] {
        let (message, _) = sent(&raw, &signers);
        let wire = String::from_utf8(message).unwrap().replace("\r\n", "\n").replace('\n', "\r\n");
        let wire = format!("{}\r\n", wire.strip_suffix("\r\n").unwrap_or(&wire));
        assert_eq!(verified(wire.as_bytes(), &signers).await, [true, true], "{wire}");
        // Whoever adds a field that a reader is shown, breaks the signature.
        for forged in [format!("Subject: other\r\n{wire}"), format!("Reply-To: x@y.z\r\n{wire}")] {
            assert_eq!(verified(forged.as_bytes(), &signers).await, [false, false], "{forged}");
        }
        let forged = wire.replace("Kim", "Bim");
        let expected = [forged == wire; 2];
        assert_eq!(verified(forged.as_bytes(), &signers).await, expected);
    }
}

#[tokio::test]
async fn the_keys_of_the_authors_domain_sign() {
    let signers = [signer("example.com", "a", false), signer("mail.example.com", "b", false)];
    let of = |author: &str| {
        let (message, _) = sent(&MESSAGE.replace("kim@Example.com", author), &signers);
        let text = String::from_utf8(message).unwrap();
        let domains: Vec<String> = text
            .split("d=")
            .skip(1)
            .map(|rest| rest.split(';').next().unwrap().to_owned())
            .collect();
        domains
    };
    assert_eq!(of("kim@example.com"), ["example.com"]);
    assert_eq!(of("kim@mail.EXAMPLE.com"), ["mail.example.com"]);
    assert_eq!(of("kim@news.example.com"), ["example.com"]);
    assert_eq!(of("kim@example.org"), Vec::<String>::new());
    assert_eq!(of("kim@notexample.com"), Vec::<String>::new());
    assert_eq!(of("nobody"), Vec::<String>::new());
}

#[tokio::test]
async fn signatures_that_came_with_it_are_replaced_or_respected() {
    let signers = [signer("example.com", "a", false)];
    let ours =
        format!("DKIM-Signature: v=1; a=rsa-sha256; d=EXAMPLE.com;\r\n\ts=old; b=x\r\n{MESSAGE}");
    let (message, untouched) = sent(&ours, &signers);
    assert_eq!(untouched, None);
    assert_eq!(verified(&message, &signers).await, [true]);
    assert!(!String::from_utf8(message).unwrap().contains("s=old"));

    let foreign = format!("DKIM-Signature: v=1; a=rsa-sha256; d=other.example; s=o; b=x\r\n{ours}");
    let (message, untouched) = sent(&foreign, &signers);
    assert_eq!(untouched, Some(Untouched::ForeignSignature));
    assert!(String::from_utf8(message).unwrap().ends_with(&foreign));
}

#[test]
fn without_tracking_and_keys_nothing_is_different() {
    let raw = Bytes::from_static(MESSAGE.as_bytes());
    let plain = render(&raw, &trace());
    let Rendition { outgoing: other, report, .. } =
        render_for(&raw, &trace(), Treatment::default());
    assert_eq!((plain.digest, plain.segments), (other.digest, other.segments));
    assert_eq!(report, Default::default());
    let signers = [signer("other.example", "a", false)];
    let treatment = Treatment { tracking: None, signing: Signing::With(&signers) };
    assert_eq!(plain.digest, render_for(&raw, &trace(), treatment).outgoing.digest);
}

#[test]
fn keys_are_compared_with_what_is_published() {
    for signer in [signer("example.com", "a", true), signer("example.com", "b", false)] {
        let record = signer.dns_txt();
        let check = |text: &str, expected: &[Mismatch]| {
            assert_eq!(compare(&signer, text), expected, "{text}");
        };
        check("", &[Mismatch::Version]);
        check("v=spf1 -all", &[Mismatch::Version]);
        check("k=rsa; v=DKIM1; p=x", &[Mismatch::Version]);
        check(&record.replace("p=", "q="), &[Mismatch::NoKey]);
        check(&format!("{record}; p="), &[Mismatch::Repeated("p")]);
        check(&record[..record.find("p=").unwrap() + 2], &[Mismatch::Revoked]);
        check(&record.replace("p=", "h=sha1; p="), &[Mismatch::Hash]);
        check(&record.replace("p=", "s=tlsrpt; p="), &[Mismatch::Service]);
        check(&record.replace("p=", "p=*"), &[Mismatch::Base64]);
        let both = record.replace("p=", "h=sha1; s=tlsrpt; p=");
        check(&both, &[Mismatch::Hash, Mismatch::Service]);
        let published = record.split_once("p=").unwrap().1.len();
        let cut = Mismatch::CutOff { published: published - 8, ours: published };
        check(&record[..record.len() - 8], &[cut]);
        let other = compare(&signer, &record.replace("p=", "p=AAAA"));
        assert!(matches!(&other[..], [Mismatch::OtherKey { at: 1, .. }]), "{other:?}");
        let kind = compare(&signer, &record.replace("k=", "k=x"));
        assert!(matches!(&kind[..], [Mismatch::Kind { .. }]), "{kind:?}");
        check(&record, &[]);
        check(&record.replace("p=", "t=y; s=email; h=sha1:sha256; p="), &[]);
        check(&format!("{} {}", &record[..60], &record[60..]), &[]);
        assert!(!format!("{signer:?}").contains("PRIVATE"));
        assert!(signer.id().starts_with(&signer.dns_name()));
    }
}

#[test]
fn keys_that_can_not_sign_are_refused() {
    let pem = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let check = |selector: &str, pem: &str, expected| {
        let domain = Domain::parse("example.com").unwrap();
        let signer = DkimSigner::from_pem(domain, selector, &Secret::new(pem.into()));
        assert_eq!(signer.err(), Some(expected));
    };
    check("a", &pem, DkimKeyError::Kind);
    check("a", "no key", DkimKeyError::Pem);
    check("", &pem, DkimKeyError::Selector);
    check("a;b", &pem, DkimKeyError::Selector);
    check("a\r\nb", &pem, DkimKeyError::Selector);
}

#[test]
fn dkimpy_accepts_every_signature() {
    let Some(verifier) = Verifier::find() else { return };
    let signers = [signer("example.com", "rsa", true), signer("example.com", "ed", false)];
    let (message, _) = sent(MESSAGE, &signers);
    assert_eq!(verifier.verify(&message, &signers), "[True, True]");
}
