//! The stored facts of a message: everything that never changes after its acceptance, unless its
//! content is erased.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::archive::volume::Location;
use crate::archive::{Acceptance, Attachment, Client, MessagePolicy, Summary};
use crate::model::envelope::{BodyType, DsnReturn, FutureRelease, Notify, OriginalRecipient};
use crate::model::{
    AppName, Channel, Digest, Direction, Envelope, EnvelopeRecipient, ForwardPath, Medium,
    MessageId, Named, RecipientKind, Reference, ReversePath, Sequence, Tag, Timestamp,
};

use super::sms::StoredSms;
use super::{Corrupt, Record};

/// One row of the messages table; its key is the id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredMessage {
    pub sequence: u64,
    pub leaf: [u8; 32],
    pub accepted_at: i64,
    channel: StoredChannel,
    direction: StoredDirection,
    app: String,
    envelope: StoredEnvelope,
    client: StoredClient,
    pub size_bytes: u64,
    pub digest: [u8; 32],
    pub body: StoredBody,
    summary: StoredSummary,
    recipients: Vec<(Option<String>, StoredKind)>,
    references: Vec<String>,
    tag: Option<String>,
    on_behalf_of: Option<String>,
    policy: StoredPolicy,
    resend_of: Option<u128>,
    pub duplicate_of: Option<u128>,
    // Appended with version 2.
    sms: Option<StoredSms>,
    pub redacted_at: Option<i64>,
    pub deleted_at: Option<i64>,
    // Appended with version 3.
    is_foreign: bool,
}

/// Where the bytes lie: what is the message's own, with the shared parts left out, and for each of
/// these its place in the message and in the volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct StoredBody {
    pub own: Option<Location>,
    /// Offset in the message, ascending.
    pub shared: Vec<(u64, Location)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredChannel {
    Email,
    Sms,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredDirection {
    Outbound,
    Inbound,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredKind {
    To,
    Cc,
    Bcc,
}

/// Empty for an SMS.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct StoredEnvelope {
    reverse_path: String,
    recipients: Vec<StoredPath>,
    eight_bit_mime: bool,
    smtputf8: bool,
    ret_full: Option<bool>,
    envid: Option<String>,
    release: Option<StoredRelease>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredPath {
    path: String,
    notify: Option<StoredNotify>,
    original: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredNotify {
    Never,
    On { success: bool, failure: bool, delay: bool },
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredRelease {
    HoldForMs(u64),
    HoldUntilMs(i64),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredClient {
    address: IpAddr,
    helo: String,
    protocol: String,
    tls: Option<String>,
    authenticated: Option<String>,
    gateway: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredSummary {
    subject: Option<String>,
    author: Option<(Option<String>, String)>,
    message_id: Option<String>,
    preview: String,
    attachments: Vec<StoredAttachment>,
    defects: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredAttachment {
    filename: Option<String>,
    content_type: String,
    size_bytes: u64,
    sha256: [u8; 32],
    inline: bool,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct StoredPolicy {
    hold_unknown: bool,
    track_opens: bool,
    track_clicks: bool,
}

impl Record for StoredMessage {
    const KIND: &'static str = "message";
    const VERSION: u8 = 3;
    const APPENDED: &'static [usize] = &[3, 1];
}

/// What the writer adds to an acceptance.
pub(in crate::archive) struct Place {
    pub sequence: Sequence,
    pub leaf: Digest,
    pub body: StoredBody,
    pub duplicate_of: Option<MessageId>,
}

impl StoredMessage {
    pub(in crate::archive) fn new(acceptance: &Acceptance, place: Place) -> StoredMessage {
        let kept = acceptance.policy;
        StoredMessage {
            sequence: place.sequence.0,
            leaf: place.leaf.0,
            accepted_at: acceptance.accepted_at.as_millis(),
            channel: match acceptance.medium.channel() {
                Channel::Email => StoredChannel::Email,
                Channel::Sms => StoredChannel::Sms,
            },
            direction: match acceptance.direction {
                Direction::Outbound => StoredDirection::Outbound,
                Direction::Inbound => StoredDirection::Inbound,
            },
            app: acceptance.app.to_string(),
            envelope: acceptance.medium.mail().map(StoredEnvelope::new).unwrap_or_default(),
            client: StoredClient::new(&acceptance.client),
            size_bytes: acceptance.raw.len() as u64,
            digest: acceptance.digest.0,
            body: place.body,
            summary: StoredSummary::new(&acceptance.summary),
            recipients: acceptance
                .recipients
                .iter()
                .map(|r| (r.name.clone(), StoredKind::new(r.kind)))
                .collect(),
            references: acceptance.references.iter().map(ToString::to_string).collect(),
            tag: acceptance.tag.as_ref().map(ToString::to_string),
            on_behalf_of: acceptance.on_behalf_of.clone(),
            policy: StoredPolicy {
                hold_unknown: kept.hold_unknown,
                track_opens: kept.track_opens,
                track_clicks: kept.track_clicks,
            },
            resend_of: acceptance.resend_of.map(MessageId::as_u128),
            duplicate_of: place.duplicate_of.map(MessageId::as_u128),
            sms: acceptance.medium.sms().map(StoredSms::new),
            redacted_at: None,
            deleted_at: None,
            is_foreign: kept.is_foreign,
        }
    }

    pub(in crate::archive) fn direction(&self) -> Direction {
        match self.direction {
            StoredDirection::Outbound => Direction::Outbound,
            StoredDirection::Inbound => Direction::Inbound,
        }
    }

    pub(in crate::archive) fn app(&self) -> Result<AppName, Corrupt> {
        AppName::parse(&self.app).ok_or_else(|| Corrupt::new("app name", &self.app))
    }

    pub(in crate::archive) fn medium(&self) -> Result<Medium, Corrupt> {
        match self.channel {
            StoredChannel::Email => Ok(Medium::Mail(self.envelope.envelope()?)),
            StoredChannel::Sms => match &self.sms {
                Some(sms) => Ok(Medium::Sms(Box::new(sms.sms()?))),
                None => Err(Corrupt::new("SMS", "it has no destination")),
            },
        }
    }

    pub(in crate::archive) fn channel(&self) -> Channel {
        match self.channel {
            StoredChannel::Email => Channel::Email,
            StoredChannel::Sms => Channel::Sms,
        }
    }

    /// Takes away what the message says: text, names of attachments, and the way to its bytes.
    pub(in crate::archive) fn redact(&mut self, at: Timestamp) -> StoredBody {
        self.summary.subject = None;
        self.summary.preview = String::new();
        self.summary.defects = Vec::new();
        self.summary.attachments.iter_mut().for_each(|a| a.filename = None);
        if let Some(sms) = &mut self.sms {
            sms.redact();
        }
        self.redacted_at = self.redacted_at.or(Some(at.as_millis()));
        std::mem::take(&mut self.body)
    }

    pub(in crate::archive) fn client(&self) -> Client {
        let client = &self.client;
        Client {
            address: client.address,
            helo: client.helo.clone(),
            protocol: client.protocol.clone(),
            tls: client.tls.clone(),
            authenticated: client.authenticated.clone(),
            gateway: client.gateway.clone(),
        }
    }

    pub(in crate::archive) fn summary(&self) -> Summary {
        self.summary.summary()
    }

    pub(in crate::archive) fn recipients(
        &self,
    ) -> impl Iterator<Item = (Option<String>, RecipientKind)> + '_ {
        self.recipients.iter().map(|(name, kind)| (name.clone(), kind.kind()))
    }

    pub(in crate::archive) fn references(&self) -> Vec<Reference> {
        self.references.iter().filter_map(|text| Reference::parse(text)).collect()
    }

    pub(in crate::archive) fn tag(&self) -> Option<Tag> {
        self.tag.as_deref().and_then(Tag::parse)
    }

    pub(in crate::archive) fn on_behalf_of(&self) -> Option<String> {
        self.on_behalf_of.clone()
    }

    pub(in crate::archive) fn policy(&self) -> MessagePolicy {
        MessagePolicy {
            hold_unknown: self.policy.hold_unknown,
            track_opens: self.policy.track_opens,
            track_clicks: self.policy.track_clicks,
            is_foreign: self.is_foreign,
        }
    }

    pub(in crate::archive) fn resend_of(&self) -> Option<MessageId> {
        self.resend_of.map(MessageId::from_u128)
    }
}

impl StoredKind {
    fn new(kind: RecipientKind) -> StoredKind {
        match kind {
            RecipientKind::To => StoredKind::To,
            RecipientKind::Cc => StoredKind::Cc,
            RecipientKind::Bcc => StoredKind::Bcc,
        }
    }

    fn kind(self) -> RecipientKind {
        match self {
            StoredKind::To => RecipientKind::To,
            StoredKind::Cc => RecipientKind::Cc,
            StoredKind::Bcc => RecipientKind::Bcc,
        }
    }
}

impl StoredEnvelope {
    fn new(envelope: &Envelope) -> StoredEnvelope {
        StoredEnvelope {
            reverse_path: envelope.reverse_path.to_string(),
            recipients: envelope.recipients.iter().map(StoredPath::new).collect(),
            eight_bit_mime: envelope.body == BodyType::EightBitMime,
            smtputf8: envelope.smtputf8,
            ret_full: envelope.ret.map(|ret| ret == DsnReturn::Full),
            envid: envelope.envid.clone(),
            release: envelope.release.map(|release| match release {
                FutureRelease::HoldFor(wait) => {
                    StoredRelease::HoldForMs(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
                }
                FutureRelease::HoldUntil(at) => StoredRelease::HoldUntilMs(at.as_millis()),
            }),
        }
    }

    fn envelope(&self) -> Result<Envelope, Corrupt> {
        let path = |e| Corrupt::new("address", e);
        Ok(Envelope {
            reverse_path: ReversePath::parse(&self.reverse_path).map_err(path)?,
            recipients: self
                .recipients
                .iter()
                .map(StoredPath::recipient)
                .collect::<Result<Vec<_>, _>>()?,
            body: match self.eight_bit_mime {
                true => BodyType::EightBitMime,
                false => BodyType::SevenBit,
            },
            smtputf8: self.smtputf8,
            ret: self.ret_full.map(|full| match full {
                true => DsnReturn::Full,
                false => DsnReturn::Headers,
            }),
            envid: self.envid.clone(),
            release: self.release.map(|release| match release {
                StoredRelease::HoldForMs(ms) => FutureRelease::HoldFor(Duration::from_millis(ms)),
                StoredRelease::HoldUntilMs(ms) => {
                    FutureRelease::HoldUntil(Timestamp::from_millis(ms))
                }
            }),
        })
    }
}

impl StoredPath {
    fn new(recipient: &EnvelopeRecipient) -> StoredPath {
        StoredPath {
            path: recipient.path.to_string(),
            notify: recipient.notify.map(|notify| match notify {
                Notify::Never => StoredNotify::Never,
                Notify::On { success, failure, delay } => {
                    StoredNotify::On { success, failure, delay }
                }
            }),
            original: recipient
                .original
                .as_ref()
                .map(|o| (o.address_type.clone(), o.address.clone())),
        }
    }

    fn recipient(&self) -> Result<EnvelopeRecipient, Corrupt> {
        let original = self.original.as_ref().map(|(address_type, address)| OriginalRecipient {
            address_type: address_type.clone(),
            address: address.clone(),
        });
        Ok(EnvelopeRecipient {
            path: ForwardPath::parse(&self.path).map_err(|e| Corrupt::new("address", e))?,
            notify: self.notify.map(|notify| match notify {
                StoredNotify::Never => Notify::Never,
                StoredNotify::On { success, failure, delay } => {
                    Notify::On { success, failure, delay }
                }
            }),
            original,
        })
    }
}

impl StoredClient {
    fn new(client: &Client) -> StoredClient {
        StoredClient {
            address: client.address,
            helo: client.helo.clone(),
            protocol: client.protocol.clone(),
            tls: client.tls.clone(),
            authenticated: client.authenticated.clone(),
            gateway: client.gateway.clone(),
        }
    }
}

impl StoredSummary {
    fn new(summary: &Summary) -> StoredSummary {
        StoredSummary {
            subject: summary.subject.clone(),
            author: summary.author.as_ref().map(|a| (a.name.clone(), a.address.clone())),
            message_id: summary.message_id.clone(),
            preview: summary.preview.clone(),
            attachments: summary
                .attachments
                .iter()
                .map(|a| StoredAttachment {
                    filename: a.filename.clone(),
                    content_type: a.content_type.clone(),
                    size_bytes: a.size_bytes,
                    sha256: a.sha256.0,
                    inline: a.inline,
                })
                .collect(),
            defects: summary.defects.clone(),
        }
    }

    fn summary(&self) -> Summary {
        Summary {
            subject: self.subject.clone(),
            author: self
                .author
                .as_ref()
                .map(|(name, address)| Named { name: name.clone(), address: address.clone() }),
            message_id: self.message_id.clone(),
            preview: self.preview.clone(),
            attachments: self
                .attachments
                .iter()
                .map(|a| Attachment {
                    filename: a.filename.clone(),
                    content_type: a.content_type.clone(),
                    size_bytes: a.size_bytes,
                    sha256: Digest(a.sha256),
                    inline: a.inline,
                })
                .collect(),
            defects: self.defects.clone(),
        }
    }
}
