//! A hit on a tracked link or pixel: its raw facts, and who may have been there.

use ipnet::IpNet;

use super::time::Timestamp;

/// The number of the link that no person sees: whoever follows it follows everything.
pub const HONEYPOT_LINK: u16 = u16::MAX;

/// From here on numbers stand for links that an upstream rewrote and counted itself.
pub const FIRST_FOREIGN_LINK: u16 = 1 << 15;

/// What was fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HitKind {
    /// The pixel.
    Open,
    Click {
        link: u16,
    },
}

/// How it was fetched; nothing else is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitMethod {
    Get,
    Head,
}

/// The delay of a hit on what no upstream was ever given.
pub const BEFORE_DELIVERY: i64 = i64::MIN;

/// The facts of one hit; a judgement can be made of them again at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub kind: HitKind,
    pub at: Timestamp,
    /// The client's address, or only its network.
    pub client: Option<IpNet>,
    /// Empty when there was none; cut to a bounded length.
    pub user_agent: String,
    pub method: HitMethod,
    /// What `Sec-Purpose` and its kin said; cut to a bounded length.
    pub purpose: Option<String>,
    /// From the upstream's acceptance on, [`BEFORE_DELIVERY`] where nothing was tried yet; `None` where
    /// it may have left at a time that nobody knows.
    pub delay_ms: Option<i64>,
    /// A provider told of it, and whether it was a machine.
    pub told_automated: Option<bool>,
}

/// Who was there, as far as the facts tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visitor {
    Person,
    /// Fetches every image, whether or not anybody looks (Apple Mail Privacy Protection).
    PrivacyProxy,
    /// Fetches an image when somebody looks, in that person's place (Gmail, Yahoo).
    ImageProxy,
    /// Looks at links and images before or instead of a person.
    Scanner,
    Unknown,
}

impl Visitor {
    const ALL: [Visitor; 5] = [
        Visitor::Person,
        Visitor::PrivacyProxy,
        Visitor::ImageProxy,
        Visitor::Scanner,
        Visitor::Unknown,
    ];

    /// Reads the word of the API.
    pub fn parse(text: &str) -> Option<Visitor> {
        Visitor::ALL.into_iter().find(|visitor| visitor.as_str() == text)
    }

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Visitor::Person => "person",
            Visitor::PrivacyProxy => "privacy proxy",
            Visitor::ImageProxy => "image proxy",
            Visitor::Scanner => "scanner",
            Visitor::Unknown => "unknown",
        }
    }

    /// Whether it came without anybody who looked. Doubt counts for the person.
    pub fn is_automated(self) -> bool {
        match self {
            Visitor::PrivacyProxy | Visitor::Scanner => true,
            Visitor::Person | Visitor::ImageProxy | Visitor::Unknown => false,
        }
    }
}

/// What is known of one recipient from hits, and from a read receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engagement {
    /// The first open that no machine made.
    pub opened_at: Option<Timestamp>,
    pub opens: u64,
    pub automated_opens: u64,
    pub clicked_at: Option<Timestamp>,
    pub clicks: u64,
    pub automated_clicks: u64,
    /// Of the last hit that tells: `Apple Mail on iPhone`.
    pub device: Option<String>,
    /// The reader's program confirmed that it was shown (RFC 8098).
    pub read_at: Option<Timestamp>,
}

impl Engagement {
    /// Whether a person is known to have had it in front of them: images were fetched for one, or a receipt says so.
    pub fn is_opened(&self) -> bool {
        self.opened_at.is_some() || self.read_at.is_some()
    }

    /// Whether a person followed a link.
    pub fn is_clicked(&self) -> bool {
        self.clicked_at.is_some()
    }
}
