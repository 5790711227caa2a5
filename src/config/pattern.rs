//! Kinds of values that match or point at something: globs, regular expressions, URLs.

use regex::{Regex, RegexBuilder};
use url::Url;
use wildmatch::WildMatch;

use super::kind::{Complaint, Word};
use crate::model::Originator;
use crate::policy::AddressPattern;
use crate::policy::route;

/// A pattern runs over every message, so its compiled form is kept small.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// A glob with the text that it was written as.
#[derive(Clone, Debug)]
pub struct Glob {
    pub text: String,
    pub pattern: WildMatch,
}

/// `*` and `?`, compared without case.
pub(super) const GLOB: Word<Glob> = Word {
    expected: "a pattern",
    example: "*@example.com",
    parse: |text| {
        check_glob(text)?;
        Ok(Glob { text: text.to_owned(), pattern: route::pattern(text) })
    },
    write: |glob| glob.text.clone(),
};

/// A pattern for a whole e-mail address.
pub(super) const SENDER: Word<(String, AddressPattern)> = Word {
    expected: "a pattern for addresses",
    example: "*@example.com",
    parse: |text| {
        check_glob(text)?;
        if !text.contains(['@', '*']) {
            return Err(Complaint::because("an address has an \"@\", so it matches none")
                .advise(format!("write \"*@{text}\" for everybody there")));
        }
        Ok((text.to_owned(), AddressPattern::new(text)))
    },
    write: |(text, _)| text.clone(),
};

/// Only `*` and `?` mean something; what looks like more is a mistake.
fn check_glob(text: &str) -> Result<(), Complaint> {
    if text.is_empty() {
        return Err(Complaint::because("it is empty").advise("write \"*\" to match everything"));
    }
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(Complaint::because("it holds a space or a control character"));
    }
    let local = text.rsplit_once('@').map_or(text, |(local, _)| local);
    if local.contains(['[', '{']) || text.contains(',') {
        return Err(Complaint::because("only \"*\" and \"?\" have a meaning in it")
            .advise("write one pattern for each alternative"));
    }
    Ok(())
}

/// A regular expression.
pub(super) const REGEX: Word<Regex> = Word {
    expected: "a regular expression",
    example: "\\bINV-\\d+\\b",
    parse: |text| {
        let regex =
            RegexBuilder::new(text).size_limit(MAX_REGEX_BYTES).build().map_err(|error| {
                Complaint::because(regex_reason(&error))
                    .advise("write it in single quotes, such as '\\bINV-\\d+\\b'")
            })?;
        if regex.is_match("") {
            return Err(Complaint::because("it matches nothing at all, and so everywhere")
                .advise("write at least one character that must be there"));
        }
        Ok(regex)
    },
    write: |regex| regex.as_str().to_owned(),
};

/// The one line of the library's drawing that says what is wrong.
fn regex_reason(error: &regex::Error) -> String {
    let text = match error {
        regex::Error::CompiledTooBig(_) => String::from("it is too big"),
        error => error.to_string(),
    };
    let last = text.lines().last().unwrap_or_default();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// The base URL of an HTTP API, of a webhook or of the tracking host.
pub(super) const HTTP_URL: Word<Url> = Word {
    expected: "a URL",
    example: "https://example.com",
    parse: |text| {
        let url = Url::parse(text.trim()).map_err(|error| {
            let complaint = Complaint::because(error.to_string());
            match text.contains("://") {
                true => complaint,
                false => complaint.advise(format!("write \"https://{}\"", text.trim())),
            }
        })?;
        check_url(&url)?;
        Ok(url)
    },
    write: |url| url.as_str().trim_end_matches('/').to_owned(),
};

fn check_url(url: &Url) -> Result<(), Complaint> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Complaint::because("only https and http are spoken"));
    }
    // It would be printed and logged.
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Complaint::because("it holds a user name or password")
            .advise("write them as keys of their own"));
    }
    if url.fragment().is_some() {
        return Err(Complaint::because("it has a fragment").advise("leave out \"#\" and the rest"));
    }
    Ok(())
}

/// What a pattern could match: a port holds digits, everything else may hold letters.
fn filled(pattern: &str) -> String {
    let (authority, path) = pattern.split_at(pattern.find('/').unwrap_or(pattern.len()));
    let (host, port) = authority.split_at(authority.rfind(':').unwrap_or(authority.len()));
    let with = |text: &str, letter| text.replace(['*', '?'], letter);
    with(host, "x") + &with(port, "1") + &with(path, "x")
}

/// URLs with `*`: where callbacks may go.
pub(super) const URL_GLOB: Word<Glob> = Word {
    expected: "a pattern for URLs",
    example: "https://erp.example.com/*",
    parse: |text| {
        let instead = || Complaint::instead(format!("write \"https://{text}\""));
        let (scheme, rest) = text.split_once("://").ok_or_else(instead)?;
        if !matches!(scheme, "http" | "https" | "*") || rest.is_empty() {
            return Err(Complaint::plain());
        }
        let scheme = if scheme == "*" { "https" } else { scheme };
        let filled = format!("{scheme}://{}", filled(rest));
        let url = Url::parse(&filled).map_err(|error| Complaint::because(error.to_string()))?;
        check_url(&url)?;
        Ok(Glob { text: text.to_owned(), pattern: WildMatch::new(text) })
    },
    write: |glob| glob.text.clone(),
};

/// What a text is shown as from: digits with or without `+`, or up to 11 letters and digits
/// (GSM 03.40 §9.1.2.5); or the provider's name for a pool of numbers.
pub(super) const ORIGINATOR: Word<String> = Word {
    expected: "an originator",
    example: "+4512345678",
    parse: |text| {
        let digits = text.strip_prefix('+').unwrap_or(text);
        if text.starts_with('+') || digits.bytes().all(|b| b.is_ascii_digit()) {
            let is_number = digits.bytes().all(|b| b.is_ascii_digit());
            return match is_number && (3..=15).contains(&digits.len()) {
                true => Ok(text.to_owned()),
                false => Err(Complaint::because("a number has 3 to 15 digits")),
            };
        }
        if matches!(Originator::parse(text), Some(Originator::Service(_))) {
            return Ok(text.to_owned());
        }
        if text.chars().count() > 11 {
            return Err(Complaint::because("a name has at most 11 characters")
                .advise("write at most 11 characters, or a number such as \"+4512345678\""));
        }
        let allowed = |c: char| c.is_ascii_graphic() || c == ' ';
        match !text.trim().is_empty() && text.chars().all(allowed) {
            true => Ok(text.to_owned()),
            false => Err(Complaint::because("only ASCII letters, digits and signs can be sent")),
        }
    },
    write: String::clone,
};

#[cfg(test)]
mod tests {
    use super::*;

    fn why<T>(word: &Word<T>, text: &str) -> Option<String> {
        (word.parse)(text).err().map(|complaint| complaint.why.unwrap_or_default())
    }

    #[test]
    fn globs_are_not_more_than_they_are() {
        for bad in ["", "a b", "a\n", "[ab]@example.com", "{a,b}@example.com", "a@b,c@d"] {
            assert!(why(&GLOB, bad).is_some(), "{bad:?}");
        }
        for bad in ["example.com", "anna"] {
            assert!(why(&SENDER, bad).is_some(), "{bad:?}");
        }
        for good in ["*", "*@example.com", "anna@*", "*@[192.0.2.1]"] {
            assert_eq!(why(&SENDER, good), None, "{good:?}");
        }
    }

    #[test]
    fn regular_expressions_are_small_and_match_something() {
        assert_eq!(why(&REGEX, "INV-(\\d+").as_deref(), Some("unclosed group"));
        assert!(why(&REGEX, "\\d*").is_some());
        assert!(why(&REGEX, "").is_some());
        assert_eq!(why(&REGEX, "(\\w{1000}){100}x").as_deref(), Some("it is too big"));
        assert_eq!(why(&REGEX, "\\bINV-\\d+\\b"), None);
    }

    #[test]
    fn urls_hold_no_password() {
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "https://",
            "https://u:p@example.com",
            "https://example.com/#a",
            "https://example.com:99999",
            "https://exa mple.com",
        ] {
            assert!(why(&HTTP_URL, bad).is_some(), "{bad:?}");
        }
        assert_eq!(why(&HTTP_URL, "https://example.com:8443/a?b=c"), None);
        for bad in ["erp.example.com/*", "ftp://x/*", "https://", "https://u:p@x/*"] {
            assert!(why(&URL_GLOB, bad).is_some(), "{bad:?}");
        }
        for good in ["https://*.example.com/*", "http://127.0.0.1:*/*", "http://[::1]:80??/x"] {
            assert_eq!(why(&URL_GLOB, good), None, "{good:?}");
        }
    }

    #[test]
    fn originators_fit_on_a_telephone() {
        for bad in ["", " ", "+", "12", "+1234567890123456", "Twelve chars", "Blåbær"] {
            assert!(why(&ORIGINATOR, bad).is_some(), "{bad:?}");
        }
        let pool = "MG0123456789abcdef0123456789abcdef";
        for good in ["Example", "+4512345678", "1204", "A B 1", pool] {
            assert_eq!(why(&ORIGINATOR, good), None, "{good:?}");
        }
    }
}
