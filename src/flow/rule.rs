//! A rule: on which event, of what kind of message, what happens.
//!
//! Matching is pure and takes time linear in the text. What an action does is `webhook`'s and
//! `reply`'s.

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
    /// Only opens and clicks of machines, or only those of people.
    pub automated: Option<bool>,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum FlowAction {
    /// A signed notice (Standard Webhooks).
    Webhook { url: Url, secret: Option<Secret> },
    /// An SMS back to whoever wrote.
    Reply { text: String },
}

/// What a rule looks at.
#[derive(Clone, Debug)]
pub(super) struct Happening<'a> {
    pub(super) channel: Channel,
    pub(super) event: EventKind,
    /// Subject and text, as far as they are known without reading the content.
    pub(super) text: &'a str,
    pub(super) app: &'a str,
    /// Empty where there is none.
    pub(super) sender: &'a str,
    pub(super) recipients: &'a [String],
    pub(super) tag: &'a str,
    /// Of an open or a click: whether it was taken for a machine's. `None` for everything else.
    pub(super) automated: Option<bool>,
}

impl Flow {
    /// Whether it may be about events of this kind at all.
    pub(super) fn is_on(&self, event: EventKind) -> bool {
        self.event == event
    }

    /// Whether this is what it waits for. Addresses, names and tags are compared without case.
    pub(super) fn matches(&self, happening: &Happening<'_>) -> bool {
        let fits = |pattern: &Option<WildMatch>, text: &str| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(&text.to_lowercase()))
        };
        let FlowMatcher { text, app, sender, recipient, tag, automated } = &self.matcher;
        self.event == happening.event
            && self.channel.is_none_or(|channel| channel == happening.channel)
            // What was told before its judgement was noted counts for a person's, as doubt does.
            && automated.is_none_or(|automated| automated == happening.automated.unwrap_or(false))
            && text.as_ref().is_none_or(|pattern| pattern.is_match(happening.text))
            && fits(app, happening.app)
            && fits(sender, happening.sender)
            && fits(tag, happening.tag)
            && (recipient.is_none() || happening.recipients.iter().any(|r| fits(recipient, r)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_matcher_that_is_given_must_match() {
        let recipients = ["+4511111111".to_owned(), "Kim@example.org".to_owned()];
        let happening = Happening {
            channel: Channel::Sms,
            event: EventKind::Received,
            text: "Yes, please",
            app: "erp",
            sender: "+4512345678",
            recipients: &recipients,
            tag: "",
            automated: None,
        };
        let check = |change: fn(&mut Flow), expected| {
            let mut flow = Flow {
                channel: None,
                event: EventKind::Received,
                matcher: FlowMatcher::default(),
                action: FlowAction::Reply { text: "thanks".into() },
            };
            change(&mut flow);
            assert_eq!(flow.matches(&happening), expected, "{flow:?}");
        };
        check(|flow| flow.event = EventKind::Sent, false);
        check(|flow| flow.channel = Some(Channel::Email), false);
        check(|flow| flow.matcher.text = Regex::new("^no").ok(), false);
        check(|flow| flow.matcher.app = Some(WildMatch::new("crm")), false);
        check(|flow| flow.matcher.sender = Some(WildMatch::new("+46*")), false);
        check(|flow| flow.matcher.recipient = Some(WildMatch::new("*@example.com")), false);
        check(|flow| flow.matcher.tag = Some(WildMatch::new("invoice*")), false);
        check(|_| {}, true);
        check(|flow| flow.channel = Some(Channel::Sms), true);
        check(|flow| flow.matcher.text = Regex::new("(?i)^yes\\b").ok(), true);
        check(|flow| flow.matcher.sender = Some(WildMatch::new("+45*")), true);
        check(|flow| flow.matcher.recipient = Some(WildMatch::new("kim@*")), true);
    }

    #[test]
    fn opens_are_told_apart_by_who_was_there() {
        let check = |wanted, automated, expected| {
            let flow = Flow {
                channel: Some(Channel::Email),
                event: EventKind::Opened,
                matcher: FlowMatcher { automated: wanted, ..FlowMatcher::default() },
                action: FlowAction::Reply { text: "thanks".into() },
            };
            let happening = Happening {
                channel: Channel::Email,
                event: EventKind::Opened,
                text: "",
                app: "erp",
                sender: "",
                recipients: &[],
                tag: "",
                automated,
            };
            assert_eq!(flow.matches(&happening), expected, "{wanted:?} {automated:?}");
        };
        check(Some(false), Some(true), false);
        check(Some(true), Some(false), false);
        check(Some(true), None, false);
        check(Some(false), Some(false), true);
        check(Some(false), None, true);
        check(Some(true), Some(true), true);
        for automated in [None, Some(false), Some(true)] {
            check(None, automated, true);
        }
    }
}
