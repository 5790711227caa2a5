//! The short names that people give: apps, upstreams, tags, references.
//!
//! All are printable text without control characters, so they can stand in a log line, a header
//! field or a metric label.

use std::fmt;
use std::sync::Arc;

/// Longest name of an app or upstream, in bytes: it becomes a metric label.
pub const MAX_NAME_BYTES: usize = 64;
/// Longest tag, in bytes.
pub const MAX_TAG_BYTES: usize = 128;
/// Longest reference, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 64;

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
identifier!(
    /// The name of an upstream: where messages go.
    UpstreamName
);

/// A free label that an app sets on a message, such as a template or campaign name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Arc<str>);
text_newtype!(Tag);

impl Tag {
    /// `None` when it is empty after trimming, longer than 128 bytes, or holds a control character.
    pub fn parse(text: &str) -> Option<Tag> {
        bounded(text, MAX_TAG_BYTES).map(Tag)
    }
}

/// A business code, such as `INV-12345`, kept as written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference(Arc<str>);
text_newtype!(Reference);

impl Reference {
    /// `None` when it is empty after trimming, longer than 64 bytes, or holds a control character.
    pub fn parse(text: &str) -> Option<Reference> {
        bounded(text, MAX_REFERENCE_BYTES).map(Reference)
    }

    /// The form in which references are compared: ASCII letters in upper case.
    pub fn canonical(&self) -> String {
        self.0.to_uppercase()
    }
}

fn bounded(text: &str, max_bytes: usize) -> Option<Arc<str>> {
    let text = text.trim();
    let ok = !text.is_empty() && text.len() <= max_bytes && !text.chars().any(char::is_control);
    ok.then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for bad in ["", "-erp", "a b", "erp\r\n", "é", &"x".repeat(65)] {
            assert!(AppName::parse(bad).is_none(), "{bad:?}");
        }
        assert_eq!(UpstreamName::parse("provider-2.eu").unwrap().as_str(), "provider-2.eu");
    }

    #[test]
    fn tags_and_references_hold_no_controls() {
        assert!(Tag::parse("a\nb").is_none());
        assert!(Tag::parse("   ").is_none());
        assert_eq!(Tag::parse(" invoice mail ").unwrap().as_str(), "invoice mail");
        assert_eq!(Reference::parse("inv-1").unwrap().canonical(), "INV-1");
    }
}
