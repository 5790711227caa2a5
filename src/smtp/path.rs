//! The path in MAIL and RCPT: `<`, an optional source route, the address, `>` (RFC 5321 §4.1.2).
//!
//! Takes what follows `FROM:` or `TO:`, gives what stands between the brackets without its source
//! route, and the rest of the line. The closing bracket is looked for outside quoted strings, so
//! `<"a>b"@c.d>` is one path. A path without brackets is refused: where it ends could be read in
//! more than one way.

use crate::model::Domain;

/// What was found: the address text and what follows the closing bracket.
pub(super) struct Path<'a> {
    pub(super) address: &'a str,
    pub(super) rest: &'a str,
}

/// Splits `[SP]<path>[ parameters]`. One space after the colon is taken, because real clients send
/// it and it can mean nothing else.
pub(super) fn split(text: &str) -> Option<Path<'_>> {
    let text = text.strip_prefix(' ').unwrap_or(text);
    let inner = text.strip_prefix('<')?;
    let end = closing_bracket(inner)?;
    let (path, rest) = (&inner[..end], &inner[end + 1..]);
    if !rest.is_empty() && !rest.starts_with(' ') {
        return None;
    }
    Some(Path { address: without_source_route(path)?, rest })
}

/// The first `>` that is not inside a quoted string.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

/// RFC 5321 appendix C: `@a,@b:user@c` is accepted and means `user@c`. The route is checked, so
/// that nothing else hides in it, and then forgotten.
fn without_source_route(path: &str) -> Option<&str> {
    if !path.starts_with('@') {
        return Some(path);
    }
    let (route, address) = path.split_once(':')?;
    let hop = |hop: &str| hop.strip_prefix('@').is_some_and(|name| Domain::parse(name).is_ok());
    (route.split(',').all(hop) && !address.is_empty()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        assert_eq!(split(text).map(|path| (path.address, path.rest)), expected, "{text}");
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        for bad in [
            "",
            "a@b",
            " ",
            "<",
            "<a@b",
            "a@b>",
            "<a@b>x",
            "<a@b>SIZE=1",
            "  <a@b>",
            "\t<a@b>",
            "<\"a@b>",
            "<@a>",
            "<@a,b:c@d>",
            "<@a b:c@d>",
            "<@a:>",
            "<@:c@d>",
            "<@a,:c@d>",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn the_path_ends_at_its_bracket() {
        check("<>", Some(("", "")));
        check(" <a@b>", Some(("a@b", "")));
        check("<a@b> SIZE=1", Some(("a@b", " SIZE=1")));
        check("<\"a>b\"@c> X", Some(("\"a>b\"@c", " X")));
        check("<\"a\\\"> \"@c>", Some(("\"a\\\"> \"@c", "")));
        check("<@a.example,@b.example:c@d>", Some(("c@d", "")));
        check("<a@b>>", None);
        check("<<a@b>>", None);
    }
}
