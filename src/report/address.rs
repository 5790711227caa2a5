//! Addresses as reports write them: with a type before them, in xtext, in angle brackets, or somewhere
//! in a line (RFC 3464 §2.3.1, RFC 3461 §4, RFC 6533 §3).

use crate::model::Mailbox;

/// Longest local part and domain that are looked for around an `@`.
const MAX_LOCAL_BYTES: usize = 64;
const MAX_DOMAIN_BYTES: usize = 255;

/// The address of a `Final-Recipient` or `Original-Recipient` field.
pub(super) fn of_field(value: &str) -> Option<Mailbox> {
    let (kind, address) = value.split_once(';').unwrap_or(("rfc822", value));
    let bare = bare(address);
    let decoded = if kind.trim().eq_ignore_ascii_case("utf-8") {
        decode_embedded(bare)
    } else {
        decode_xtext(bare)
    };
    let parse = |text: &str| Mailbox::parse(text).ok();
    // Some write a sentence around it, such as `<a@example.com> (expanded from <b@example.com>)`.
    parse(&decoded).or_else(|| parse(bare)).or_else(|| in_line(address).next().map(|found| found.1))
}

/// Without white space, angle brackets, quotes and a comment around it.
pub(super) fn bare(address: &str) -> &str {
    let address = address.trim();
    let address = match (address.strip_prefix('<'), address.find('>')) {
        (Some(_), Some(close)) => &address[1..close],
        (Some(_) | None, _) => address,
    };
    let address = address.trim().trim_matches('\'');
    let address = address.strip_prefix("mailto:").unwrap_or(address);
    address.strip_prefix("SMTP:").or(address.strip_prefix("smtp:")).unwrap_or(address)
}

/// Only what xtext must encode is decoded: many reports carry the address in the clear, where
/// `user+AB@example.com` is a sub-address.
fn decode_xtext(text: &str) -> String {
    let mut out = text.to_owned();
    for (encoded, character) in [("+3D", "="), ("+40", "@"), ("+20", " "), ("+2B", "+")] {
        out = out.replace(encoded, character);
    }
    out
}

/// `\x{E5}` is a character (RFC 6533 §3).
fn decode_embedded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let Some((digits, tail)) = after.split_once('}') else {
            out.push_str("\\x{");
            rest = after;
            continue;
        };
        let code = u32::from_str_radix(digits, 16).ok();
        if let Some(c) = code.and_then(char::from_u32).filter(|c| !c.is_control()) {
            out.push(c);
        }
        rest = tail;
    }
    out.push_str(rest);
    decode_xtext(&out)
}

/// Every address in a text, with the place where it begins.
pub(super) fn in_line(text: &str) -> impl Iterator<Item = (usize, Mailbox)> {
    let mut free_from = 0;
    memchr::memchr_iter(b'@', text.as_bytes()).filter_map(move |at| {
        let window = text.floor_char_boundary(at.saturating_sub(MAX_LOCAL_BYTES)).max(free_from);
        let before = &text[window..at];
        let local = match before.strip_suffix('"') {
            Some(quoted) => &before[quoted.rfind('"')?..],
            None => &before[before.rfind(|c| !is_local(c)).map_or(0, |i| after(before, i))..],
        };
        let after_at = &text[at + 1..];
        let after_at = &after_at[..after_at.floor_char_boundary(MAX_DOMAIN_BYTES)];
        let domain = &after_at[..after_at.find(|c| !is_domain(c)).unwrap_or(after_at.len())];
        let domain = without_tail(domain).trim_end_matches(['.', '-', '_']);
        let local = without_head(local).trim_start_matches(['.', '\'', '/', '=', '*', '|']);
        // `c=US;a= ;p=corp;SMTP=bob@example.com`, and an X.400 address in fields with slashes.
        let local = match local.to_ascii_lowercase().rfind("smtp=") {
            Some(mark) => &local[mark + 5..],
            None => local,
        };
        let is_name = domain.contains('.') && !domain.ends_with(|c: char| c.is_ascii_digit());
        if local.is_empty() || !is_name {
            return None;
        }
        free_from = at + 1 + domain.len();
        let mailbox = Mailbox::parse(&format!("{local}@{domain}")).ok()?;
        Some((at - local.len(), mailbox))
    })
}

/// Without the word that a language without spaces puts right behind an address: no name at the top of the
/// Internet has both ASCII and other letters.
fn without_tail(domain: &str) -> &str {
    let top = domain.rfind('.').map_or(0, |dot| dot + 1);
    match domain[top..].find(|c: char| !c.is_ascii()) {
        Some(at) if at > 0 => &domain[..top + at],
        Some(_) | None => domain,
    }
}

/// Without the word before it, in the scripts of such a language.
fn without_head(local: &str) -> &str {
    let is_eastern = |c: char| c >= '\u{2e80}';
    match local.char_indices().rfind(|(_, c)| is_eastern(*c)) {
        Some((at, c)) if at + c.len_utf8() < local.len() => &local[at + c.len_utf8()..],
        Some(_) | None => local,
    }
}

fn after(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// `atext` with dots (RFC 5322 §3.2.3), less what stands around addresses more often than in them.
fn is_local(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c) || is_letter(c)
}

fn is_domain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || is_letter(c)
}

fn is_letter(c: char) -> bool {
    !c.is_ascii() && c.is_alphanumeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_fields_are_read_in_every_notation() {
        let check = |value: &str, expected: &str| {
            let found = of_field(value).map(|mailbox| mailbox.to_string());
            assert_eq!(found.as_deref().unwrap_or(""), expected, "{value}");
        };
        check("", "");
        check("rfc822;", "");
        check("LOCAL; bob", "");
        check("X400; C=US; A= ; P=corp", "");
        check("rfc822; bob@example.com", "bob@example.com");
        check("RFC822;<bob@Example.COM>", "bob@example.com");
        check(" bob@example.com ", "bob@example.com");
        check("rfc822; bob+40example.com", "bob@example.com");
        check("rfc822; bob+2Bnews@example.com", "bob+news@example.com");
        check("rfc822; bob+AB@example.com", "bob+AB@example.com");
        check("rfc822; bob@example.com (expanded from <list@example.com>)", "bob@example.com");
        check("utf-8; bl\\x{E5}b\\x{E6}r@example.com", "bl\u{e5}b\u{e6}r@example.com");
        check("utf-8; bl\u{e5}@bl\u{e5}.example", "bl\u{e5}@bl\u{e5}.example");
        check("rfc822; 'bob@example.com'", "bob@example.com");
        check("rfc822; SMTP:bob@example.com", "bob@example.com");
    }

    #[test]
    fn addresses_are_found_in_lines() {
        let check = |line: &str, expected: &[&str]| {
            let found: Vec<String> = in_line(line).map(|(_, m)| m.to_string()).collect();
            assert_eq!(found, expected, "{line}");
        };
        check("", &[]);
        check("@", &[]);
        check("a@b @c.example d@ e@10.0.0.1", &[]);
        check("<bob@example.com>: unknown", &["bob@example.com"]);
        check("RCPT TO:<bob@example.com>.", &["bob@example.com"]);
        check("(bob@example.com, eve@example.org)", &["bob@example.com", "eve@example.org"]);
        check("mailto:bob@example.com?subject=x", &["bob@example.com"]);
        check("c=US;a= ;p=corp;o=x;SMTP=bob@example.com on Mon", &["bob@example.com"]);
        check("/S=bob/O=corp/smtp=bob@example.com", &["bob@example.com"]);
        check("\"bob smith\"@example.com", &["\"bob smith\"@example.com"]);
        check("For \u{e5}se@bl\u{e5}.example.", &["\u{e5}se@bl\u{e5}.example"]);
        check("\u{5230}bob@example.com\u{7684}", &["bob@example.com"]);
        check("bob@example.com\u{c5d0}\u{ac8c}", &["bob@example.com"]);
        check("\u{738b}@\u{4f8b}.\u{4e2d}\u{56fd}", &["\u{738b}@\u{4f8b}.\u{4e2d}\u{56fd}"]);
        check(&"a@".repeat(1000), &[]);
    }
}
