//! DKIM signatures (RFC 6376, RFC 8463): made over what leaves, and told apart when they come in.
//!
//! Takes the message as it will leave, a key and a time from the record; gives the `DKIM-Signature` field. The same
//! message, key and time give the same field for ever, so a signed message is proven by its digest like any other.
//! Relaxed canonicalisation of header and body. The fields that a reader is shown are signed once more than they
//! occur, so that nobody adds a second one (§8.15); but what a submission server adds to a message that lacks it, it may.
//!
//! mail-auth canonicalises the header, hashes and signs; its own `sign` is not used, because it asks the clock and does not
//! sign absent fields.
//! Which keys sign: all of the author's domain, else all of the nearest domain above it (RFC 7489 §3.1.1, relaxed).
//! Whether a key is published as it should be is `dkim_record`.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mail_auth::common::crypto::{Ed25519Key, RsaKey, Sha256, SigningKey};
use mail_auth::common::headers::{Writable, Writer};
use mail_auth::dkim::{Canonicalization, Signature};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use crate::mime;
use crate::model::{Digest, Domain, Secret, Timestamp};

/// Longest selector: it is a part of a host name.
const MAX_SELECTOR_BYTES: usize = 63;

/// How much of the signature's value stands in one line.
const VALUE_COLUMNS: usize = 72;

/// Whether nobody may add a field of a name to a signed message.
#[derive(Clone, Copy)]
enum Another {
    Never,
    /// Only where there is none: who relays a message may put in what it lacks (RFC 6409 §8).
    First,
    Always,
}

/// Fields that are signed, and whether another one may come.
const SIGNED: [(&str, Another); 25] = [
    ("From", Another::Never),
    ("Subject", Another::Never),
    ("To", Another::Never),
    ("Date", Another::First),
    ("Message-ID", Another::First),
    ("Cc", Another::Never),
    ("Reply-To", Another::Never),
    ("Sender", Another::Never),
    ("In-Reply-To", Another::Never),
    ("References", Another::Never),
    ("MIME-Version", Another::Never),
    ("Content-Type", Another::Never),
    ("Content-Transfer-Encoding", Another::Never),
    ("Content-Disposition", Another::Always),
    ("Content-ID", Another::Always),
    ("Content-Description", Another::Always),
    ("Resent-Date", Another::Always),
    ("Resent-From", Another::Always),
    ("Resent-To", Another::Always),
    ("Resent-Cc", Another::Always),
    // RFC 8058 §4 asks for both; providers put in theirs where there is none.
    ("List-Unsubscribe", Another::First),
    ("List-Unsubscribe-Post", Another::First),
    ("List-Id", Another::Always),
    ("List-Help", Another::Always),
    ("Feedback-ID", Another::Always),
];

/// A key that signs for a domain.
pub struct DkimSigner {
    domain: Domain,
    selector: String,
    key: Key,
}

enum Key {
    Rsa(RsaKey<Sha256>),
    Ed25519(Ed25519Key),
}

/// Why a key can not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DkimKeyError {
    #[error("the selector is not one or more labels of a host name")]
    Selector,
    #[error("the domain is not a host name in ASCII")]
    Domain,
    #[error("there is no private key in PEM")]
    Pem,
    #[error("the key is neither an RSA key of 2048 bits and more nor an Ed25519 key")]
    Kind,
}

impl fmt::Debug for DkimSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DkimSigner({})", self.dns_name())
    }
}

impl DkimSigner {
    /// From a private key in PEM: PKCS #8, or PKCS #1 for RSA.
    pub fn from_pem(
        domain: Domain,
        selector: &str,
        pem: &Secret,
    ) -> Result<DkimSigner, DkimKeyError> {
        let is_label = |label: &str| {
            let ok = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            !label.is_empty() && label.len() <= MAX_SELECTOR_BYTES && label.bytes().all(ok)
        };
        if !selector.split('.').all(is_label) {
            return Err(DkimKeyError::Selector);
        }
        if !domain.as_str().split('.').all(is_label) {
            return Err(DkimKeyError::Domain);
        }
        let der = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes())
            .map_err(|_| DkimKeyError::Pem)?;
        let ed25519 = match &der {
            PrivateKeyDer::Pkcs8(der) => {
                Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_pkcs8_der()).ok()
            }
            _ => None,
        };
        let key = match ed25519 {
            Some(key) => Key::Ed25519(key),
            None => Key::Rsa(RsaKey::from_key_der(der).map_err(|_| DkimKeyError::Kind)?),
        };
        Ok(DkimSigner { domain, selector: selector.to_owned(), key })
    }

    /// The domain that vouches.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Where the public key has to be published.
    pub fn dns_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain.as_str())
    }

    /// What is recorded with a message that it signed: its place, and the beginning of the digest of its public key,
    /// because a selector may get another key one day.
    pub fn id(&self) -> String {
        let digest = Digest::of(&self.public_key()).to_string();
        format!("{}/{}", self.dns_name(), &digest[..16])
    }

    /// `rsa` or `ed25519`, as in the record.
    pub(super) fn kind(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "rsa",
            Key::Ed25519(_) => "ed25519",
        }
    }

    /// As the record's `p=` has it: of RSA the key alone (RFC 8017 appendix A.1.1), of Ed25519 its 32 bytes.
    pub(super) fn public_key(&self) -> Vec<u8> {
        match &self.key {
            Key::Rsa(key) => key.public_key(),
            Key::Ed25519(key) => key.public_key(),
        }
    }

    /// The field over this message; `None` when it can not be signed.
    fn field(&self, message: &Signable<'_>, at: Timestamp) -> Option<Vec<u8>> {
        match &self.key {
            Key::Rsa(key) => self.signed(key, message, at),
            Key::Ed25519(key) => self.signed(key, message, at),
        }
    }

    fn signed(
        &self,
        key: &impl SigningKey,
        message: &Signable<'_>,
        at: Timestamp,
    ) -> Option<Vec<u8>> {
        let signature = Signature {
            v: 1,
            a: key.algorithm(),
            d: self.domain.as_str().to_ascii_lowercase(),
            s: self.selector.clone(),
            bh: key.hash(Relaxed(message.body)).as_ref().to_vec(),
            t: u64::try_from(at.as_millis() / 1000).ok()?,
            h: message.names.iter().map(|name| (*name).to_owned()).collect(),
            ch: Canonicalization::Relaxed,
            cb: Canonicalization::Relaxed,
            ..Signature::default()
        };
        let value = key.sign(Signed { message, signature: &signature }).ok()?;
        let mut field = Vec::with_capacity(1024);
        signature.write(&mut field, true);
        // Written here, because mail-auth may fold before the last semicolon, and dkimpy then finds a space too many.
        field.truncate(field.strip_suffix(b";\r\n")?.len());
        for line in STANDARD.encode(value).as_bytes().chunks(VALUE_COLUMNS) {
            field.extend_from_slice(b"\r\n\t");
            field.extend_from_slice(line);
        }
        field.extend_from_slice(b";\r\n");
        Some(field)
    }
}

/// What is signed of a message.
struct Signable<'a> {
    /// As they are named in the signature; more than there are fields.
    names: Vec<&'static str>,
    fields: Vec<(&'a [u8], &'a [u8])>,
    body: &'a [u8],
}

/// A body in relaxed canonical form (RFC 6376 §3.4.4): white space first, then the empty lines at its end. mail-auth does
/// it the other way round and keeps lines of nothing but white space there, which nobody else does.
struct Relaxed<'a>(&'a [u8]);

impl Writable for Relaxed<'_> {
    fn write(self, writer: &mut impl Writer) {
        let mut empty_lines = 0;
        for line in self.0.split_inclusive(|byte| *byte == b'\n') {
            let end = line.iter().rposition(|b| !b" \t\r\n".contains(b)).map_or(0, |at| at + 1);
            if end == 0 {
                empty_lines += 1;
                continue;
            }
            (0..std::mem::take(&mut empty_lines)).for_each(|_| writer.write(b"\r\n"));
            for run in line[..end].chunk_by(|a, b| is_blank(*a) == is_blank(*b)) {
                writer.write(if is_blank(run[0]) { b" " } else { run });
            }
            writer.write(b"\r\n");
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

struct Signed<'a> {
    message: &'a Signable<'a>,
    signature: &'a Signature,
}

impl Writable for Signed<'_> {
    fn write(self, writer: &mut impl Writer) {
        let fields = self.message.fields.iter().copied();
        Canonicalization::Relaxed.canonicalize_headers(fields, writer);
        self.signature.write(writer, false);
    }
}

impl<'a> Signable<'a> {
    fn new(message: &'a [u8]) -> Signable<'a> {
        let mut scan = mime::all_fields(message);
        let all: Vec<_> = scan.by_ref().collect();
        let body = &message[scan.position()..];
        let (mut names, mut fields) = (Vec::new(), Vec::new());
        for (name, another) in SIGNED {
            let has_one = all.iter().any(|field| field.is(name));
            // RFC 6376 §5.4.2: from the last one up.
            for field in all.iter().rev().filter(|field| field.is(name)) {
                names.push(name);
                let whole = &message[field.span.clone()];
                let colon = memchr::memchr(b':', whole).unwrap_or_default();
                fields.push((field.name, &whole[colon + 1..]));
            }
            // A name more than there are fields holds for the absence of another one.
            match another {
                Another::Never => names.push(name),
                Another::First if has_one => names.push(name),
                Another::First | Another::Always => {}
            }
        }
        Signable { names, fields, body }
    }
}

/// The fields to put in front of a message that is about to leave.
pub(super) fn sign(message: &[u8], signers: &[&DkimSigner], at: Timestamp) -> Vec<u8> {
    if signers.is_empty() {
        return Vec::new();
    }
    let message = mended(message);
    let signable = Signable::new(&message);
    signers.iter().filter_map(|signer| signer.field(&signable, at)).flatten().collect()
}

/// The signers of the author's domain.
pub(super) fn signers_for<'a>(raw: &[u8], signers: &'a [DkimSigner]) -> Vec<&'a DkimSigner> {
    if signers.is_empty() {
        return Vec::new();
    }
    let author = mime::author(raw).unwrap_or_default().to_ascii_lowercase();
    let mut domain = author.rsplit_once('@').map_or("", |(_, domain)| domain);
    loop {
        let of_it = |signer: &&DkimSigner| signer.domain.as_str().eq_ignore_ascii_case(domain);
        let found: Vec<_> = signers.iter().filter(of_it).collect();
        match domain.split_once('.') {
            Some((_, above)) if found.is_empty() => domain = above,
            Some(_) | None => return found,
        }
    }
}

/// The signatures that came with a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming {
    /// Those of domains that sign now, which are replaced.
    pub replaced: Vec<Range<usize>>,
    /// Somebody else vouches for the message, also by a seal (RFC 8617): no byte that is signed may change.
    pub is_vouched_for: bool,
}

/// Tells them apart; `ours` are the domains that sign now.
pub(super) fn incoming(raw: &[u8], ours: &[String]) -> Incoming {
    let mut incoming = Incoming::default();
    for field in mime::all_fields(raw) {
        if field.is("ARC-Seal") {
            incoming.is_vouched_for = true;
        } else if field.is("DKIM-Signature") {
            let domain = domain_tag(&field.unfolded());
            let is_ours = |ours: &String| {
                domain.as_deref().is_some_and(|domain| ours.eq_ignore_ascii_case(domain))
            };
            match ours.iter().any(is_ours) {
                true => incoming.replaced.push(field.span),
                false => incoming.is_vouched_for = true,
            }
        }
    }
    // A foreign signature may cover ours.
    if incoming.is_vouched_for {
        incoming.replaced.clear();
    }
    incoming
}

/// The domains of signatures that we made.
pub(super) fn domains_of(fields: &[u8]) -> Vec<String> {
    mime::all_fields(fields).filter_map(|field| domain_tag(&field.unfolded())).collect()
}

/// The `d=` of a signature.
fn domain_tag(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let tag = text.split(';').find_map(|tag| {
        let (name, value) = tag.split_once('=')?;
        (name.trim() == "d").then_some(value)
    });
    tag.map(|value| value.split_ascii_whitespace().collect())
}

/// The message with the line breaks that the relay's encoder gives it: a bare CR or LF becomes CRLF, and the last line
/// ends.
fn mended(message: &[u8]) -> Cow<'_, [u8]> {
    let is_bare = |at: usize| match message[at] {
        b'\n' => at == 0 || message[at - 1] != b'\r',
        _ => message.get(at + 1) != Some(&b'\n'),
    };
    let has_bare = memchr::memchr2_iter(b'\r', b'\n', message).any(is_bare);
    if !has_bare && message.ends_with(b"\r\n") {
        return Cow::Borrowed(message);
    }
    let mut out = Vec::with_capacity(message.len() + message.len() / 32 + 2);
    let mut from = 0;
    for at in memchr::memchr2_iter(b'\r', b'\n', message).filter(|at| is_bare(*at)) {
        out.extend_from_slice(&message[from..at]);
        out.extend_from_slice(b"\r\n");
        from = at + 1;
    }
    out.extend_from_slice(&message[from..]);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_relaxed_as_everybody_does_it() {
        let check = |body: &str, expected: &str| {
            let mut written: Vec<u8> = Vec::new();
            Relaxed(body.as_bytes()).write(&mut written);
            assert_eq!(String::from_utf8(written).unwrap(), expected, "{body:?}");
        };
        check("", "");
        check("\r\n\r\n", "");
        check(" \r\n\t\r\n", "");
        check(" a  b \t\r\n \r\n\t\r\n", " a b\r\n");
        check("a\r\n \r\n\r\nb \t c\r\n", "a\r\n\r\n\r\nb c\r\n");
        check("\t.\r\n", " .\r\n");
    }
}
