//! What is to be told of one event, and to whom: a pure decision over message, app and rules.
//!
//! Receipts go where the message says, or else its app's account; inbound messages to every
//! `inbound_url` of the app; webhooks and one reply as the rules say. It reads no clock and no
//! archive; `planner` writes what comes out into the outbox.

use super::rule::{Flow, FlowAction, Happening};
use crate::archive::{DeliveryKind, Event, Message, NewDelivery};
use crate::model::{Dialect, Direction, EventKind, Medium, Sms};
use crate::policy::App;

/// What follows from one event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) deliveries: Vec<NewDelivery>,
    /// What is answered to an inbound SMS: the first rule that says so.
    pub(super) reply: Option<String>,
}

/// Whether anything could follow from events of this kind, so that most of the journal is passed
/// without a look at its messages.
pub(super) fn concerns(kind: EventKind, flows: &[Flow]) -> bool {
    is_told_in_receipts(kind) || kind == EventKind::Received || flows.iter().any(|f| f.is_on(kind))
}

/// The initial state is what the response to the submission said.
fn is_told_in_receipts(kind: EventKind) -> bool {
    match kind {
        EventKind::Sent
        | EventKind::Delivered
        | EventKind::Failed
        | EventKind::Stopped
        | EventKind::Expired => true,
        EventKind::Accepted
        | EventKind::Held
        | EventKind::Released
        | EventKind::Restarted
        | EventKind::Attempted
        | EventKind::Deferred
        | EventKind::Bounced
        | EventKind::Complained
        | EventKind::Opened
        | EventKind::Clicked
        | EventKind::Read
        | EventKind::Received
        | EventKind::Replied
        | EventKind::Suppressed
        | EventKind::Resent
        | EventKind::Viewed
        | EventKind::Exported
        | EventKind::Deleted => false,
    }
}

/// What is to be told; `app` is that of the message, if it still exists.
pub(super) fn plan(event: &Event, message: &Message, app: Option<&App>, flows: &[Flow]) -> Plan {
    let delivery =
        |kind, url| NewDelivery { message: message.id, event: event.sequence, kind, url };
    let mut plan = Plan::default();
    if let Medium::Sms(sms) = &message.medium {
        let (kind, urls) = match message.direction {
            Direction::Outbound if is_told_in_receipts(event.kind) => {
                (DeliveryKind::Receipt, receipt_url(sms, app).into_iter().collect())
            }
            Direction::Inbound if event.kind == EventKind::Received => {
                (DeliveryKind::Inbound, inbound_urls(app))
            }
            Direction::Outbound | Direction::Inbound => (DeliveryKind::Receipt, Vec::new()),
        };
        plan.deliveries.extend(urls.into_iter().map(|url| delivery(kind, url)));
    }
    by_rules(&mut plan, event, message, flows);
    plan
}

fn by_rules(plan: &mut Plan, event: &Event, message: &Message, flows: &[Flow]) {
    if !flows.iter().any(|flow| flow.is_on(event.kind)) {
        return;
    }
    let text = match &message.medium {
        Medium::Mail(_) => {
            let subject = message.summary.subject.as_deref().unwrap_or_default();
            format!("{subject}\n{}", message.summary.preview)
        }
        Medium::Sms(sms) => sms.text().to_owned(),
    };
    let recipients = match event.recipient.and_then(|index| message.medium.recipient(index)) {
        Some(recipient) => vec![recipient],
        None => message.medium.recipients(),
    };
    let happening = Happening {
        channel: message.channel(),
        event: event.kind,
        text: &text,
        app: message.app.as_str(),
        sender: &message.medium.sender().unwrap_or_default(),
        recipients: &recipients,
        tag: message.tag.as_ref().map_or("", |tag| tag.as_str()),
        automated: event.automated,
    };
    for flow in flows.iter().filter(|flow| flow.matches(&happening)) {
        match &flow.action {
            FlowAction::Webhook { url, .. } => {
                let (kind, url) = (DeliveryKind::Webhook, url.to_string());
                let known = |d: &NewDelivery| d.kind == kind && d.url == url;
                // Two rules that lead to the same place tell it once.
                if !plan.deliveries.iter().any(known) {
                    let (message, event) = (message.id, event.sequence);
                    plan.deliveries.push(NewDelivery { message, event, kind, url });
                }
            }
            FlowAction::Reply { text } => {
                if plan.reply.is_none() && event.kind == EventKind::Received {
                    plan.reply = Some(text.clone());
                }
            }
        }
    }
}

/// Where the receipts of this message go: where it says, else where its app's account says.
fn receipt_url(sms: &Sms, app: Option<&App>) -> Option<String> {
    if let Some(receipt) = &sms.receipt {
        return Some(receipt.url.clone());
    }
    app?.sms.callback_urls(sms.dialect)?.status.clone()
}

/// Where inbound messages go: to every dialect's account that takes them, each URL once.
fn inbound_urls(app: Option<&App>) -> Vec<String> {
    let mut urls = Vec::new();
    for dialect in Dialect::ALL {
        let url = app.and_then(|app| app.sms.callback_urls(dialect)?.inbound.clone());
        if let Some(url) = url.filter(|url| !urls.contains(url)) {
            urls.push(url);
        }
    }
    urls
}

/// The dialect in which inbound messages go to this URL.
pub(super) fn dialect_of_inbound(app: &App, url: &str) -> Option<Dialect> {
    Dialect::ALL.into_iter().find(|dialect| {
        let urls = app.sms.callback_urls(*dialect);
        urls.is_some_and(|urls| urls.inbound.as_deref() == Some(url))
    })
}
