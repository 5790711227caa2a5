//! The door for what goes back to the sender of a message: reports that Waybill writes, and those of others
//! that are passed on.
//!
//! Makes of it a message like every other one, in the app and the thread of the one that it is about,
//! with the null reverse-path, so that nobody reports on a report (RFC 5321 §6.1, RFC 3461 §6.1). It
//! obeys the routes and the suppression list; it is not held, not tracked and not counted against the
//! rates of the app. What has nowhere to go is not made. Not here: what it says, and when (`flow`,
//! `feedback`).

use bytes::Bytes;

use super::{Intake, reading};
use crate::archive::{Acceptance, ArchiveError, Client, Durable, Message, MessagePolicy};
use crate::mime;
use crate::model::envelope::{BodyType, Notify};
use crate::model::{
    Channel, Digest, Direction, Envelope, EnvelopeRecipient, ForwardPath, Mailbox, Medium,
    MessageId, RecipientState, ReversePath, Sequence, Tag, Timestamp,
};
use crate::policy::RouteQuery;
use crate::telemetry;

/// Something for the sender of a message.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The sender's own return path.
    pub to: Mailbox,
    pub raw: Bytes,
    /// How it came here.
    pub client: Client,
    /// What it is found by later.
    pub tag: &'static str,
    /// Somebody outside wrote it.
    pub is_foreign: bool,
    pub at: Timestamp,
}

impl Intake {
    /// A notice as it is to be archived; `None` when nothing serves its recipient, or when it has been
    /// here too often.
    pub fn notice(
        &self,
        notice: Notice,
        about: &Message,
    ) -> Result<Option<Acceptance>, ArchiveError> {
        let Notice { to, raw, client, tag, is_foreign, at } = notice;
        if mime::hops(&raw, &client.gateway).is_loop() {
            tracing::warn!(about = %about.id, "a report runs in a loop and goes no further");
            return Ok(None);
        }
        let (recipient, tag) = (to.to_string(), Tag::parse(tag));
        let query = RouteQuery {
            channel: Channel::Email,
            app: &about.app,
            sender: "",
            recipient: &recipient,
            tag: tag.as_ref(),
        };
        if self.routes.load().pick(query).is_empty() {
            tracing::debug!(about = %about.id, "no upstream serves the sender's return path");
            return Ok(None);
        }
        let path = ForwardPath::Mailbox(to);
        let envelope = Envelope {
            smtputf8: path.needs_smtputf8(),
            reverse_path: ReversePath::Null,
            recipients: vec![EnvelopeRecipient {
                path,
                notify: Some(Notify::Never),
                original: None,
            }],
            body: if raw.is_ascii() { BodyType::SevenBit } else { BodyType::EightBitMime },
            ret: None,
            envid: None,
            release: None,
        };
        let found = mime::read(&raw);
        let start = RecipientState::Due { at, rank: 0 };
        let mut recipients = reading::recipients(&envelope, &found, start);
        self.mark_suppressed(&envelope, &mut recipients, at)?;
        Ok(Some(Acceptance {
            accepted_at: at,
            direction: Direction::Outbound,
            app: about.app.clone(),
            digest: Digest::of(&raw),
            shared: found.shared.clone(),
            recipients,
            summary: reading::summary(found, false),
            references: about.references.clone(),
            tag,
            on_behalf_of: None,
            policy: MessagePolicy {
                hold_unknown: false,
                track_opens: false,
                track_clicks: false,
                is_foreign,
            },
            resend_of: None,
            medium: Medium::Mail(envelope),
            client,
            raw,
        }))
    }

    /// Archives the notices that follow from the journal up to here, once.
    pub async fn notify(
        &self,
        notices: Vec<Acceptance>,
        until: Sequence,
    ) -> Result<Vec<Durable<MessageId>>, ArchiveError> {
        let apps: Vec<_> = notices.iter().map(|notice| notice.app.clone()).collect();
        let ids = self.archive.notify(notices, until).await?;
        for (id, app) in ids.iter().zip(apps) {
            tracing::info!(id = %id.get(), %app, "a report for the sender was written");
            telemetry::record::submission(Channel::Email.as_str(), app.as_str(), "accepted");
        }
        Ok(ids)
    }
}
