//! The proof in a status URL that we hand to a provider: whoever calls it has it from us.
//!
//! `…/hooks/<upstream>/status?message=<id>&proof=<mac>`. Some providers sign nothing (Kannel), so the
//! URL itself must not be guessable. HMAC-SHA-256 (RFC 2104) over upstream and id, cut to 128 bits.

use std::fmt;

use aws_lc_rs::hmac;

use super::hex;
use crate::model::{MessageId, UpstreamName};

/// Octets of the proof that are shown.
const PROOF_BYTES: usize = 16;

/// The key; made once for each archive.
#[derive(Clone)]
pub struct ProofKey(hmac::Key);

impl fmt::Debug for ProofKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl ProofKey {
    /// From 32 random octets.
    pub fn new(key: &[u8; 32]) -> ProofKey {
        ProofKey(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The status URL for one message at one upstream. `public_url` has no slash at its end.
    pub fn status_url(&self, public_url: &str, upstream: &UpstreamName, id: MessageId) -> String {
        let proof = self.proof(upstream, id);
        format!("{public_url}/hooks/{upstream}/status?message={id}&proof={proof}")
    }

    /// Whether a proof is ours, in constant time.
    pub fn holds(&self, upstream: &UpstreamName, id: MessageId, proof: &str) -> bool {
        use subtle::ConstantTimeEq;
        self.proof(upstream, id).as_bytes().ct_eq(proof.as_bytes()).into()
    }

    fn proof(&self, upstream: &UpstreamName, id: MessageId) -> String {
        let tag = hmac::sign(&self.0, format!("status {upstream} {id}").as_bytes());
        // An HMAC-SHA-256 has 32 octets.
        hex::digits(tag.as_ref().get(..PROOF_BYTES).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_one_message_at_one_upstream() {
        let key = ProofKey::new(&[7; 32]);
        let (a, b) = (UpstreamName::parse("a").unwrap(), UpstreamName::parse("b").unwrap());
        let id = MessageId::from_u128(1);
        let url = key.status_url("https://t.example", &a, id);
        let proof = url.rsplit('=').next().unwrap();
        assert_eq!(proof.len(), 32);
        assert!(key.holds(&a, id, proof));
        assert!(!key.holds(&b, id, proof));
        assert!(!key.holds(&a, MessageId::from_u128(2), proof));
        assert!(!key.holds(&a, id, ""));
        assert!(!ProofKey::new(&[8; 32]).holds(&a, id, proof));
    }
}
