//! Small nouns of a message that several rooms pass on.

use bytes::Bytes;

use super::digest::Digest;

/// A display name with an address, as a header field wrote it; both decoded text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub name: Option<String>,
    pub address: String,
}

/// Where a recipient stood in the header; envelope only is `Bcc`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecipientKind {
    To,
    Cc,
    Bcc,
}

impl RecipientKind {
    /// The word that the API uses.
    pub fn as_str(self) -> &'static str {
        match self {
            RecipientKind::To => "to",
            RecipientKind::Cc => "cc",
            RecipientKind::Bcc => "bcc",
        }
    }
}

/// The bytes for one relay transaction, before dot-stuffing, with the digest that proves them.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// The message is their concatenation; slices of the archived bytes are not copied.
    pub segments: Vec<Bytes>,
    /// SHA-256 of that concatenation.
    pub digest: Digest,
}

impl Outgoing {
    /// Hashes the segments once.
    pub fn new(segments: Vec<Bytes>) -> Outgoing {
        let digest = Digest::of_parts(segments.iter().map(|s| &s[..]));
        Outgoing { segments, digest }
    }

    /// Whether no octet has its eighth bit set.
    pub fn is_ascii(&self) -> bool {
        self.segments.iter().all(|segment| segment.is_ascii())
    }

    /// Length of the message in bytes.
    pub fn size_bytes(&self) -> usize {
        self.segments.iter().map(Bytes::len).sum()
    }
}
