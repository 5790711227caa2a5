//! The common words of all providers' events.

use std::net::IpAddr;

use super::field;
use crate::model::Timestamp;

/// One thing that happened to one recipient of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailEvent {
    /// Tells it from the provider's other events, and comes again with it.
    pub key: String,
    /// The provider's ids of the message; one of them may stand in its reply to the message.
    pub provider_ids: Vec<String>,
    /// The Message-ID, without angle brackets.
    pub message_id: Option<String>,
    /// The reverse-path that it was given with the message.
    pub return_path: Option<String>,
    /// The values of the `Received` fields that the message had.
    pub received: Vec<String>,
    /// The address; `None` where the provider does not say which one of several.
    pub recipient: Option<String>,
    /// When it happened, and never later than now.
    pub at: Timestamp,
    pub what: MailEventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailEventKind {
    /// The recipient's server took it.
    Delivered {
        response: Option<String>,
    },
    /// It did not arrive yet, and the provider tries on.
    Delayed {
        status: Option<String>,
        diagnostic: Option<String>,
    },
    /// It did not arrive, and the provider tries no more. `is_permanent`: nor would another message.
    /// `status`: an enhanced code (RFC 3463).
    Bounced {
        is_permanent: bool,
        status: Option<String>,
        diagnostic: Option<String>,
    },
    /// The recipient said that it is spam.
    Complained {
        kind: Option<String>,
    },
    /// The recipient wants no more.
    Unsubscribed,
    Opened(Visit),
    Clicked {
        url: String,
        visit: Visit,
    },
}

impl MailEventKind {
    /// A bounce of which the provider says that it is permanent, or not. A status that speaks of the
    /// moment, the message or its sender (RFC 3463 §3) goes before that: what it says of this message it
    /// need not say of the next one, and an address must not be given up for it.
    pub(super) fn bounced(
        is_permanent: bool,
        status: Option<String>,
        diagnostic: Option<String>,
    ) -> MailEventKind {
        let status = status.or_else(|| diagnostic.as_deref().and_then(field::status));
        let spares = status.as_deref().is_some_and(field::spares_the_address);
        MailEventKind::Bounced { is_permanent: is_permanent && !spares, status, diagnostic }
    }

    pub(super) fn delayed(status: Option<String>, diagnostic: Option<String>) -> MailEventKind {
        let status = status.or_else(|| diagnostic.as_deref().and_then(field::status));
        MailEventKind::Delayed { status, diagnostic }
    }
}

/// Who was there when something was opened or clicked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Visit {
    pub client: Option<IpAddr>,
    pub user_agent: String,
    /// The provider takes it for a machine.
    pub is_automated: bool,
}
