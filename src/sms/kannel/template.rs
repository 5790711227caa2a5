//! URL templates with escape codes (Kannel user guide, "Parameters" of the SMS services).
//!
//! `%` and a letter stands for a value, which is percent-encoded; `%%` for a percent sign; every other
//! pair stays as it is. Only the template is searched, never a value. The template itself is the
//! application's: it may hold two question marks or none.

use http::Uri;

/// What the codes stand for.
pub(super) struct Codes<'a> {
    /// `%p` and `%q`: the application's peer, whether the message came from it or went to it.
    pub peer: &'a str,
    /// `%P` and `%Q`: the application's own number or name.
    pub own: &'a str,
    /// `%b`, and its words: `%k` the first, `%s` the next, `%r` the rest, `%a` all.
    pub text: &'a [u8],
    /// `%A`: the text of a receipt.
    pub answer: &'a str,
    /// `%d`
    pub state: u8,
    /// `%c` and `%C`
    pub coding: u8,
    pub charset: &'a str,
    pub udh: &'a [u8],
    /// `%m`
    pub class: Option<u8>,
    /// `%I`, and `%F` as well: the upstream's own id stays here.
    pub id: &'a str,
    /// `%T`: seconds since 1970. `%t`: `2026-11-22 04:27:51`, UTC.
    pub unix: i64,
    pub date: &'a str,
    /// `%n` and `%o`
    pub user: &'a str,
    pub account: &'a str,
}

/// What stands for the upstream in `%i`.
const SMSC: &str = "waybill";

/// Replaces the codes; `None` when what comes out is no URL over HTTP.
pub(super) fn fill(template: &str, codes: &Codes<'_>) -> Option<Uri> {
    let words: Vec<&[u8]> =
        codes.text.split(|b| b.is_ascii_whitespace()).filter(|word| !word.is_empty()).collect();
    let mut next_word = 1;
    let mut out = String::with_capacity(template.len() + 200);
    let mut rest = template.split('#').next().unwrap_or_default();
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(code) = rest.chars().next() else {
            out.push('%');
            break;
        };
        match code {
            'k' => encode(&mut out, words.first().copied().unwrap_or_default()),
            's' | 'S' => {
                encode(&mut out, words.get(next_word).copied().unwrap_or_default());
                next_word += 1;
            }
            'r' => {
                encode(&mut out, &words.get(next_word..).unwrap_or_default().join(&b' '));
            }
            'a' => encode(&mut out, &words.join(&b' ')),
            '%' => out.push_str("%25"),
            _ => match value(code, codes) {
                Some(value) => encode(&mut out, &value),
                // A percent escape of the application, such as %2F.
                None => {
                    out.push('%');
                    out.push(code);
                }
            },
        }
        rest = &rest[code.len_utf8()..];
    }
    out.push_str(rest);
    parse(&out)
}

fn value(code: char, codes: &Codes<'_>) -> Option<Vec<u8>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    match code {
        'p' | 'q' => text(codes.peer),
        'P' | 'Q' => text(codes.own),
        'b' => Some(codes.text.to_vec()),
        'A' => text(codes.answer),
        'd' => text(&codes.state.to_string()),
        'c' => text(&codes.coding.to_string()),
        'C' => text(codes.charset),
        'u' => Some(codes.udh.to_vec()),
        'm' => text(&codes.class.map_or("-1".to_owned(), |class| class.to_string())),
        'F' | 'I' => text(codes.id),
        'T' => text(&codes.unix.to_string()),
        't' => text(codes.date),
        'i' => text(SMSC),
        'n' => text(codes.user),
        'o' => text(codes.account),
        // Billing information and meta data, which we do not have.
        'B' | 'D' => text(""),
        _ => None,
    }
}

fn encode(out: &mut String, value: &[u8]) {
    out.extend(url::form_urlencoded::byte_serialize(value));
}

/// What no URI may hold is escaped: applications write blanks and letters of their language.
fn parse(text: &str) -> Option<Uri> {
    let mut out = String::with_capacity(text.len());
    for byte in text.trim().bytes() {
        match byte {
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.push_str(&format!("%{byte:02X}"));
            }
            _ if byte.is_ascii_graphic() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    let uri: Uri = out.parse().ok()?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    (is_http && uri.host().is_some_and(|host| !host.is_empty())).then_some(uri)
}
