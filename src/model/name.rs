//! The short names that people give: apps, upstreams, tags, references.
//!
//! All are printable text without control characters, so they can stand in a log line, a header
//! field or a metric label.

use std::fmt;
use std::sync::Arc;

/// Longest name of an app or upstream, in bytes: it becomes a metric label.
pub const MAX_NAME_BYTES: usize = 64;
/// The name that no app can have.
const UNMATCHED: &str = "unmatched";
/// Longest tag and longest reference, in characters; of four bytes at most, each.
const MAX_TAG_CHARS: usize = 128;
const MAX_REFERENCE_CHARS: usize = 64;

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// `None` unless it is 1 to 64 letters, digits, `-`, `_` or `.`, and starts with a letter or digit.
            pub fn parse(text: &str) -> Option<$name> {
                let first = text.bytes().next()?;
                let ok = text.len() <= MAX_NAME_BYTES
                    && first.is_ascii_alphanumeric()
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
                ok.then(|| $name(text.into()))
            }
        }

        text_newtype!($name);
    };
}

macro_rules! text_newtype {
    ($name:ident) => {
        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}

identifier!(
    /// The name of an app: who submits.
    AppName
);
impl AppName {
    /// What no app is known for, such as mail to the return path that is about nothing of ours. Whoever
    /// is limited to apps does not see it.
    pub fn unmatched() -> AppName {
        AppName(UNMATCHED.into())
    }

    /// Whether an app must not be called so; case does not count.
    pub fn is_reserved(&self) -> bool {
        self.0.eq_ignore_ascii_case(UNMATCHED)
    }
}

identifier!(
    /// The name of an upstream: where messages go.
    UpstreamName
);

/// A free label that an app sets on a message, such as a template or campaign name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);
text_newtype!(Tag);

impl Tag {
    /// `None` when it is empty after trimming, longer than 128 characters, or holds a control character.
    pub fn parse(text: &str) -> Option<Tag> {
        bounded(text, MAX_TAG_CHARS).map(Tag)
    }
}

/// A business code, such as `INV-12345`, kept as written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(Arc<str>);
text_newtype!(Reference);

impl Reference {
    /// `None` when it is empty after trimming, longer than 64 characters, or holds a control character.
    pub fn parse(text: &str) -> Option<Reference> {
        bounded(text, MAX_REFERENCE_CHARS).map(Reference)
    }

    /// The form in which references are compared: letters in upper case, and one `-` for whatever
    /// stands between the words, also where nothing stands between leading letters and the number.
    /// `inv 123`, `INV#123`, `Inv_123` and `INV123` are all `INV-123`.
    pub fn canonical(&self) -> String {
        let mut out = String::with_capacity(self.0.len() + 1);
        let (mut gap, mut letters_only) = (false, true);
        for c in self.0.chars() {
            if is_separator(c) {
                gap = true;
                continue;
            }
            let first_number = letters_only && c.is_numeric();
            if (gap || first_number) && !out.is_empty() {
                out.push('-');
            }
            letters_only &= !gap && c.is_alphabetic();
            gap = false;
            out.extend(c.to_uppercase());
        }
        out
    }
}

/// What people write between the words of a business code.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '-' | '_' | '#' | ':' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn bounded(text: &str, max_chars: usize) -> Option<Arc<str>> {
    let text = text.trim();
    // The first of them bounds the work of the second.
    let is_short = text.len() <= 4 * max_chars && text.chars().count() <= max_chars;
    let ok = !text.is_empty() && is_short && !text.chars().any(char::is_control);
    ok.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_and_references_are_as_long_as_their_characters() {
        for letter in ["x", "å", "京", "𝄞"] {
            assert!(Tag::parse(&letter.repeat(129)).is_none(), "{letter}");
            assert!(Tag::parse(&letter.repeat(128)).is_some(), "{letter}");
            assert!(Reference::parse(&letter.repeat(65)).is_none(), "{letter}");
            assert!(Reference::parse(&letter.repeat(64)).is_some(), "{letter}");
        }
    }

    #[test]
    fn names_are_checked() {
        for bad in ["", "-erp", "a b", "erp\r\n", "é", &"x".repeat(65)] {
            assert!(AppName::parse(bad).is_none(), "{bad:?}");
        }
        assert_eq!(AppName::parse(UNMATCHED), Some(AppName::unmatched()));
        assert!(AppName::parse("Unmatched").unwrap().is_reserved());
        assert!(!AppName::parse("unmatched-2").unwrap().is_reserved());
        assert_eq!(UpstreamName::parse("provider-2.eu").unwrap().as_str(), "provider-2.eu");
    }

    #[test]
    fn tags_and_references_hold_no_controls() {
        assert!(Tag::parse("a\nb").is_none());
        assert!(Tag::parse("   ").is_none());
        assert_eq!(Tag::parse(" invoice mail ").unwrap().as_str(), "invoice mail");
    }

    #[test]
    fn references_are_compared_without_case_and_separators() {
        let check = |text: &str, expected: &str| {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.as_str(), &*reference.canonical()), (text, expected));
        };
        check("inv-1", "INV-1");
        for same in
            ["INV-12345", "INV 12345", "Inv_12345", "inv12345", "INV #12345", "INV\u{2013}12345"]
        {
            check(same, "INV-12345");
        }
        check("INV-1-23", "INV-1-23");
        check("INV-12-3", "INV-12-3");
        check("INV/2024/0012", "INV/2024/0012");
        check("A1B2", "A-1B2");
        check("4711", "4711");
        check("---", "");
    }
}
