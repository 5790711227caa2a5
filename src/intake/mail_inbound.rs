//! The door for mail that comes to the return path.
//!
//! Takes what was addressed to it and archives it as an inbound message: in the app and the thread of
//! the message that it is about, where one is known, else where only those see it who see all apps. The
//! same bytes to the same address are archived once. Nothing is refused for what it says, and what steers a
//! message of ours steers nothing here.
//! Not here: what it says (`report`), and which message is meant (`feedback`).

use std::sync::Arc;

use bytes::Bytes;

use super::inbound::references;
use super::{Intake, Notice, reading};
use crate::archive::{
    Acceptance, Accepted, ArchiveError, Client, Message, MessagePolicy, RepeatKey,
};
use crate::mime;
use crate::model::{
    AppName, Channel, Digest, Direction, EnhancedCode, Envelope, Medium, MessageId, RecipientState,
    Reply, ReversePath, Tag, Timestamp, UpstreamName,
};
use crate::policy::Apps;
use crate::telemetry;

/// Text that is searched for references, at the most.
const SEARCHED_TEXT_BYTES: usize = 64 << 10;
/// Through what such a message came in, where others name the upstream.
const DOOR: &str = "return-path";

/// A message to the return path.
#[derive(Clone, Debug)]
pub struct MailArrival {
    pub envelope: Envelope,
    pub raw: Bytes,
    pub newlines_fixed: bool,
    pub client: Client,
    /// The message of ours that it is about.
    pub about: Option<MessageId>,
    /// What it is found by later.
    pub tag: &'static str,
    /// Whether the sender of that message gets it too.
    pub is_passed_on: bool,
    pub received_at: Timestamp,
}

/// What passed-on mail is found by.
const PASSED_ON: &str = "passed-on";

impl Intake {
    /// Archives it, and what of it is passed on with it in one transaction; the same message again gives
    /// the ids of the first time, its own first.
    pub async fn receive_mail(
        &self,
        arrival: MailArrival,
        apps: &Arc<Apps>,
    ) -> Result<Accepted, ArchiveError> {
        let about = match arrival.about {
            Some(id) => self.archive.message(id)?,
            None => None,
        };
        let (apps, door) = (apps.clone(), self.clone());
        // Some megabytes are read; meanwhile other sessions go on.
        let read = tokio::task::spawn_blocking(move || {
            let key = repeat_key(&arrival);
            let further = match about.as_ref().filter(|_| arrival.is_passed_on) {
                Some(about) => door.passed_on(&arrival, about)?,
                None => None,
            };
            Ok((acceptance(arrival, about.as_ref(), &apps), further, key))
        });
        let (acceptance, further, key) = read.await.unwrap_or_else(|_| {
            Err(ArchiveError::Closed("a message to the return path met a bug".to_owned()))
        })?;
        let (app, client) = (acceptance.app.clone(), acceptance.client.address);
        let both = std::iter::once(acceptance).chain(further).collect();
        let accepted = self.archive.accept_all(both, Some(key)).await?;
        if let Accepted::New(ids) = &accepted {
            for (id, what) in ids.iter().map(|id| id.get()).zip(["received", "passed on"]) {
                tracing::info!(%id, %app, %client, "{what}");
            }
            telemetry::record::submission(Channel::Email.as_str(), app.as_str(), "received");
        }
        Ok(accepted)
    }

    /// The same bytes, on their way to the sender of the message that they are about. Where a
    /// damaged record keeps them from going there, they are archived all the same.
    fn passed_on(
        &self,
        arrival: &MailArrival,
        about: &Message,
    ) -> Result<Option<Acceptance>, ArchiveError> {
        let sender = about.medium.mail().map(|envelope| &envelope.reverse_path);
        let Some(ReversePath::Mailbox(to)) = sender else { return Ok(None) };
        let notice = Notice {
            to: to.clone(),
            raw: arrival.raw.clone(),
            client: arrival.client.clone(),
            tag: PASSED_ON,
            is_foreign: true,
            at: arrival.received_at,
        };
        match self.notice(notice, about) {
            Err(error @ ArchiveError::Storage { .. }) => {
                tracing::error!(about = %about.id, %error, "mail to the return path is not passed on");
                Ok(None)
            }
            Ok(notice) => Ok(notice),
            Err(error @ (ArchiveError::Closed(_) | ArchiveError::Full)) => Err(error),
        }
    }
}

/// The same bytes to the same address are the same message, whoever brings them again.
fn repeat_key(arrival: &MailArrival) -> RepeatKey {
    let mut address = arrival.envelope.recipients.iter().map(|one| one.path.to_string());
    let address = address.next().unwrap_or_default().to_lowercase();
    let length = (address.len() as u64).to_be_bytes();
    let parts: [&[u8]; 4] = [b"return path", &length, address.as_bytes(), &arrival.raw];
    let hash = Digest::of_parts(parts);
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.0[..16]);
    RepeatKey { key: hash.0, fingerprint }
}

fn acceptance(arrival: MailArrival, about: Option<&Message>, apps: &Apps) -> Acceptance {
    let MailArrival { envelope, raw, newlines_fixed, client, tag, received_at, .. } = arrival;
    let app = about.and_then(|m| apps.0.iter().find(|app| app.name == m.app));
    let found = mime::read(&raw);
    let mut text = found.subject.clone().unwrap_or_default();
    text.push('\n');
    text.push_str(&mime::searchable(&raw, SEARCHED_TEXT_BYTES));
    let references = references(app, about, &text);
    let digest = Digest::of(&raw);
    let state = RecipientState::Sent {
        at: received_at,
        // Eleven letters and a dash are a name.
        upstream: UpstreamName::parse(DOOR).expect("a name"),
        reply: Reply::new(250, Some(EnhancedCode(2, 0, 0)), "received"),
        digest,
    };
    Acceptance {
        accepted_at: received_at,
        direction: Direction::Inbound,
        // The app of what it is about may be gone from the configuration; its people still look there.
        // What is about nothing may be anybody's, so that no app's people see it.
        app: about.map_or_else(AppName::unmatched, |m| m.app.clone()),
        digest,
        shared: found.shared.clone(),
        recipients: reading::recipients(&envelope, &found, state),
        summary: reading::summary(found, newlines_fixed),
        references,
        tag: Tag::parse(tag),
        on_behalf_of: None,
        policy: MessagePolicy {
            hold_unknown: false,
            track_opens: false,
            track_clicks: false,
            is_foreign: false,
        },
        resend_of: None,
        medium: Medium::Mail(envelope),
        client,
        raw,
    }
}
