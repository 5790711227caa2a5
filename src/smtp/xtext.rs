//! xtext and its UTF-8 sibling: text inside ESMTP parameters (RFC 3461 §4, RFC 6533 §3).
//!
//! Takes a parameter's value, gives the text that it stands for, or `None` when it is malformed or
//! stands for a control character. So no CR or LF can travel in ENVID or ORCPT.

/// Decodes `+XX` with upper-case hexadecimal digits; everything that results is printable ASCII.
pub(super) fn decode(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'+' => hex(bytes.next()?)? * 16 + hex(bytes.next()?)?,
            b'=' => return None,
            byte => byte,
        };
        if !(b' '..=b'~').contains(&byte) {
            return None;
        }
        text.push(char::from(byte));
    }
    Some(text)
}

/// Decodes `utf-8-addr-xtext` and `utf-8-addr-unitext`: xtext in which a character may stand as
/// `\x{HEX}` or, when SMTPUTF8 was negotiated, as itself.
pub(super) fn decode_utf8(value: &str) -> Option<String> {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(c) = rest.chars().next() {
        if let Some(embedded) = rest.strip_prefix("\\x{") {
            let (digits, after) = embedded.split_once('}')?;
            text.push(embedded_char(digits)?);
            rest = after;
        } else if c == '+' {
            text.push_str(&decode(rest.get(..3)?)?);
            rest = rest.get(3..)?;
        } else if c == '\\' || c == '=' || c.is_control() {
            return None;
        } else {
            text.push(c);
            rest = rest.get(c.len_utf8()..)?;
        }
    }
    Some(text)
}

/// RFC 6533 §3: two to six upper-case hexadecimal digits, and never a control character.
fn embedded_char(digits: &str) -> Option<char> {
    if !(2..=6).contains(&digits.len()) || digits.bytes().any(|b| hex(b).is_none()) {
        return None;
    }
    let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    (!c.is_control()).then_some(c)
}

/// RFC 3461 §4 allows upper case only; lower case is taken because clients send it.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_is_decoded() {
        for bad in ["+", "+4", "+4G", "a=b", "+0D+0A", "+00", "+7F", "+FF", "é", "a\tb"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
        assert_eq!(decode("a+2Bb@c+3D").as_deref(), Some("a+b@c="));
        assert_eq!(decode("").as_deref(), Some(""));
    }

    #[test]
    fn utf8_xtext_is_decoded() {
        for bad in ["\\", "\\x{}", "\\x{0A}", "\\x{D800}", "\\x{1111111}", "\\x{41", "+0A", "a=b"] {
            assert_eq!(decode_utf8(bad), None, "{bad}");
        }
        assert_eq!(decode_utf8("j\\x{F8}ran+2Bx@é").as_deref(), Some("jøran+x@é"));
    }
}
