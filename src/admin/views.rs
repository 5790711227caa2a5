//! What the API shows: the JSON shapes of messages, events and the queue, converted by hand.
//!
//! They are apart from the inside and from what is stored, so that each can change alone. Every
//! field is always there; what is not known yet is `null` or 0. Times are RFC 3339 in UTC with
//! milliseconds.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::absence::AbsenceView;
use super::state::UpstreamHealth;
use crate::archive::{Attachment, Event, Message, QueueView, Recipient};
use crate::model::{
    Cause, Hold, Named, RecipientState, Sms, SmsBody, Status, Timestamp, Touch, TouchReport,
    Untouched, UpstreamName,
};

/// Part of a list.
#[derive(Debug, Serialize)]
pub(crate) struct PageView<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// Part of what was found, and what there is to say about it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FoundView {
    pub items: Vec<MessageView>,
    pub next: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub absence: Option<AbsenceView>,
}

/// A message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MessageView {
    id: String,
    channel: &'static str,
    direction: &'static str,
    status: &'static str,
    app: String,
    sender: Option<NamedView>,
    envelope_from: String,
    subject: Option<String>,
    preview: String,
    /// The whole text of an SMS; `null` for mail and for binary messages.
    text: Option<String>,
    /// How many segments an SMS takes; `null` for mail.
    segments: Option<u16>,
    /// `gsm7`, `ucs2`, `binary`; `null` for mail.
    encoding: Option<&'static str>,
    /// The API that the application spoke; `null` for mail.
    dialect: Option<&'static str>,
    /// The message that this one answers.
    reply_to: Option<String>,
    recipients: Vec<RecipientView>,
    references: Vec<String>,
    tag: Option<String>,
    size: u64,
    attachments: Vec<AttachmentView>,
    accepted_at: String,
    /// The end of the longest hold that ends by itself.
    hold_until: Option<String>,
    held: bool,
    resend_of: Option<String>,
    deleted_at: Option<String>,
    /// Its text was taken away, by the application or with the whole message.
    redacted_at: Option<String>,
    duplicate_of: Option<String>,
    /// `Message-ID`, without its angle brackets.
    message_id: Option<String>,
    /// Who in the company sent it.
    on_behalf_of: Option<String>,
    /// SHA-256 of the bytes as submitted.
    digest: String,
    /// What was wrong with it, one sentence each.
    defects: Vec<String>,
    client: ClientView,
}

/// A name with an address.
#[derive(Debug, Serialize, ToSchema)]
struct NamedView {
    name: Option<String>,
    address: String,
}

/// Where it came from.
#[derive(Debug, Serialize, ToSchema)]
struct ClientView {
    address: String,
    helo: String,
    protocol: String,
    tls: Option<String>,
    authenticated: Option<String>,
}

/// One recipient.
#[derive(Debug, Serialize, ToSchema)]
struct RecipientView {
    index: u16,
    address: String,
    name: Option<String>,
    kind: &'static str,
    status: &'static str,
    /// Why it stands where it stands, in words, where there is more to say than the status.
    reason: Option<String>,
    held: bool,
    attempts: u32,
    next_attempt_at: Option<String>,
    upstream: Option<String>,
    reply: Option<String>,
    possible_duplicate: bool,
    /// When an upstream took it.
    sent_at: Option<String>,
    /// When a delivery report or the provider said that it arrived.
    delivered_at: Option<String>,
    /// When it came back.
    bounced_at: Option<String>,
    /// The first time that a person opened it, as far as can be known.
    opened_at: Option<String>,
    /// How often people opened it.
    opens: u64,
    /// Of machines (scanners, and proxies that fetch what nobody looks at), and not among the others.
    automated_opens: u64,
    /// The first time that a person followed a link.
    clicked_at: Option<String>,
    /// How often people followed its links.
    clicks: u64,
    /// Of machines, and not among the others.
    automated_clicks: u64,
    /// With what it was opened: `Apple Mail on iPhone`.
    device: Option<String>,
    /// The reader's program confirmed that the message was shown.
    read_at: Option<String>,
    /// Only where one message is asked for; `null` for mail that is not tracked.
    tracking: Option<TrackingView>,
}

/// What tracking did to the mail of one recipient.
#[derive(Debug, Serialize, ToSchema)]
struct TrackingView {
    /// Links that were found.
    links: u32,
    /// Of these, those that lead through the gateway.
    rewritten: u32,
    /// Whether it carries the picture that tells of an open.
    pixel: bool,
    /// How many links were left as they are, by reason.
    skipped: BTreeMap<&'static str, u32>,
    /// Why the whole mail was left as it came.
    untouched_because: Option<&'static str>,
}

/// One attachment.
#[derive(Debug, Serialize, ToSchema)]
struct AttachmentView {
    index: usize,
    filename: Option<String>,
    content_type: String,
    size: u64,
    sha256: String,
    inline: bool,
}

/// One event.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventView {
    sequence: u64,
    at: String,
    event: &'static str,
    recipient: Option<u16>,
    by: Option<String>,
    upstream: Option<String>,
    /// What the upstream said, or what a bounce quotes.
    reply: Option<String>,
    /// In words; of an open or a click, who it was taken for and why.
    detail: Option<String>,
    /// SHA-256 of the bytes that were sent, or of the report that came back.
    digest: Option<String>,
    /// Whether an open or a click was taken for a machine's when it came; `null` for everything else.
    automated: Option<bool>,
}

/// An event with what a reader of the stream needs to know of its message.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StreamedView {
    #[serde(flatten)]
    event: EventView,
    message: ShortView,
}

/// A message in few words, with its first recipients.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ShortView {
    id: String,
    channel: &'static str,
    direction: &'static str,
    status: &'static str,
    app: String,
    sender: Option<NamedView>,
    subject: Option<String>,
    preview: String,
    /// The first ones' addresses.
    recipients: Vec<String>,
    recipient_count: usize,
    references: Vec<String>,
    tag: Option<String>,
    accepted_at: String,
    deleted_at: Option<String>,
}

/// The queue.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = QueueView)]
pub(super) struct QueueBody {
    recipients: StatusCounts,
    held: u64,
    claimed: u64,
    oldest_pending: Option<OldestView>,
    next_attempts: Vec<NextAttemptView>,
    upstreams: Vec<UpstreamView>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct StatusCounts {
    not_sent: u64,
    pending: u64,
    sent: u64,
    stopped: u64,
    failed: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct OldestView {
    id: String,
    accepted_at: String,
    age_seconds: u64,
}

#[derive(Debug, Serialize, ToSchema)]
struct NextAttemptView {
    at: String,
    message: String,
}

/// An upstream and how it is doing.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UpstreamView {
    name: String,
    /// Somebody paused it.
    paused: bool,
    /// `up`, or `down` after several failures in a row; `null` when it is configured no longer.
    state: Option<&'static str>,
    /// While it is down: when the next attempt may go to it, to see whether it is back.
    next_probe_at: Option<String>,
    connections: usize,
    idle_connections: usize,
    max_connections: usize,
    /// Why the last attempt that failed did; `null` after one that got through.
    last_error: Option<String>,
}

fn time(at: Timestamp) -> String {
    at.to_string()
}

fn word(text: impl ToString) -> String {
    text.to_string()
}

impl MessageView {
    pub(super) fn new(message: &Message) -> MessageView {
        let holds = message.recipients.iter().filter_map(|recipient| hold_of(&recipient.state));
        let ends = holds.clone().filter_map(|hold| match hold {
            Hold::Until(at) => Some(at),
            Hold::Manual => None,
        });
        let recipients = message.recipients.iter().map(|r| RecipientView::new(message, r));
        let attachments = message.summary.attachments.iter().enumerate();
        let sms = message.medium.sms();
        MessageView {
            id: word(message.id),
            channel: message.channel().as_str(),
            direction: message.direction.as_str(),
            status: message.status().as_str(),
            app: word(&message.app),
            sender: sender(message),
            envelope_from: message.medium.sender().unwrap_or_default(),
            subject: message.summary.subject.clone(),
            preview: message.summary.preview.clone(),
            text: sms.and_then(text_of),
            segments: sms.map(|sms| sms.segments),
            encoding: sms.map(|sms| sms.encoding.as_str()),
            dialect: sms.map(|sms| sms.dialect.as_str()),
            reply_to: sms.and_then(|sms| sms.reply_to).map(word),
            recipients: recipients.collect(),
            references: message.references.iter().map(word).collect(),
            tag: message.tag.as_ref().map(word),
            size: message.size_bytes,
            attachments: attachments.map(|(at, a)| AttachmentView::new(at, a)).collect(),
            accepted_at: time(message.accepted_at),
            hold_until: ends.max().map(time),
            held: holds.count() > 0,
            resend_of: message.resend_of.map(word),
            deleted_at: message.deleted_at.map(time),
            redacted_at: message.redacted_at.map(time),
            duplicate_of: message.duplicate_of.map(word),
            message_id: message.summary.message_id.clone(),
            on_behalf_of: message.on_behalf_of.clone(),
            digest: word(message.digest),
            defects: message.summary.defects.clone(),
            client: ClientView {
                address: word(message.client.address),
                helo: message.client.helo.clone(),
                protocol: message.client.protocol.clone(),
                tls: message.client.tls.clone(),
                authenticated: message.client.authenticated.clone(),
            },
        }
    }

    /// The same with what tracking did for each recipient.
    pub(super) fn with_touches(mut self, touches: &[(u16, Touch)]) -> MessageView {
        for (recipient, touch) in touches {
            if let Some(view) = self.recipients.get_mut(usize::from(*recipient)) {
                view.tracking = Some(TrackingView::new(&touch.report));
            }
        }
        self
    }
}

fn text_of(sms: &Sms) -> Option<String> {
    match &sms.body {
        SmsBody::Text(text) => Some(text.clone()),
        SmsBody::Binary(_) => None,
    }
}

/// The author of the header, or else the reverse-path; a notification without an author has none.
fn sender(message: &Message) -> Option<NamedView> {
    if let Some(Named { name, address }) = &message.summary.author {
        return Some(NamedView { name: name.clone(), address: address.clone() });
    }
    message.medium.sender().map(|address| NamedView { name: None, address })
}

impl TrackingView {
    fn new(report: &TouchReport) -> TrackingView {
        TrackingView {
            links: report.links,
            rewritten: report.rewritten,
            pixel: report.pixel,
            skipped: report.skipped.iter().map(|(why, count)| (why.as_str(), *count)).collect(),
            untouched_because: report.untouched_because.map(Untouched::as_str),
        }
    }
}

impl RecipientView {
    fn new(message: &Message, recipient: &Recipient) -> RecipientView {
        let seen = &recipient.engagement;
        RecipientView {
            index: recipient.index,
            address: message.medium.recipient(recipient.index).unwrap_or_default(),
            name: recipient.name.clone(),
            kind: recipient.kind.as_str(),
            status: recipient.state.status().as_str(),
            reason: reason(&recipient.state),
            held: hold_of(&recipient.state).is_some(),
            attempts: recipient.attempts,
            next_attempt_at: recipient.state.wakes_at().map(time),
            upstream: recipient.upstream.as_ref().map(word),
            reply: recipient.reply.clone(),
            possible_duplicate: recipient.possible_duplicate,
            sent_at: recipient.sent_at.map(time),
            delivered_at: recipient.delivered_at.map(time),
            bounced_at: bounced_at(&recipient.state).map(time),
            opened_at: seen.opened_at.map(time),
            opens: seen.opens,
            automated_opens: seen.automated_opens,
            clicked_at: seen.clicked_at.map(time),
            clicks: seen.clicks,
            automated_clicks: seen.automated_clicks,
            device: seen.device.clone(),
            read_at: seen.read_at.map(time),
            tracking: None,
        }
    }
}

fn hold_of(state: &RecipientState) -> Option<Hold> {
    match state {
        RecipientState::Held { hold } => Some(*hold),
        RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => None,
    }
}

fn bounced_at(state: &RecipientState) -> Option<Timestamp> {
    match state {
        RecipientState::Failed { at, cause: Cause::Bounced { .. } } => Some(*at),
        RecipientState::Failed { .. }
        | RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::NotSent { .. } => None,
    }
}

fn reason(state: &RecipientState) -> Option<String> {
    match state {
        RecipientState::Held { hold: Hold::Manual } => {
            Some("held until somebody releases it".to_owned())
        }
        RecipientState::Held { hold: Hold::Until(at) } => Some(format!("held until {at}")),
        RecipientState::Claimed { upstream, .. } => {
            Some(format!("an attempt at {upstream} is under way"))
        }
        RecipientState::Stopped { by, .. } => Some(format!("stopped by {by}")),
        RecipientState::NotSent { why } => Some(why.clone()),
        RecipientState::Failed { cause, .. } => Some(match cause {
            Cause::Refused { upstream, reply } => format!("{upstream} refused it: {reply}"),
            Cause::Unanswered { upstream, detail } => format!("{upstream}: {detail}"),
            Cause::Expired { last_reply: Some(reply), detail } => {
                format!("{detail}; the last reply was {reply}")
            }
            Cause::Expired { last_reply: None, detail } => detail.clone(),
            Cause::Bounced { reply, is_hard: true } => format!("it bounced: {reply}"),
            Cause::Bounced { reply, is_hard: false } => {
                format!("it bounced, which may be over later: {reply}")
            }
            Cause::Undelivered { upstream, reason, code } => {
                let code = code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
                format!("{upstream} could not deliver it: {}{code}", reason.as_str())
            }
        }),
        RecipientState::Due { .. } | RecipientState::Sent { .. } => None,
    }
}

impl AttachmentView {
    fn new(index: usize, attachment: &Attachment) -> AttachmentView {
        AttachmentView {
            index,
            filename: attachment.filename.clone(),
            content_type: attachment.content_type.clone(),
            size: attachment.size_bytes,
            sha256: word(attachment.sha256),
            inline: attachment.inline,
        }
    }
}

impl EventView {
    pub(super) fn new(event: &Event) -> EventView {
        EventView {
            sequence: event.sequence.0,
            at: time(event.at),
            event: event.kind.as_str(),
            recipient: event.recipient,
            by: event.by.clone(),
            upstream: event.upstream.as_ref().map(word),
            reply: event.reply.clone(),
            detail: event.detail.clone(),
            digest: event.digest.map(word),
            automated: event.automated,
        }
    }
}

impl StreamedView {
    pub(super) fn new(event: EventView, message: &Message) -> StreamedView {
        StreamedView { event, message: ShortView::new(message) }
    }
}

/// Recipients that a short view names.
const SHORT_RECIPIENTS: u16 = 5;

impl ShortView {
    pub(super) fn new(message: &Message) -> ShortView {
        let first = 0..SHORT_RECIPIENTS;
        ShortView {
            id: word(message.id),
            channel: message.channel().as_str(),
            direction: message.direction.as_str(),
            status: message.status().as_str(),
            app: word(&message.app),
            sender: sender(message),
            subject: message.summary.subject.clone(),
            preview: message.summary.preview.clone(),
            recipients: first.filter_map(|index| message.medium.recipient(index)).collect(),
            recipient_count: message.recipients.len(),
            references: message.references.iter().map(word).collect(),
            tag: message.tag.as_ref().map(word),
            accepted_at: time(message.accepted_at),
            deleted_at: message.deleted_at.map(time),
        }
    }
}

impl UpstreamView {
    /// `health` is `None` when it is configured no longer.
    pub(super) fn new(
        name: &UpstreamName,
        paused: bool,
        health: Option<&UpstreamHealth>,
    ) -> UpstreamView {
        let count = |of: fn(&UpstreamHealth) -> usize| health.map_or(0, of);
        let is_up = health.map(|health| health.down_until.is_none());
        UpstreamView {
            name: word(name),
            paused,
            state: is_up.map(|is_up| if is_up { "up" } else { "down" }),
            next_probe_at: health.and_then(|health| health.down_until).map(time),
            connections: count(|health| health.connections),
            idle_connections: count(|health| health.idle_connections),
            max_connections: count(|health| health.max_connections),
            last_error: health.and_then(|health| health.last_error.clone()),
        }
    }
}

impl QueueBody {
    /// `upstreams` are the configured ones; a paused one that is configured no longer is shown too,
    /// so that it can be resumed.
    pub(super) fn new(
        queue: &QueueView,
        upstreams: &[UpstreamHealth],
        now: Timestamp,
    ) -> QueueBody {
        let mut recipients = StatusCounts::default();
        for (status, count) in &queue.recipients {
            let place = match status {
                Status::NotSent => &mut recipients.not_sent,
                Status::Pending => &mut recipients.pending,
                Status::Sent => &mut recipients.sent,
                Status::Stopped => &mut recipients.stopped,
                Status::Failed => &mut recipients.failed,
            };
            *place = place.saturating_add(*count);
        }
        let is_paused = |name: &UpstreamName| queue.paused.contains(name);
        let configured =
            upstreams.iter().map(|u| UpstreamView::new(&u.name, is_paused(&u.name), Some(u)));
        let is_gone = |name: &&UpstreamName| upstreams.iter().all(|u| u.name != **name);
        let gone = queue.paused.iter().filter(is_gone);
        let gone = gone.map(|name| UpstreamView::new(name, true, None));
        QueueBody {
            recipients,
            held: queue.held,
            claimed: queue.claimed,
            oldest_pending: queue.oldest_pending.map(|(id, accepted_at)| OldestView {
                id: word(id),
                accepted_at: time(accepted_at),
                age_seconds: now.since(accepted_at).as_secs(),
            }),
            next_attempts: queue
                .next_attempts
                .iter()
                .map(|(at, message)| NextAttemptView { at: time(*at), message: word(message) })
                .collect(),
            upstreams: configured.chain(gone).collect(),
        }
    }
}
