//! Which links are followed, and which are left as they are and why.
//!
//! Takes a URL as its reader's program would use it, and the words around it; gives the first reason against it. What is
//! not surely a link to a web page is left alone: a mail is worth more than a click.
//! The URL that is followed is carried as the bytes that stand there; nothing in it is decoded, ordered or escaped.

use std::collections::BTreeSet;

use wildmatch::WildMatch;

use super::public_url::PublicUrl;
use super::target::location;
use crate::mime;
use crate::model::SkipReason;

/// Longest URL that is followed; what is longer, servers refuse (RFC 9110 §4.1).
const MAX_URL_BYTES: usize = 8 * 1024;
/// URLs of List-Unsubscribe that are remembered.
const MAX_UNSUBSCRIBE_URLS: usize = 16;

/// What is asked of every link of one message.
pub(super) struct Judge<'a> {
    public_url: &'a PublicUrl,
    exclude: Vec<WildMatch>,
    unsubscribe_urls: BTreeSet<String>,
}

impl<'a> Judge<'a> {
    /// `exclude`: globs over URLs, with or without their scheme.
    pub fn new(raw: &[u8], public_url: &'a PublicUrl, exclude: &[String]) -> Judge<'a> {
        let exclude = exclude.iter().map(|glob| WildMatch::new(glob)).collect();
        Judge { public_url, exclude, unsubscribe_urls: unsubscribe_urls(raw) }
    }

    /// Whether a URL is followed. `keeps_unicode`: what is beyond ASCII in it means itself in UTF-8.
    pub fn url(&self, url: &str, keeps_unicode: bool) -> Result<(), SkipReason> {
        if url.is_empty() {
            return Err(SkipReason::Relative);
        }
        if url.starts_with('#') {
            return Err(SkipReason::Fragment);
        }
        if is_placeholder(url) {
            return Err(SkipReason::Placeholder);
        }
        let rest = of_the_web(url)?;
        if self.public_url.is_ours(url) {
            return Err(SkipReason::Ours);
        }
        if self.exclude.iter().any(|glob| glob.matches(url) || glob.matches(rest)) {
            return Err(SkipReason::Excluded);
        }
        if self.unsubscribe_urls.contains(url) || says_unsubscribe(url) {
            return Err(SkipReason::Unsubscribe);
        }
        let host = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        let is_usual = !host.is_empty()
            && !host.contains([' ', '\\'])
            && url.len() <= MAX_URL_BYTES
            && !url.chars().any(char::is_control)
            && (keeps_unicode || url.is_ascii())
            // Whoever clicks has to be sent there.
            && location(url.as_bytes()).is_some();
        if is_usual { Ok(()) } else { Err(SkipReason::Unusual) }
    }

    /// Whether a link with these words, and these beside it, is followed.
    pub fn words(text: &str, beside: &str) -> Result<(), SkipReason> {
        if says_unsubscribe(text) || says_unsubscribe(beside) {
            return Err(SkipReason::Unsubscribe);
        }
        if is_url_like(text) { Err(SkipReason::TextIsUrl) } else { Ok(()) }
    }
}

/// What stands behind `http://` or `https://`.
fn of_the_web(url: &str) -> Result<&str, SkipReason> {
    let end = url.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    let scheme = match end {
        Some(end) if end > 0 && url[end..].starts_with(':') => url[..end].to_ascii_lowercase(),
        Some(_) | None => return Err(SkipReason::Relative),
    };
    match scheme.as_str() {
        "http" | "https" => url[scheme.len() + 1..].strip_prefix("//").ok_or(SkipReason::Unusual),
        "mailto" => Err(SkipReason::Mailto),
        "tel" | "callto" => Err(SkipReason::Tel),
        "sms" => Err(SkipReason::Sms),
        "cid" | "mid" => Err(SkipReason::Cid),
        _ => Err(SkipReason::OtherScheme),
    }
}

/// The web addresses of List-Unsubscribe (RFC 2369 §3.2), as they stand there.
fn unsubscribe_urls(raw: &[u8]) -> BTreeSet<String> {
    let mut urls = BTreeSet::new();
    for field in mime::fields(raw).filter(|field| field.is("List-Unsubscribe")) {
        let body = field.unfolded();
        for candidate in body.split(|b| *b == b'<').skip(1).take(MAX_UNSUBSCRIBE_URLS) {
            let end = memchr::memchr(b'>', candidate).unwrap_or(candidate.len());
            let url: Vec<u8> =
                candidate[..end].iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            urls.extend(String::from_utf8(url));
        }
    }
    urls
}

/// Whether words say that this is for leaving a list: the usual ones in the languages of mail that we know of. In URLs,
/// words may be divided by `-`, `_` or nothing.
fn says_unsubscribe(words: &str) -> bool {
    const WORDS: [&str; 40] = [
        "unsubscrib",
        "optout",
        "removeme",
        "avmeld",
        "meldavdeg",
        "melddegav",
        "avsluttabonnement",
        "stoppabonnement",
        "afmeld",
        "meldfra",
        "avregistrera",
        "avprenumerera",
        "avslutaprenumeration",
        "peruutatilau",
        "lopetatilau",
        "abmeld",
        "abbestell",
        "austrag",
        "abonnementkundigen",
        "desabonn",
        "d\u{e9}sabonn",
        "desinscri",
        "d\u{e9}sinscri",
        "sedesinscrire",
        "dardebaja",
        "darsedebaja",
        "cancelarsuscripci",
        "cancelarainscri",
        "cancelarinscri",
        "descadastr",
        "disiscri",
        "annullaiscrizione",
        "annullal'iscrizione",
        "uitschrijv",
        "wypisz",
        "odhl\u{e1}sit",
        "\u{43e}\u{442}\u{43f}\u{438}\u{441}",
        "\u{914d}\u{4fe1}\u{505c}\u{6b62}",
        "\u{8cfc}\u{8aad}\u{89e3}\u{9664}",
        "\u{9000}\u{8ba2}",
    ];
    let folded: String = words
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '-' | '_' | '\u{ad}' | '\u{200b}' | '+'))
        .flat_map(char::to_lowercase)
        .collect();
    WORDS.iter().any(|word| folded.contains(word))
}

/// Whether the words of a link read as the address of a web page, whole or in part.
fn is_url_like(text: &str) -> bool {
    let shown: String = text
        .chars()
        .filter(|c| !matches!(c, '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}'))
        .collect();
    let lower = shown.trim().to_lowercase();
    if lower.contains("://") || lower.split_whitespace().any(|word| word.starts_with("www.")) {
        return true;
    }
    let mut words = lower.split_whitespace();
    let (Some(word), None) = (words.next(), words.next()) else { return false };
    let host = &word[..word.find(['/', '?', '#', ':']).unwrap_or(word.len())];
    let mut labels = host.trim_end_matches('.').rsplit('.');
    let top = labels.next().unwrap_or_default();
    let is_label =
        |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    let has_more = host.trim_end_matches('.').contains('.');
    has_more && top.len() >= 2 && top.chars().all(char::is_alphabetic) && labels.all(is_label)
}

/// Whether a template is still to be filled in: `{{x}}`, `{%x%}`, `*|X|*`, `[[x]]`, `<%x%>`, `${x}`, `%x%`.
fn is_placeholder(url: &str) -> bool {
    let marked = ["{{", "{%", "*|", "[[", "<%", "${", "%%"].iter().any(|mark| url.contains(mark));
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        let first = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
        // `%ab` is a byte in percent-encoding.
        let is_encoded =
            name.as_bytes().get(..2).is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit));
        first && !is_encoded && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
    };
    let pieces = url.matches('%').count() + 1;
    // The first piece stands before any `%`, the last is not closed by one.
    marked || url.split('%').skip(1).take(pieces.saturating_sub(2)).any(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(url: &str) -> Result<(), SkipReason> {
        let public_url = PublicUrl::parse("https://t.example.com").unwrap();
        let raw = b"List-Unsubscribe: <mailto:x@y.z>,\r\n <https://list.example.com/\r\n leave?a=1&b=2>\r\n\r\n";
        let exclude = ["*.example.net/private*".into(), "https://exact.example.org/".into()];
        Judge::new(raw, &public_url, &exclude).url(url, true)
    }

    #[test]
    fn what_is_no_web_page_is_left_alone() {
        let check = |url: &str, expected| assert_eq!(judged(url), Err(expected), "{url}");
        check("", SkipReason::Relative);
        check("#top", SkipReason::Fragment);
        check("page.html", SkipReason::Relative);
        check("/page", SkipReason::Relative);
        check("?q", SkipReason::Relative);
        check("//example.com/x", SkipReason::Relative);
        check(":x", SkipReason::Relative);
        check("MailTo:kim@example.org", SkipReason::Mailto);
        check("tel:+4799", SkipReason::Tel);
        check("sms:+4799", SkipReason::Sms);
        check("cid:x", SkipReason::Cid);
        check("javascript:x", SkipReason::OtherScheme);
        check("ftp://example.com", SkipReason::OtherScheme);
        check("http:x", SkipReason::Unusual);
        check("http:///x", SkipReason::Unusual);
        check("http://a\\b", SkipReason::Unusual);
        check("http://a/b\nc", SkipReason::Unusual);
        check("http://a:99999/", SkipReason::Unusual);
        check("http://a%00b/", SkipReason::Unusual);
        check("http://@/", SkipReason::Unusual);
        check(&format!("http://a/{}", "x".repeat(9000)), SkipReason::Unusual);
        check("https://t.example.com/c/abc", SkipReason::Ours);
        check("https://t.example.com/o/abc", SkipReason::Ours);
        check("https://a.example.net/private/x", SkipReason::Excluded);
        check("https://exact.example.org/", SkipReason::Excluded);
        check("https://list.example.com/leave?a=1&b=2", SkipReason::Unsubscribe);
        check("https://x.example.com/Opt-Out/1", SkipReason::Unsubscribe);
        check("https://x.example.com/{{id}}", SkipReason::Placeholder);
        check("https://x.example.com/?a=*|EMAIL|*", SkipReason::Placeholder);
        check("https://x.example.com/?a=%recipient.id%&b=1", SkipReason::Placeholder);
        check("%unsubscribe_url%", SkipReason::Placeholder);
    }

    #[test]
    fn web_pages_are_followed() {
        for url in [
            "http://a",
            "HTTPS://example.com",
            "https://example.com?a=1&b=%C3%A5%2f#x",
            "https://example.com/100%",
            "https://example.com/%C3%A5%20b",
            "https://t.example.community/c/abc",
            "https://bl\u{e5}b\u{e6}r.example/\u{f8} x",
            "https://user@example.com:8443/|^`",
        ] {
            assert_eq!(judged(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn words_that_are_an_address_or_an_unsubscription_are_heeded() {
        let check = |text: &str, expected| assert_eq!(Judge::words(text, ""), expected, "{text}");
        for url in [
            "https://a.b/c",
            "see http://x",
            "www.example.com",
            "visit WWW.a.b",
            "example.com",
            " Example.com/x?y ",
            "exam\u{ad}ple.com.",
        ] {
            check(url, Err(SkipReason::TextIsUrl));
        }
        for words in [
            "Unsubscribe",
            "un\u{ad}subscribe here",
            "Avmelding",
            "Meld deg av",
            "Se d\u{e9}sabonner",
            "\u{914d}\u{4fe1}\u{505c}\u{6b62}",
        ] {
            check(words, Err(SkipReason::Unsubscribe));
        }
        for words in ["", "Click here", "1.5", "Version 2.0", "see example.com for more", "..."] {
            check(words, Ok(()));
        }
        assert_eq!(Judge::words("here", "To unsubscribe, click "), Err(SkipReason::Unsubscribe));
    }
}
