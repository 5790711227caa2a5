//! The tokens in tracked links and pixels: what was opened or clicked, and by whom, under a MAC.
//!
//! A token carries everything that an answer needs, so there is no table to look in, no open redirect,
//! and a link works after its message was deleted. URL-safe base64 without padding (RFC 4648 §5) of
//!
//! ```text
//! kind and version (1) ‖ key id (1) ‖ message (8) ‖ recipient (2) [‖ link (2) ‖ URL] ‖ MAC (16)
//! ```
//!
//! numbers big-endian, the MAC an HMAC-SHA-256 (RFC 2104) over a name of this use and everything before it, cut
//! to 128 bits (§5 there). What it keeps: only what was made with one of the keys is read; every token
//! has one spelling; an open can not be made into a click or the other way round, because the kind is
//! under the MAC; a URL is opaque bytes, and comes out as it went in. All refusals cost one MAC.
//! Pure: keys are made and kept by the archive, and what an answer looks like is the public port's.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::model::Sequence;

/// Longest URL that a link is tracked with; a longer one stays as it is. Browsers and servers take
/// 8,000 octets (RFC 9110 §4.1).
pub const MAX_URL_BYTES: usize = 8 * 1024;

/// Before everything under the MAC, so that a MAC of another use of a key is never one of these.
const DOMAIN: &[u8] = b"waybill link 1\0";
const MAC_BYTES: usize = 16;
/// Kind, key id, message, recipient.
const HEAD_BYTES: usize = 1 + 1 + 8 + 2;
const LINK_BYTES: usize = 2;
const MAX_TOKEN_BYTES: usize = HEAD_BYTES + LINK_BYTES + MAX_URL_BYTES + MAC_BYTES;
/// The same in base64.
const MAX_TOKEN_CHARS: usize = MAX_TOKEN_BYTES.div_ceil(3) * 4;

/// The first byte of a token: version 1 in the upper half, the kind in the lower.
const OPEN: u8 = 0x11;
const CLICK: u8 = 0x12;

/// What a token of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token {
    Open { message: Sequence, recipient: u16 },
    Click { message: Sequence, recipient: u16, link: u16, url: Vec<u8> },
}

/// The key that tokens are made with, and older ones that they are still read with.
#[derive(Clone)]
pub struct TokenKeys {
    current: u8,
    /// By key id; the current one is among them.
    keys: Arc<[(u8, hmac::Key)]>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl TokenKeys {
    /// From random keys with their ids. An id that comes again, or that the current key has, counts
    /// for nothing.
    pub fn new(
        current: (u8, &[u8; 32]),
        older: impl IntoIterator<Item = (u8, [u8; 32])>,
    ) -> TokenKeys {
        let key = |bytes: &[u8; 32]| hmac::Key::new(hmac::HMAC_SHA256, bytes);
        let mut keys = vec![(current.0, key(current.1))];
        for (id, bytes) in older {
            if !keys.iter().any(|(known, _)| *known == id) {
                keys.push((id, key(&bytes)));
            }
        }
        TokenKeys { current: current.0, keys: keys.into() }
    }

    /// The id of the key that tokens are made with; what is rendered again later needs the same.
    pub fn key_id(&self) -> u8 {
        self.current
    }

    /// The same keys, making tokens with another one of them.
    pub fn with_key(&self, id: u8) -> Option<TokenKeys> {
        let is_known = self.keys.iter().any(|(known, _)| *known == id);
        is_known.then(|| TokenKeys { current: id, keys: self.keys.clone() })
    }

    /// The token of a recipient's pixel.
    pub fn open_token(&self, message: Sequence, recipient: u16) -> String {
        self.seal(self.head(OPEN, message, recipient))
    }

    /// The token of a link. One whose URL has more than [`MAX_URL_BYTES`] is never read again.
    pub fn click_token(&self, message: Sequence, recipient: u16, link: u16, url: &[u8]) -> String {
        let mut bytes = self.head(CLICK, message, recipient);
        bytes.extend(link.to_be_bytes());
        bytes.extend(url);
        self.seal(bytes)
    }

    /// What a token says; `None` if it is not ours, whatever is wrong with it.
    pub fn read(&self, token: &str) -> Option<Token> {
        let bytes = decode(token);
        let (body, shown) = bytes.split_last_chunk::<MAC_BYTES>().unwrap_or((&[], &[0; MAC_BYTES]));
        let named = body.get(1).and_then(|id| self.keys.iter().find(|(known, _)| known == id));
        // Without a key of that name the first one is tried: all refusals take the same time.
        let key = named.or_else(|| self.keys.first())?;
        let is_ours: bool = mac(&key.1, body).ct_eq(shown).into();
        if is_ours && named.is_some() { parse(body) } else { None }
    }

    fn head(&self, kind: u8, message: Sequence, recipient: u16) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + MAC_BYTES);
        bytes.extend([kind, self.current]);
        bytes.extend(message.0.to_be_bytes());
        bytes.extend(recipient.to_be_bytes());
        bytes
    }

    fn seal(&self, mut bytes: Vec<u8>) -> String {
        // The current key is always among the keys.
        if let Some((_, key)) = self.keys.iter().find(|(id, _)| *id == self.current) {
            bytes.extend(mac(key, &bytes));
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// The bytes of a token; none if it is no base64 in its one spelling (the decoder refuses padding and
/// bits that are left over).
fn decode(token: &str) -> Vec<u8> {
    if token.len() > MAX_TOKEN_CHARS {
        return Vec::new();
    }
    URL_SAFE_NO_PAD.decode(token).unwrap_or_default()
}

fn mac(key: &hmac::Key, body: &[u8]) -> [u8; MAC_BYTES] {
    let mut context = hmac::Context::with_key(key);
    context.update(DOMAIN);
    context.update(body);
    let mut cut = [0; MAC_BYTES];
    // An HMAC-SHA-256 has 32 octets.
    if let Some(tag) = context.sign().as_ref().first_chunk() {
        cut = *tag;
    }
    cut
}

/// What a body says whose MAC was right.
fn parse(body: &[u8]) -> Option<Token> {
    let (&[kind, _key_id], rest) = body.split_first_chunk()?;
    let (message, rest) = rest.split_first_chunk()?;
    let (recipient, rest) = rest.split_first_chunk()?;
    let message = Sequence(u64::from_be_bytes(*message));
    let recipient = u16::from_be_bytes(*recipient);
    match kind {
        OPEN if rest.is_empty() => Some(Token::Open { message, recipient }),
        CLICK => {
            let (link, url) = rest.split_first_chunk()?;
            let link = u16::from_be_bytes(*link);
            let fits = url.len() <= MAX_URL_BYTES;
            fits.then(|| Token::Click { message, recipient, link, url: url.to_vec() })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys() -> TokenKeys {
        TokenKeys::new((3, &[7; 32]), [(2, [8; 32])])
    }

    /// Ten shapes of tokens, each for a hundred messages.
    fn thousand() -> impl Iterator<Item = String> {
        (0..1000_u64).map(|n| {
            let (message, recipient) = (Sequence(n * n * 7_919), (n % 100) as u16);
            let url = format!("https://example.com/a?x={n}&y=%20{}", "z".repeat(n as usize % 50));
            match n % 10 {
                0..4 => keys().open_token(message, recipient),
                kind => keys().click_token(message, recipient, kind as u16, url.as_bytes()),
            }
        })
    }

    #[test]
    fn no_token_is_accepted_with_one_character_changed_added_or_lost() {
        let (keys, alphabet) = (keys(), b"AQaz09-_=+/ %.\n\0");
        for (number, token) in thousand().enumerate() {
            assert!(keys.read(&token).is_some());
            for at in 0..token.len() {
                let bytes = token.as_bytes();
                // Its neighbours in the alphabet first: they differ in the bits that are left over.
                let near =
                    [bytes[at] ^ 1, bytes[at] ^ 2, bytes[at].wrapping_add(1), bytes[at] ^ 32];
                let far = alphabet[(number + at) % alphabet.len()];
                for new in near.into_iter().chain([far]).filter(|new| *new != bytes[at]) {
                    let mut changed = bytes.to_vec();
                    changed[at] = new;
                    let Ok(changed) = String::from_utf8(changed) else { continue };
                    assert_eq!(keys.read(&changed), None, "{token} {changed}");
                }
            }
            for longer in [format!("{token}="), format!("{token}A"), format!("A{token}")] {
                assert_eq!(keys.read(&longer), None);
            }
            assert_eq!(keys.read(&token[1..]), None);
            assert_eq!(keys.read(&token[..token.len() - 1]), None);
        }
    }

    #[test]
    fn no_token_is_accepted_with_one_bit_changed() {
        let keys = keys();
        for token in thousand() {
            let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut changed = bytes.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(keys.read(&URL_SAFE_NO_PAD.encode(changed)), None, "{token} {bit}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let keys = keys();
        for text in ["", "=", "A", "AA", "====", "é", "EQM", &"A".repeat(38), &"A".repeat(1 << 20)]
        {
            assert_eq!(keys.read(text), None, "{text:.40}");
        }
        // A MAC that is right over what no token says: another kind, an open with a rest, a click
        // without a link.
        let seal = |bytes: &[u8]| keys.seal(bytes.to_vec());
        assert_eq!(keys.read(&seal(b"")), None);
        assert_eq!(keys.read(&seal(&[OPEN, 3])), None);
        assert_eq!(keys.read(&seal(&[0x13, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])), None);
        assert_eq!(keys.read(&seal(&[OPEN, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])), None);
        assert_eq!(keys.read(&seal(&[CLICK, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])), None);
        // And one under the wrong key's name, or under a name that nobody has.
        assert_eq!(keys.read(&seal(&[OPEN, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])), None);
        assert_eq!(keys.read(&seal(&[OPEN, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0])), None);
        // Or another use's.
        let body = [OPEN, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0];
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), &body);
        let other = [&body[..], &tag.as_ref()[..MAC_BYTES]].concat();
        assert_eq!(keys.read(&URL_SAFE_NO_PAD.encode(other)), None);
    }

    #[test]
    fn a_url_has_a_longest() {
        let token = |length| keys().click_token(Sequence(1), 0, 0, &vec![b'a'; length]);
        assert!(keys().read(&token(MAX_URL_BYTES)).is_some());
        assert_eq!(keys().read(&token(MAX_URL_BYTES + 1)), None);
        assert_eq!(keys().read(&token(MAX_URL_BYTES * 2)), None);
    }

    #[test]
    fn older_keys_still_read_and_strange_ones_do_not() {
        let old = TokenKeys::new((2, &[8; 32]), []);
        let token = old.open_token(Sequence(5), 1);
        assert_eq!(keys().read(&token), Some(Token::Open { message: Sequence(5), recipient: 1 }));
        assert_eq!(old.read(&keys().open_token(Sequence(5), 1)), None);
        assert_eq!(TokenKeys::new((2, &[9; 32]), []).read(&token), None);
        // What was made with an older key is made again as it was.
        assert_eq!(keys().with_key(2).unwrap().open_token(Sequence(5), 1), token);
        assert_eq!(keys().key_id(), 3);
        assert!(keys().with_key(4).is_none());
        assert_eq!(
            TokenKeys::new((2, &[8; 32]), [(2, [1; 32])]).read(&token).map(|_| ()),
            Some(())
        );
    }

    #[test]
    fn keys_never_print() {
        assert_eq!(format!("{:?}", keys()), "[hidden]");
    }

    #[test]
    fn a_pixel_is_short() {
        assert_eq!(keys().open_token(Sequence(u64::MAX), u16::MAX).len(), 38);
    }

    proptest! {
        #[test]
        fn what_went_in_comes_out(
            message: u64, recipient: u16, link: u16,
            url in proptest::collection::vec(any::<u8>(), 0..MAX_URL_BYTES),
        ) {
            let (keys, message) = (keys(), Sequence(message));
            let token = keys.click_token(message, recipient, link, &url);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
            prop_assert_eq!(&token, &keys.click_token(message, recipient, link, &url));
            prop_assert_eq!(keys.read(&token), Some(Token::Click { message, recipient, link, url }));
            let token = keys.open_token(message, recipient);
            prop_assert_eq!(keys.read(&token), Some(Token::Open { message, recipient }));
        }

        #[test]
        fn no_text_is_a_token(text in "[A-Za-z0-9_-]{0,200}") {
            prop_assert_eq!(keys().read(&text), None);
        }
    }
}
