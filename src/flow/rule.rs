//! A rule: on which event, of what kind of message, what happens.

use regex::Regex;
use url::Url;
use wildmatch::WildMatch;

use crate::model::{Channel, EventKind, Secret};

/// One `[[flow]]`.
#[derive(Clone, Debug)]
pub struct Flow {
    /// `None`: both.
    pub channel: Option<Channel>,
    pub event: EventKind,
    pub matcher: FlowMatcher,
    pub action: FlowAction,
}

/// What a message must be like; every matcher that is given must match.
#[derive(Clone, Debug, Default)]
pub struct FlowMatcher {
    pub text: Option<Regex>,
    pub app: Option<WildMatch>,
    pub sender: Option<WildMatch>,
    pub recipient: Option<WildMatch>,
    pub tag: Option<WildMatch>,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum FlowAction {
    /// A signed notice (Standard Webhooks).
    Webhook { url: Url, secret: Option<Secret> },
    /// An SMS back to whoever wrote.
    Reply { text: String },
}
