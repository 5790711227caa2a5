//! The single door: every message passes here before it is archived.
//!
//! Takes a submission whose client is known, judges it by the app's policy, reads it, and hands the
//! archive an acceptance. `Ok` means that the message is on disk. What can not be stored now is a
//! 4yz reply, what can never be accepted a 5yz one. Reading never decides: a message that makes no
//! sense is archived with its defects and relayed as it came.

mod draft;
mod inbound;
mod keyword;
mod limits;
mod mail_inbound;
mod notice;
mod reading;
mod rebuild;
mod repeat;
mod resend;
mod shown;
mod sms;
mod suppressed;

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::archive::{Acceptance, Archive, ArchiveError, Client, Durable, MessagePolicy};
use crate::mime;
use crate::model::envelope::FutureRelease;
use crate::model::{
    AppName, Channel, Digest, Direction, EnhancedCode, Envelope, Hold, Medium, MessageId,
    RecipientState, Reply, Timestamp,
};
use crate::policy::steering::Steering;
use crate::policy::{App, Apps, HoldRule, OnUnknown, RouteQuery, Routes};
use crate::telemetry;
use limits::Limits;
use repeat::Repeats;

pub use inbound::SmsArrival;
pub use keyword::{Keyword, KeywordSettings};
pub use mail_inbound::MailArrival;
pub use notice::Notice;
pub use repeat::{ReplyFate, fingerprint};
pub use resend::{ResendEdits, ResendRefusal, ResendWish, Resender};
pub use shown::shown;
pub use sms::{MAX_DESTINATIONS, SmsAccepted, SmsSubmission};

/// From this size on a message is read off the async threads.
const LARGE_MESSAGE_BYTES: usize = 256 << 10;

/// One SMTP transaction as it came in.
#[derive(Clone, Debug)]
pub struct Submission {
    pub app: Arc<App>,
    pub envelope: Envelope,
    pub client: Client,
    /// The decoded DATA or the joined BDAT chunks; every line break is CRLF.
    pub raw: Bytes,
    /// Bare CR or LF were made CRLF (`smtp.bare_newline = "fix"`).
    pub newlines_fixed: bool,
    pub received_at: Timestamp,
}

/// The door; clones share it.
#[derive(Clone)]
pub struct Intake {
    archive: Archive,
    routes: Arc<ArcSwap<Routes>>,
    limits: Arc<ArcSwap<Limits>>,
    repeats: Repeats,
}

impl Intake {
    /// A door into this archive. Routes are only asked whether a recipient has anywhere to go.
    pub fn new(archive: Archive, routes: Arc<ArcSwap<Routes>>, apps: &Apps) -> Intake {
        let limits = Arc::new(ArcSwap::from_pointee(Limits::new(apps)));
        Intake { archive, routes, limits, repeats: Repeats::default() }
    }

    /// Takes over the rates of a new configuration; counts begin anew.
    pub fn reload(&self, apps: &Apps) {
        self.limits.store(Arc::new(Limits::new(apps)));
    }

    /// Whether there is room for another message; asked at MAIL, before the client sends it all.
    pub fn has_room(&self) -> bool {
        self.archive.has_room()
    }

    /// Judges, reads and archives a submission. `Ok` means that it is on disk; the error is the
    /// reply to give.
    pub async fn submit(&self, submission: Submission) -> Result<Durable<MessageId>, Reply> {
        let app = submission.app.name.clone();
        let outcome = self.admit(submission).await;
        let word = match &outcome {
            Ok(_) => "accepted",
            Err(reply) if reply.class() == 4 => "deferred",
            Err(_) => "refused",
        };
        telemetry::record::submission("email", app.as_str(), word);
        outcome
    }

    async fn admit(&self, submission: Submission) -> Result<Durable<MessageId>, Reply> {
        if let Err(which) = self.limits.load().check(&submission.app.name) {
            let text = format!("This application sends more than its {which}; try again later");
            return Err(reply(450, EnhancedCode(4, 7, 1), &text));
        }
        let door = self.clone();
        let acceptance = match submission.raw.len() >= LARGE_MESSAGE_BYTES {
            true => tokio::task::spawn_blocking(move || door.read(submission))
                .await
                .map_err(|_| trouble())??,
            false => door.read(submission)?,
        };
        let milestone = Milestone::of(&acceptance);
        let received_at = acceptance.accepted_at;
        let suppressed = suppressed::of(&acceptance);
        match self.archive.accept(acceptance).await {
            Ok(id) => {
                milestone.tell(id.get());
                self.tell_suppressed(id.get(), &suppressed, received_at).await;
                Ok(id)
            }
            Err(ArchiveError::Full) => {
                Err(reply(452, EnhancedCode(4, 3, 1), "There is no room to store the message now"))
            }
            Err(ArchiveError::Closed(reason)) => {
                tracing::error!(%reason, "a message could not be archived");
                Err(reply(421, EnhancedCode(4, 3, 0), "The message can not be stored; closing"))
            }
            Err(error @ ArchiveError::Storage { .. }) => {
                tracing::error!(%error, "a message could not be archived");
                Err(trouble())
            }
        }
    }

    fn read(&self, submission: Submission) -> Result<Acceptance, Reply> {
        let Submission { app, envelope, client, raw, newlines_fixed, received_at } = submission;
        if mime::hops(&raw, &client.gateway).is_loop() {
            return Err(reply(554, EnhancedCode(5, 4, 6), "The message runs in a loop"));
        }
        let steering = reading::steering(&raw)
            .map_err(|error| reply(550, EnhancedCode(5, 6, 0), &error.to_string()))?;
        let found = mime::read(&raw);
        let references = reading::references(&app, &steering, &found, &raw);
        let start = start(&app, &steering, &envelope, received_at);
        let routes = self.routes.load();
        let mut recipients = reading::recipients(&envelope, &found, start.clone());
        for (recipient, to) in recipients.iter_mut().zip(&envelope.recipients) {
            let query = RouteQuery {
                channel: Channel::Email,
                app: &app.name,
                sender: &envelope.reverse_path.to_string(),
                recipient: &to.path.to_string(),
                tag: steering.tag.as_ref(),
            };
            if routes.pick(query).is_empty() {
                let why = "no upstream serves this recipient".into();
                recipient.state = RecipientState::NotSent { why };
            }
        }
        self.leave_out_suppressed(&envelope, &mut recipients, received_at)?;
        let shared = found.shared.clone();
        let track = steering.track.unwrap_or(app.track);
        Ok(Acceptance {
            accepted_at: received_at,
            direction: Direction::Outbound,
            app: app.name.clone(),
            digest: Digest::of(&raw),
            shared,
            summary: reading::summary(found, newlines_fixed),
            recipients,
            references,
            tag: steering.tag,
            on_behalf_of: steering.on_behalf_of,
            policy: MessagePolicy {
                hold_unknown: app.on_unknown.of(Channel::Email) == OnUnknown::Hold,
                track_opens: track.opens,
                track_clicks: track.clicks,
                is_foreign: false,
            },
            resend_of: None,
            medium: Medium::Mail(envelope),
            client,
            raw,
        })
    }
}

/// What the log says of an accepted message: numbers and configured names, no word of its content.
struct Milestone {
    app: AppName,
    client: IpAddr,
    size_bytes: usize,
    recipients: usize,
    held: usize,
    not_sent: usize,
}

impl Milestone {
    fn of(acceptance: &Acceptance) -> Milestone {
        let count = |is: fn(&RecipientState) -> bool| {
            acceptance.recipients.iter().filter(|recipient| is(&recipient.state)).count()
        };
        Milestone {
            app: acceptance.app.clone(),
            client: acceptance.client.address,
            size_bytes: acceptance.raw.len(),
            recipients: acceptance.recipients.len(),
            held: count(|state| matches!(state, RecipientState::Held { .. })),
            not_sent: count(|state| matches!(state, RecipientState::NotSent { .. })),
        }
    }

    fn tell(self, id: MessageId) {
        let Milestone { app, client, size_bytes, recipients, held, not_sent } = self;
        tracing::info!(%id, %app, %client, size_bytes, recipients, held, not_sent, "accepted");
    }
}

/// Where a new recipient stands: due, or held by the message's own order, the client's
/// FUTURERELEASE (RFC 4865) or the app's rule. The latest time wins, and a person over any time.
fn start(app: &App, steering: &Steering, envelope: &Envelope, now: Timestamp) -> RecipientState {
    let hold = match steering.hold.unwrap_or(app.hold) {
        HoldRule::Manual => return RecipientState::Held { hold: Hold::Manual },
        HoldRule::For(wait) => Some(now.plus(wait)),
        HoldRule::None => None,
    };
    let release = envelope.release.map(|release| match release {
        FutureRelease::HoldFor(wait) => now.plus(wait),
        FutureRelease::HoldUntil(at) => at,
    });
    match hold.max(release).max(steering.send_at) {
        Some(until) if until > now => RecipientState::Held { hold: Hold::Until(until) },
        Some(_) | None => RecipientState::Due { at: now, rank: 0 },
    }
}

fn reply(code: u16, enhanced: EnhancedCode, text: &str) -> Reply {
    Reply::new(code, Some(enhanced), text)
}

fn trouble() -> Reply {
    reply(451, EnhancedCode(4, 3, 0), "The message can not be stored now")
}

#[cfg(test)]
mod tests;
