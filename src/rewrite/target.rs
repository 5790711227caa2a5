//! Where a tracked link leads: whether a URL can be given back in a `Location` field, and how.
//!
//! The bytes of a link come out as they went in. What stands in no header field is written as a browser
//! writes it into its request: bytes beyond ASCII and spaces in percent-encoding, a host name in its
//! ASCII form (WHATWG URL, "percent-encode after encoding", "domain to ASCII"). Percent-encoding that is
//! there is never touched. Only `http` and `https` with a host, and no control characters: the rewriter
//! leaves every other link alone, and the public port refuses it even under a right MAC.
//! Pure, and nothing is looked up.

use std::ops::Range;

use url::{Host, Url};

use super::token::MAX_URL_BYTES;

/// The value of `Location` for a link's URL; `None` if nobody is sent there.
pub fn location(url: &[u8]) -> Option<String> {
    let is_clean = url.iter().all(|byte| *byte >= b' ' && *byte != 0x7f);
    if url.len() > MAX_URL_BYTES || !is_clean {
        return None;
    }
    let host = host_span(url)?;
    let (before, rest) = url.split_at_checked(host.start)?;
    let (name, after) = rest.split_at_checked(host.len())?;
    let mut written = String::with_capacity(url.len() + 16);
    encode(&mut written, before);
    match name.is_ascii() {
        true => encode(&mut written, name),
        // As it stands in the name system; percent-encoded, many a client would not find it.
        false => written.push_str(&Host::parse(std::str::from_utf8(name).ok()?).ok()?.to_string()),
    }
    encode(&mut written, after);
    // The last word has the grammar that browsers have.
    let parsed = Url::parse(&written).ok()?;
    let is_web = matches!(parsed.scheme(), "http" | "https");
    (is_web && parsed.host_str().is_some_and(|host| !host.is_empty())).then_some(written)
}

/// Where the host name stands, of a URL that names one in the way that everybody understands: not
/// `https:\\x`, `https:x` or `https:///x`, which only browsers read.
fn host_span(url: &[u8]) -> Option<Range<usize>> {
    let begins = |scheme: &[u8]| {
        url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    };
    let start = [&b"http://"[..], b"https://"].into_iter().find(|s| begins(s))?.len();
    let rest = url.get(start..)?;
    let end = rest.iter().position(|b| b"/?#\\".contains(b)).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    let name = authority.iter().rposition(|b| *b == b'@').map_or(0, |at| at + 1);
    let port = authority.get(name..)?.iter().position(|b| *b == b':');
    // An address in brackets is ASCII, so its colons change nothing.
    let length = port.unwrap_or(end - name);
    (end > name).then_some(start + name..start + name + length)
}

fn encode(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_graphic() {
            out.push(char::from(*byte));
        } else {
            let digit = |half: u8| char::from(DIGITS[usize::from(half & 15)]);
            out.extend(['%', digit(byte >> 4), digit(*byte)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(url: impl AsRef<[u8]>, expected: Option<&str>) {
        let url = url.as_ref();
        assert_eq!(location(url).as_deref(), expected, "{}", String::from_utf8_lossy(url));
    }

    #[test]
    fn nobody_is_sent_where_a_link_can_not_lead() {
        for url in [
            "",
            "/",
            "//evil.example/",
            "evil.example",
            "javascript:alert(1)",
            "JaVaScRiPt://x/%0aalert(1)",
            "data:text/html,<script>",
            "vbscript:x",
            "file:///etc/passwd",
            "ftp://x.example/",
            "mailto:kim@example.org",
            "http:",
            "http:/",
            "http://",
            "http:///x",
            "http://?x",
            "http://#x",
            "http://:80/",
            "http://@/",
            "http://a@:80/",
            "https:x.example",
            "https:\\\\x.example",
            "https:/\\x.example",
            "https://\\x.example",
            " https://x.example",
            "\thttps://x.example",
            "https://x.example/\r\nSet-Cookie: a=b",
            "https://x.example/\nx",
            "https://x.example/\rx",
            "https://x.example/\tx",
            "https://x.example/\0",
            "https://x.example/\x7f",
            "https://x .example/",
            "https://x.example:99999/",
            "https://[::1/",
            "https://%00/",
        ] {
            check(url, None);
        }
        check(b"https://\xff\xfe.example/", None);
        check(format!("https://x.example/{}", "a".repeat(MAX_URL_BYTES)), None);
    }

    #[test]
    fn the_bytes_of_a_link_are_kept() {
        for url in [
            "http://x.example",
            "HTTPS://X.Example:8443/a/../b/./c?x=1&amp;y=2#frag",
            "https://x.example/?a=%20%zz%&b=%2F%2f&&c==",
            "https://user:pass@x.example/",
            "https://x.example/\"<>{}|^`\\~'()*!,;:@$+",
            "https://[2001:db8::1]:443/x",
            "https://192.0.2.1/?u=https://y.example/?z",
            "https://s3.example/k?X-Amz-Signature=abc%2Bdef%3D&X-Amz-Date=20260101T000000Z",
        ] {
            check(url, Some(url));
        }
        let long = format!("https://x.example/?{}", "k=%C3%A6&".repeat(440));
        check(&long, Some(&long));
    }

    #[test]
    fn what_stands_in_no_header_is_written_as_browsers_do() {
        check("https://x.example/ æ?ø=å b", Some("https://x.example/%20%C3%A6?%C3%B8=%C3%A5%20b"));
        check(b"https://x.example/\xe6", Some("https://x.example/%E6"));
        check("https://blåbær.example/å", Some("https://xn--blbr-roah.example/%C3%A5"));
        check(
            "https://a@blåbær.example:8443?å",
            Some("https://a@xn--blbr-roah.example:8443?%C3%A5"),
        );
    }

    proptest! {
        #[test]
        fn whatever_is_given_back_is_one_clean_field(rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let url = [&b"https://"[..], &rest].concat();
            if let Some(written) = location(&url) {
                prop_assert!(written.bytes().all(|byte| byte.is_ascii_graphic()));
                prop_assert!(written.starts_with("https://"));
                // Twice is the same as once.
                prop_assert_eq!(location(written.as_bytes()), Some(written.clone()));
            }
        }
    }
}
