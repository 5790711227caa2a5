//! The things that can happen to a message: a closed list of words.

/// One word of the contract's event list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    Accepted,
    Held,
    Released,
    Stopped,
    Restarted,
    /// A try whose end is not known.
    Attempted,
    Deferred,
    Sent,
    Failed,
    Delivered,
    Bounced,
    Complained,
    Opened,
    Clicked,
    /// A read receipt (MDN) came back.
    Read,
    /// An inbound message arrived.
    Received,
    Replied,
    Suppressed,
    Resent,
    /// Somebody looked at the content.
    Viewed,
    Exported,
    Deleted,
    Expired,
}

impl EventKind {
    /// Every kind, in the order of the contract.
    pub const ALL: [EventKind; 23] = [
        EventKind::Accepted,
        EventKind::Held,
        EventKind::Released,
        EventKind::Stopped,
        EventKind::Restarted,
        EventKind::Attempted,
        EventKind::Deferred,
        EventKind::Sent,
        EventKind::Failed,
        EventKind::Delivered,
        EventKind::Bounced,
        EventKind::Complained,
        EventKind::Opened,
        EventKind::Clicked,
        EventKind::Read,
        EventKind::Received,
        EventKind::Replied,
        EventKind::Suppressed,
        EventKind::Resent,
        EventKind::Viewed,
        EventKind::Exported,
        EventKind::Deleted,
        EventKind::Expired,
    ];

    /// The word that the API, the config and the logs use.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Accepted => "accepted",
            EventKind::Held => "held",
            EventKind::Released => "released",
            EventKind::Stopped => "stopped",
            EventKind::Restarted => "restarted",
            EventKind::Attempted => "attempted",
            EventKind::Deferred => "deferred",
            EventKind::Sent => "sent",
            EventKind::Failed => "failed",
            EventKind::Delivered => "delivered",
            EventKind::Bounced => "bounced",
            EventKind::Complained => "complained",
            EventKind::Opened => "opened",
            EventKind::Clicked => "clicked",
            EventKind::Read => "read",
            EventKind::Received => "received",
            EventKind::Replied => "replied",
            EventKind::Suppressed => "suppressed",
            EventKind::Resent => "resent",
            EventKind::Viewed => "viewed",
            EventKind::Exported => "exported",
            EventKind::Deleted => "deleted",
            EventKind::Expired => "expired",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<EventKind> {
        EventKind::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}
