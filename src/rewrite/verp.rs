//! The return path of one recipient (VERP): a bounce that comes back to it says by its address alone whom
//! it is about.
//!
//! ```text
//! bounce+<token>@bounces.example.com
//! token: base32 in lower case of message (8) ‖ recipient (2) ‖ MAC (10), 32 characters
//! ```
//!
//! numbers big-endian, the MAC an HMAC-SHA-256 (RFC 2104) over a name of this use and both numbers, cut to 80
//! bits (§5 there). Base32 (RFC 4648 §6), since receivers change the case of local parts; read in any case.
//! What it keeps: only what was made with one of the keys is read, so nobody can tell us a bounce of a
//! message whose address was never seen; every address fits the 64 octets of a local part (RFC 5321
//! §4.5.3.1.1). Pure: keys are made and kept elsewhere.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use crate::model::{Mailbox, Sequence};

/// Instead of a recipient's index, in the return path of a transaction with several: the report has to
/// say whom it means.
pub const SEVERAL: u16 = u16::MAX;

/// Before everything under the MAC, so that a MAC of another use of a key is never one of these.
const DOMAIN: &[u8] = b"waybill return path 1\0";
const HEAD_BYTES: usize = 8 + 2;
const MAC_BYTES: usize = 10;
/// 160 bits in base32.
const TOKEN_CHARS: usize = 32;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The keys of return paths: the first makes them, all read them.
#[derive(Clone)]
pub struct VerpKeys(Arc<[hmac::Key]>);

impl fmt::Debug for VerpKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl VerpKeys {
    /// From random keys.
    pub fn new(current: &[u8; 32], older: &[[u8; 32]]) -> VerpKeys {
        let all = std::iter::once(current).chain(older);
        VerpKeys(all.map(|bytes| hmac::Key::new(hmac::HMAC_SHA256, bytes)).collect())
    }

    /// The token of a recipient.
    pub fn verp_token(&self, message: Sequence, recipient: u16) -> String {
        let mut bytes = [0; HEAD_BYTES + MAC_BYTES];
        bytes[..8].copy_from_slice(&message.0.to_be_bytes());
        bytes[8..HEAD_BYTES].copy_from_slice(&recipient.to_be_bytes());
        if let Some(key) = self.0.first() {
            let tag = mac(key, &bytes[..HEAD_BYTES]);
            bytes[HEAD_BYTES..].copy_from_slice(&tag);
        }
        encode(&bytes)
    }

    /// Whose token it is; `None` if it is not ours.
    pub fn read_verp(&self, token: &str) -> Option<(Sequence, u16)> {
        let bytes = decode(token)?;
        let (head, shown) = bytes.split_at(HEAD_BYTES);
        let is_ours = |key: &hmac::Key| bool::from(mac(key, head).ct_eq(shown));
        if !self.0.iter().any(is_ours) {
            return None;
        }
        let (message, recipient) = head.split_first_chunk::<8>()?;
        let recipient = u16::from_be_bytes(recipient.try_into().ok()?);
        Some((Sequence(u64::from_be_bytes(*message)), recipient))
    }

    /// The return path of a recipient, built on `base`; `None` when that has no room for it.
    pub fn return_path(
        &self,
        base: &Mailbox,
        message: Sequence,
        recipient: u16,
    ) -> Option<Mailbox> {
        let token = self.verp_token(message, recipient);
        Mailbox::parse(&format!("{}+{token}@{}", base.local(), base.domain())).ok()
    }

    /// Whose return path an address is.
    pub fn read_return_path(&self, base: &Mailbox, address: &Mailbox) -> Option<(Sequence, u16)> {
        self.read_verp(token_of(base, address)?)
    }
}

/// What stands behind the `+` of an address that is built on `base`.
pub fn token_of<'a>(base: &Mailbox, address: &'a Mailbox) -> Option<&'a str> {
    let local = address.local();
    let (name, token) = (local.get(..base.local().len())?, local.get(base.local().len()..)?);
    let is_built = address.domain() == base.domain() && name.eq_ignore_ascii_case(base.local());
    token.strip_prefix('+').filter(|_| is_built)
}

fn mac(key: &hmac::Key, head: &[u8]) -> [u8; MAC_BYTES] {
    let mut context = hmac::Context::with_key(key);
    context.update(DOMAIN);
    context.update(head);
    let mut cut = [0; MAC_BYTES];
    // An HMAC-SHA-256 has 32 octets.
    if let Some(tag) = context.sign().as_ref().first_chunk() {
        cut = *tag;
    }
    cut
}

/// Five octets are eight characters, so nothing is left over.
fn encode(bytes: &[u8; HEAD_BYTES + MAC_BYTES]) -> String {
    let mut out = String::with_capacity(TOKEN_CHARS);
    for five in bytes.chunks(5) {
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let index = (bits >> (place * 5)) & 31;
            out.push(char::from(ALPHABET[usize::try_from(index).unwrap_or_default()]));
        }
    }
    out
}

fn decode(token: &str) -> Option<Vec<u8>> {
    if token.len() != TOKEN_CHARS {
        return None;
    }
    let mut out = Vec::with_capacity(HEAD_BYTES + MAC_BYTES);
    for eight in token.as_bytes().chunks(8) {
        let mut bits = 0_u64;
        for character in eight {
            let value = match character.to_ascii_lowercase() {
                letter @ b'a'..=b'z' => letter - b'a',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        out.extend_from_slice(&bits.to_be_bytes()[3..]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Mailbox {
        Mailbox::parse("bounce@bounces.example.com").unwrap()
    }

    #[test]
    fn what_was_made_is_read_in_any_case() {
        let keys = VerpKeys::new(&[7; 32], &[]);
        for (message, recipient) in [(0, 0), (1, 2), (u64::MAX, u16::MAX), (1 << 40, 300)] {
            let path = keys.return_path(&base(), Sequence(message), recipient).unwrap();
            assert_eq!(path.local().len(), "bounce+".len() + TOKEN_CHARS);
            let expected = Some((Sequence(message), recipient));
            assert_eq!(keys.read_return_path(&base(), &path), expected);
            let loud = Mailbox::parse(&path.to_string().to_uppercase()).unwrap();
            assert_eq!(keys.read_return_path(&base(), &loud), expected);
        }
    }

    #[test]
    fn what_is_not_ours_is_not_read() {
        let keys = VerpKeys::new(&[7; 32], &[]);
        let token = keys.verp_token(Sequence(5), 1);
        let check = |text: &str| assert_eq!(keys.read_verp(text), None, "{text}");
        check("");
        check(&"a".repeat(TOKEN_CHARS));
        check(&token[1..]);
        check(&format!("{token}a"));
        check(&VerpKeys::new(&[8; 32], &[]).verp_token(Sequence(5), 1));
        for at in 0..TOKEN_CHARS {
            let mut other = token.clone().into_bytes();
            other[at] = if other[at] == b'a' { b'b' } else { b'a' };
            check(&String::from_utf8(other).unwrap());
        }
        let other =
            |text: &str| token_of(&base(), &Mailbox::parse(text).unwrap()).map(str::to_owned);
        assert_eq!(other("bounce@bounces.example.com"), None);
        assert_eq!(other("bouncex+a@bounces.example.com"), None);
        assert_eq!(other("bounce+a@example.com"), None);
        assert_eq!(other("Bounce+a@Bounces.example.com").as_deref(), Some("a"));
    }

    #[test]
    fn an_older_key_still_reads() {
        let old = VerpKeys::new(&[7; 32], &[]);
        let new = VerpKeys::new(&[8; 32], &[[7; 32]]);
        let token = old.verp_token(Sequence(5), 1);
        assert_eq!(new.read_verp(&token), Some((Sequence(5), 1)));
        assert_ne!(new.verp_token(Sequence(5), 1), token);
    }

    #[test]
    fn a_base_without_room_has_no_return_path() {
        let long = Mailbox::parse(&format!("{}@example.com", "b".repeat(40))).unwrap();
        assert_eq!(VerpKeys::new(&[7; 32], &[]).return_path(&long, Sequence(1), 0), None);
    }
}
