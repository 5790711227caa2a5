//! The record under which a DKIM key is published (RFC 6376 §3.6.1), compared with the key that signs.
//!
//! Takes a key and the text of its TXT record; says everything that a verifier would find wrong. Nothing is looked up
//! here. How a zone or a look-up tool writes records is `zone_text`'s.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::dkim::DkimSigner;

/// `rsaEncryption` with its empty parameters (RFC 8017 appendix A.1).
const RSA_ALGORITHM: &[u8] =
    &[0x30, 13, 0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 0x05, 0];
/// How much of a key is shown where two differ.
const SHOWN_CHARS: usize = 12;

/// Why verifiers would not accept what a key signs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the record is not one of DKIM: its first tag has to be v=DKIM1")]
    Version,
    #[error("the record has no p= tag")]
    NoKey,
    #[error("the record has more than one {0}= tag")]
    Repeated(&'static str),
    #[error("the record's p= is empty: the key is revoked")]
    Revoked,
    #[error("the record's p= is cut off: it has {published} of {ours} characters")]
    CutOff { published: usize, ours: usize },
    #[error("the record's p= is not base64")]
    Base64,
    #[error("the record is for {published} keys (k=), and this one is {ours}")]
    Kind { published: String, ours: &'static str },
    #[error("the record does not allow sha256 (h=)")]
    Hash,
    #[error("the record is not for mail (s=)")]
    Service,
    #[error(
        "the record holds another public key: from character {at} of p= on it has {published:?}, and the key has \
         {ours:?}"
    )]
    OtherKey { at: usize, published: String, ours: String },
}

impl DkimSigner {
    /// The text of the record that has to be published.
    pub fn dns_txt(&self) -> String {
        format!("v=DKIM1; k={}; p={}", self.kind(), self.published_key())
    }

    /// As everybody publishes it. §3.6.1 has the bare RSA key, which is accepted as well.
    fn published_key(&self) -> String {
        let key = match self.kind() {
            "rsa" => subject_public_key_info(&self.public_key()),
            _ => self.public_key(),
        };
        STANDARD.encode(key)
    }
}

/// What of a published record does not fit the key; empty when all of it does.
pub fn compare(signer: &DkimSigner, txt: &str) -> Vec<Mismatch> {
    let tags: Vec<(&str, &str)> = txt
        .split(';')
        .filter_map(|tag| tag.split_once('='))
        .map(|(n, v)| (n.trim(), v.trim()))
        .collect();
    let tag = |name: &str| tags.iter().find(|(tag, _)| *tag == name).map(|(_, value)| *value);
    let version = tags.iter().position(|(name, _)| *name == "v");
    // The tag may be missing, but when it is there it comes first.
    if version.is_some_and(|at| at != 0 || tags[at].1 != "DKIM1") || tags.is_empty() {
        return vec![Mismatch::Version];
    }
    let lists = |name: &str, any: &[&str]| {
        tag(name).is_none_or(|value| value.split(':').any(|item| any.contains(&item.trim())))
    };
    let mut found = Vec::new();
    let count = |name: &str| tags.iter().filter(|(tag, _)| *tag == name).count();
    // RFC 6376 §3.2: then the whole record is void.
    found.extend(
        ["v", "k", "h", "s", "p"].into_iter().filter(|n| count(n) > 1).map(Mismatch::Repeated),
    );
    let kind = tag("k").unwrap_or("rsa");
    if kind != signer.kind() {
        found.push(Mismatch::Kind { published: kind.to_owned(), ours: signer.kind() });
    }
    if !lists("h", &["sha256"]) {
        found.push(Mismatch::Hash);
    }
    if !lists("s", &["*", "email"]) {
        found.push(Mismatch::Service);
    }
    found.extend(match tag("p") {
        None => Some(Mismatch::NoKey),
        // Of another kind of key no character is the same.
        Some(_) if kind != signer.kind() => None,
        Some(published) => compare_key(signer, published),
    });
    found
}

fn compare_key(signer: &DkimSigner, published: &str) -> Option<Mismatch> {
    let published: String = published.split_ascii_whitespace().collect();
    if published.is_empty() {
        return Some(Mismatch::Revoked);
    }
    let ours = signer.published_key();
    if published == ours || STANDARD.decode(&published).is_ok_and(|p| p == signer.public_key()) {
        return None;
    }
    if ours.starts_with(&published) {
        return Some(Mismatch::CutOff { published: published.len(), ours: ours.len() });
    }
    if STANDARD.decode(&published).is_err() {
        return Some(Mismatch::Base64);
    }
    let at = published.bytes().zip(ours.bytes()).take_while(|(a, b)| a == b).count();
    let shown = |key: &str| key.chars().skip(at).take(SHOWN_CHARS).collect();
    Some(Mismatch::OtherKey { at: at + 1, published: shown(&published), ours: shown(&ours) })
}

/// An RSA key with its algorithm around it (RFC 5280 §4.1).
fn subject_public_key_info(key: &[u8]) -> Vec<u8> {
    let mut bits = vec![0];
    bits.extend_from_slice(key);
    let content = [RSA_ALGORITHM, &der(0x03, &bits)].concat();
    der(0x30, &content)
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let significant = &length[length.iter().take_while(|b| **b == 0).count()..];
    let mut out = vec![tag];
    match significant {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            // A length has at most eight bytes.
            out.push(0x80 | u8::try_from(long.len()).unwrap_or(8));
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}
