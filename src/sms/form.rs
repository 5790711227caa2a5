//! Fields by name, as queries and forms carry them: `application/x-www-form-urlencoded`
//! (WHATWG URL §5).
//!
//! Blank values and repeated names are kept, in order. Percent escapes that are no UTF-8 are not
//! guessed: the caller gets bytes where an older charset is possible.

use std::borrow::Cow;

/// Fields of one request; more would be no request of any dialect.
const MAX_FIELDS: usize = 50_000;

/// Names and values, decoded, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, Vec<u8>)>);

impl Fields {
    /// Reads a query or a form body.
    pub fn parse(text: &[u8]) -> Fields {
        let pairs = text.split(|b| *b == b'&').filter(|pair| !pair.is_empty()).take(MAX_FIELDS);
        let field = |pair: &[u8]| {
            let cut = pair.iter().position(|b| *b == b'=');
            let (name, value) = cut.map_or((pair, &b""[..]), |at| (&pair[..at], &pair[at + 1..]));
            (String::from_utf8_lossy(&decode(name)).into_owned(), decode(value))
        };
        Fields(pairs.map(field).collect())
    }

    /// Adds the fields of another source behind these: the body's behind the query's.
    pub fn and(mut self, other: Fields) -> Fields {
        self.0.extend(other.0);
        self
    }

    /// Adds one field.
    pub fn push(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.as_bytes().to_vec()));
    }

    /// Adds one field whose value need be no text.
    pub fn push_bytes(&mut self, name: &str, value: &[u8]) {
        self.0.push((name.to_owned(), value.to_vec()));
    }

    /// The last value of a name as text, blank ones included. What is no UTF-8 becomes U+FFFD.
    pub fn get(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// The last value of a name as it was sent.
    pub fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(found, _)| found == name).map(|(_, value)| &value[..])
    }

    /// All values of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> + 'a {
        let named = self.0.iter().filter(move |(found, _)| found == name);
        named.map(|(_, value)| String::from_utf8_lossy(value))
    }

    /// Everything, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_str(), &value[..]))
    }

    /// 32 hexadecimal digits that stand for what is said and `also`; the fields in `without` do not count.
    pub fn digest(&self, without: &[&str], also: &[u8]) -> String {
        let mut hash = blake3::Hasher::new();
        let counted = self.iter().filter(|(name, _)| !without.contains(name));
        let pieces = counted.flat_map(|(name, value)| [name.as_bytes(), value]);
        for piece in pieces.chain([also]) {
            // The length keeps what belongs to one piece from looking like another's.
            hash.update(&(piece.len() as u64).to_le_bytes());
            hash.update(piece);
        }
        hash.finalize().to_hex().chars().take(32).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes them: `a=1&b=%C3%A6`. Everything but ASCII letters, digits and `*-._` is escaped, so
    /// no value can become another field.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            out.extend(url::form_urlencoded::byte_serialize(name.as_bytes()));
            out.push('=');
            out.extend(url::form_urlencoded::byte_serialize(value));
        }
        out
    }
}

fn decode(text: &[u8]) -> Vec<u8> {
    unescape(text, b' ')
}

/// `%XX` is an octet, and a plus sign is `plus`: a space in forms, itself elsewhere. A percent sign that
/// begins no escape stands for itself.
pub(super) fn unescape(text: &[u8], plus: u8) -> Vec<u8> {
    let hex = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match byte {
            b'+' => out.push(plus),
            b'%' => match (hex(text.get(at)), hex(text.get(at + 1))) {
                (Some(high), Some(low)) => {
                    // Two hexadecimal digits are at most 255.
                    out.push((high * 16 + low) as u8);
                    at += 2;
                }
                _ => out.push(b'%'),
            },
            _ => out.push(*byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_sent() {
        let fields = Fields::parse(b"To=%2B45&Body=&x=1&x=a+b%C3%A6&&bad=%zz&raw=%ff&name");
        assert_eq!(fields.get("To").as_deref(), Some("+45"));
        assert_eq!(fields.get("Body").as_deref(), Some(""));
        assert_eq!(fields.get("x").as_deref(), Some("a bæ"));
        assert_eq!(fields.all("x").count(), 2);
        assert_eq!(fields.get("bad").as_deref(), Some("%zz"));
        assert_eq!(fields.bytes("raw"), Some(&[0xff][..]));
        assert_eq!(fields.get("name").as_deref(), Some(""));
        assert_eq!(fields.get("none"), None);
    }

    #[test]
    fn a_digest_stands_for_what_counts() {
        let of = |query: &str| Fields::parse(query.as_bytes()).digest(&["token"], b"");
        assert_eq!(of("a=1&b=2"), of("token=x&a=1&b=2"));
        for other in ["a=1", "b=2&a=1", "a=1b&=2", "a=1&b=2&c="] {
            assert_ne!(of("a=1&b=2"), of(other), "{other}");
        }
        assert_ne!(Fields::default().digest(&[], b"x"), Fields::default().digest(&[], b"y"));
    }

    #[test]
    fn no_value_becomes_another_field() {
        let mut fields = Fields::default();
        fields.push("text", "a&b=c\r\nd%+æ");
        assert_eq!(fields.encode(), "text=a%26b%3Dc%0D%0Ad%25%2B%C3%A6");
        assert_eq!(Fields::parse(fields.encode().as_bytes()), fields);
    }
}
