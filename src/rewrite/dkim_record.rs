//! The record under which a DKIM key is published (RFC 6376 §3.6.1), compared with the key that signs.
//!
//! Takes a key and the text of a TXT record, as a name server's zone or a look-up tool shows it; says what a verifier
//! would find wrong. Nothing is looked up here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::dkim::DkimSigner;

/// `rsaEncryption` with its empty parameters (RFC 8017 appendix A.1).
const RSA_ALGORITHM: &[u8] =
    &[0x30, 13, 0x06, 9, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1, 0x05, 0];

/// Why verifiers would not accept what a key signs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the record is not one of DKIM: its first tag has to be v=DKIM1")]
    Version,
    #[error("the record has no p= tag")]
    NoKey,
    #[error("the record's p= is empty: the key is revoked")]
    Revoked,
    #[error("the record's p= is not base64")]
    Base64,
    #[error("the record is for {published} keys (k=), and this one is {ours}")]
    Kind { published: String, ours: &'static str },
    #[error("the record does not allow sha256 (h=)")]
    Hash,
    #[error("the record is not for mail (s=)")]
    Service,
    #[error("the record holds another public key")]
    OtherKey,
}

impl DkimSigner {
    /// The text of the record that has to be published.
    pub fn dns_txt(&self) -> String {
        let key = match self.kind() {
            "rsa" => subject_public_key_info(&self.public_key()),
            _ => self.public_key(),
        };
        format!("v=DKIM1; k={}; p={}", self.kind(), STANDARD.encode(key))
    }
}

/// Whether what is published fits the key.
pub fn compare(signer: &DkimSigner, dns_txt: &str) -> Result<(), Mismatch> {
    let text = joined(dns_txt);
    let tags: Vec<(&str, &str)> = text
        .split(';')
        .filter_map(|tag| tag.split_once('='))
        .map(|(n, v)| (n.trim(), v.trim()))
        .collect();
    let tag = |name: &str| tags.iter().find(|(tag, _)| *tag == name).map(|(_, value)| *value);
    let version = tags.iter().position(|(name, _)| *name == "v");
    // The tag may be missing, but when it is there it comes first.
    if version.is_some_and(|at| at != 0 || tags[at].1 != "DKIM1") || tags.is_empty() {
        return Err(Mismatch::Version);
    }
    let lists = |name: &str, any: &[&str]| {
        tag(name).is_none_or(|value| value.split(':').any(|item| any.contains(&item.trim())))
    };
    let published: String = tag("p").ok_or(Mismatch::NoKey)?.split_ascii_whitespace().collect();
    if published.is_empty() {
        return Err(Mismatch::Revoked);
    }
    let kind = tag("k").unwrap_or("rsa");
    if kind != signer.kind() {
        return Err(Mismatch::Kind { published: kind.to_owned(), ours: signer.kind() });
    }
    if !lists("h", &["sha256"]) {
        return Err(Mismatch::Hash);
    }
    if !lists("s", &["*", "email"]) {
        return Err(Mismatch::Service);
    }
    let published = STANDARD.decode(published).map_err(|_| Mismatch::Base64)?;
    let ours = signer.public_key();
    // §3.6.1 has the bare RSA key, and everybody publishes it within its wrapping.
    if published == ours || published == subject_public_key_info(&ours) {
        Ok(())
    } else {
        Err(Mismatch::OtherKey)
    }
}

/// The strings of a zone file as the one text that they mean.
fn joined(dns_txt: &str) -> String {
    let plain = dns_txt.replace("\\;", ";");
    match plain.contains('"') {
        true => plain.split('"').skip(1).step_by(2).collect(),
        false => plain,
    }
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
