//! What was changed in a mail on its way out, link by link.

use bytes::Bytes;

/// What was done to one mail for one recipient, and with what: enough to do it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touch {
    /// The number of the settings that were in force.
    pub settings: u32,
    /// The `DKIM-Signature` fields that were put in front, whole.
    pub signatures: Bytes,
    pub report: TouchReport,
}

/// What became of the links of one mail, and whether it carries the pixel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchReport {
    /// Links that were found.
    pub links: u32,
    /// Of these, those that lead through the gateway now.
    pub rewritten: u32,
    pub pixel: bool,
    /// The others, by reason.
    pub skipped: Vec<(SkipReason, u32)>,
    /// Why nothing at all was touched.
    pub untouched_because: Option<Untouched>,
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word that the API uses and the archive keeps.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            /// Reads that word.
            pub fn parse(text: &str) -> Option<$name> {
                $name::ALL.iter().copied().find(|one| one.as_str() == text)
            }
        }
    };
}

words! {
    /// Why a link was left.
    SkipReason {
        Mailto = "mailto",
        Tel = "tel",
        Sms = "sms",
        /// A part of the same message (RFC 2392).
        Cid = "cid",
        /// Every other scheme that is not of the web.
        OtherScheme = "other_scheme",
        /// A place in the message itself.
        Fragment = "fragment",
        /// It has no scheme or host, or is empty.
        Relative = "relative",
        /// It was put there by this gateway.
        Ours = "ours",
        /// The configuration leaves it out.
        Excluded = "excluded",
        /// It, its words or the List-Unsubscribe field say so: unsubscribing must work even when
        /// nothing else does.
        Unsubscribe = "unsubscribe",
        /// Its words are a URL; leading elsewhere than they say is what phishing filters look for.
        TextIsUrl = "text_is_url",
        /// A placeholder of a template that somebody after us fills in.
        Placeholder = "placeholder",
        /// Longer than 8 KiB, or with characters that could not be given back as they are.
        Unusual = "unusual",
        /// In plain text: where it ends can not be told for certain.
        UnclearEnd = "unclear_end",
        /// Its line would become longer than RFC 5322 allows.
        LineTooLong = "line_too_long",
        /// There are more links than have numbers.
        TooMany = "too_many",
        /// Not a link but a whole part: its charset or its encoding is not known or damaged, or it is
        /// too large.
        PartUnreadable = "part_unreadable",
    }
}

words! {
    /// Why a whole message was left as it came.
    Untouched {
        Signed = "signed",
        Encrypted = "encrypted",
        Smime = "smime",
        Pgp = "pgp",
        Calendar = "calendar",
        Report = "report",
        /// Somebody whose key we do not hold vouches for its bytes (RFC 6376, RFC 8617).
        ForeignSignature = "foreign_signature",
        /// Two readers might see different parts.
        Malformed = "malformed",
        /// It holds no text and no HTML.
        NoText = "no_text",
        /// Rewriting failed.
        Failed = "failed",
    }
}
