//! The door for SMS calls: addresses, originators, segments, opt-outs, holds, and repeated calls.
//!
//! A call is taken as a whole or not at all: `Ok` means that all of its messages are on disk. What
//! is wrong with it is a refusal, which each dialect says in its own words.

use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;

use super::{Intake, Milestone, draft};
use crate::archive::{
    Acceptance, Accepted, ArchiveError, Client, Durable, MessagePolicy, NewRecipient, RepeatKey,
    Summary,
};
use crate::model::{
    Channel, Dialect, Digest, Direction, Medium, MessageId, RecipientKind, RecipientState,
    Reference, Sms, SmsBatch, Timestamp,
};
use crate::policy::{App, OnUnknown, RouteQuery, reference};
use crate::sms::call::{Draft, Refusal};
use crate::telemetry;

/// Most messages of one call: the most that any dialect promises.
pub const MAX_DESTINATIONS: usize = 10_000;
/// From so many messages on a call is judged off the async threads.
const LARGE_CALL: usize = 50;
/// What a list shows of a text.
const PREVIEW_CHARS: usize = 200;

/// One call as it came in.
#[derive(Clone, Debug)]
pub struct SmsSubmission {
    pub app: Arc<App>,
    pub client: Client,
    pub dialect: Dialect,
    /// The account that it was made with, if any.
    pub account: Option<String>,
    /// The request with its secrets masked.
    pub raw: Bytes,
    /// Of everything that makes the call what it is.
    pub fingerprint: [u8; 16],
    pub drafts: Vec<Draft>,
    pub idempotency_key: Option<String>,
    pub received_at: Timestamp,
    /// The message that these answer.
    pub reply_to: Option<MessageId>,
    /// It confirms that somebody has opted out: the one message that a suppression does not refuse.
    pub confirms_opt_out: bool,
}

/// A call that was taken.
#[derive(Clone, Debug)]
pub struct SmsAccepted {
    /// In the order of the drafts.
    pub ids: Vec<Durable<MessageId>>,
    /// They are from the first time that this call was made.
    pub is_repeat: bool,
}

impl Intake {
    /// Judges and archives a call: all of its messages, or none. `Ok` means that they are on disk.
    pub async fn submit_sms(&self, submission: SmsSubmission) -> Result<SmsAccepted, Refusal> {
        let app = submission.app.name.clone();
        let outcome = self.take_call(submission).await;
        let (word, count) = match &outcome {
            Ok(accepted) if accepted.is_repeat => ("repeated", 1),
            Ok(accepted) => ("accepted", accepted.ids.len()),
            Err(Refusal::RateLimited { .. } | Refusal::NotNow) => ("deferred", 1),
            Err(_) => ("refused", 1),
        };
        for _ in 0..count {
            telemetry::record::submission("sms", app.as_str(), word);
        }
        outcome
    }

    async fn take_call(&self, mut call: SmsSubmission) -> Result<SmsAccepted, Refusal> {
        let key = repeat_key(&call);
        if let Some(key) = key {
            let earlier = self.archive.repeated(key).map_err(|error| not_now(&error))?;
            if let Some(accepted) = earlier {
                return taken(accepted);
            }
        }
        if call.drafts.len() > MAX_DESTINATIONS {
            return Err(Refusal::TooManyDestinations { most: MAX_DESTINATIONS });
        }
        let count = u32::try_from(call.drafts.len()).ok().and_then(NonZeroU32::new);
        let count = count.ok_or(Refusal::NoDestination)?;
        if let Err(retry_after) = self.limits.load().check_all(&call.app.name, count) {
            return Err(Refusal::RateLimited { retry_after });
        }
        let drafts = std::mem::take(&mut call.drafts);
        let door = self.clone();
        let acceptances = match drafts.len() >= LARGE_CALL {
            true => tokio::task::spawn_blocking(move || door.read_call(&call, drafts))
                .await
                .map_err(|_| Refusal::NotNow)??,
            false => self.read_call(&call, drafts)?,
        };
        let milestones: Vec<Milestone> = acceptances.iter().map(Milestone::of).collect();
        let accepted = self.archive.accept_all(acceptances, key).await;
        let accepted = accepted.map_err(|error| not_now(&error))?;
        if let Accepted::New(ids) = &accepted {
            for (milestone, id) in milestones.into_iter().zip(ids) {
                milestone.tell(id.get());
            }
        }
        taken(accepted)
    }

    pub(super) fn read_call(
        &self,
        call: &SmsSubmission,
        drafts: Vec<Draft>,
    ) -> Result<Vec<Acceptance>, Refusal> {
        let digest = Digest::of(&call.raw);
        let batches = batches(&drafts);
        let mut acceptances = Vec::with_capacity(drafts.len());
        for (mut draft, batch) in drafts.into_iter().zip(batches) {
            let sms = draft::sms(&mut draft, call, batch)?;
            self.check_suppressed(call, &sms)?;
            acceptances.push(self.acceptance(call, draft, sms, digest));
        }
        Ok(acceptances)
    }

    /// Somebody who has opted out gets nothing more, whoever asks.
    fn check_suppressed(&self, call: &SmsSubmission, sms: &Sms) -> Result<(), Refusal> {
        if call.confirms_opt_out {
            return Ok(());
        }
        let recipient = sms.destination.to_string();
        let originator = sms.originator.as_ref().map(ToString::to_string);
        // Entries against all originators are found as well. What somebody wants no more of from
        // one originator says nothing of another.
        let found = self.archive.suppressed(
            Channel::Sms,
            &recipient,
            originator.as_deref(),
            call.received_at,
        );
        let found = found.map_err(|error| not_now(&error))?.is_some();
        if found { Err(Refusal::OptedOut(recipient)) } else { Ok(()) }
    }

    fn acceptance(
        &self,
        call: &SmsSubmission,
        draft: Draft,
        sms: Sms,
        digest: Digest,
    ) -> Acceptance {
        let app = &call.app;
        let references = references(app, draft.references, sms.text());
        let query = RouteQuery {
            channel: Channel::Sms,
            app: &app.name,
            sender: &sms.originator.as_ref().map(ToString::to_string).unwrap_or_default(),
            recipient: &sms.destination.to_string(),
            tag: draft.tag.as_ref(),
        };
        let state = match self.routes.load().pick(query).is_empty() {
            true => RecipientState::NotSent { why: "no upstream serves this recipient".into() },
            false => draft::start(draft.hold, app, sms.send_at, call.received_at),
        };
        let preview = sms.text().chars().take(PREVIEW_CHARS).collect();
        Acceptance {
            accepted_at: call.received_at,
            direction: Direction::Outbound,
            app: app.name.clone(),
            client: call.client.clone(),
            // The archive stores the bytes of a call once, however many messages it is.
            raw: call.raw.clone(),
            digest,
            shared: Vec::new(),
            summary: Summary { preview, ..Summary::default() },
            recipients: vec![NewRecipient { name: None, kind: RecipientKind::To, state }],
            references,
            tag: draft.tag,
            on_behalf_of: None,
            policy: MessagePolicy {
                hold_unknown: app.on_unknown.of(Channel::Sms) == OnUnknown::Hold,
                track_opens: false,
                track_clicks: false,
                is_foreign: false,
            },
            resend_of: None,
            medium: Medium::Sms(Box::new(sms)),
        }
    }
}

/// The place of each draft among those of its message object.
fn batches(drafts: &[Draft]) -> Vec<SmsBatch> {
    let mut batches = Vec::with_capacity(drafts.len());
    for object in drafts.chunk_by(|a, b| a.group == b.group) {
        // At most as many as a call may have.
        let count = object.len() as u32;
        batches.extend((0..count).map(|index| SmsBatch { index, count }));
    }
    batches
}

/// The codes that the application named, then those in the text.
fn references(app: &App, named: Vec<Reference>, text: &str) -> Vec<Reference> {
    let mut references: Vec<Reference> = Vec::new();
    for reference in named.into_iter().chain(reference::find(&app.references, &[text])) {
        let known = |r: &Reference| r.canonical() == reference.canonical();
        if references.len() < reference::MAX_REFERENCES && !references.iter().any(known) {
            references.push(reference);
        }
    }
    references
}

/// What the client's key stands for: no two apps share one.
fn repeat_key(call: &SmsSubmission) -> Option<RepeatKey> {
    let key = call.idempotency_key.as_ref()?;
    let parts = [call.app.name.as_str().as_bytes(), &[0], key.as_bytes()];
    Some(RepeatKey { key: Digest::of_parts(parts).0, fingerprint: call.fingerprint })
}

fn taken(accepted: Accepted) -> Result<SmsAccepted, Refusal> {
    match accepted {
        Accepted::New(ids) => Ok(SmsAccepted { ids, is_repeat: false }),
        Accepted::Repeated(ids) => Ok(SmsAccepted { ids, is_repeat: true }),
        Accepted::Conflict => Err(Refusal::KeyReused),
    }
}

fn not_now(error: &ArchiveError) -> Refusal {
    match error {
        ArchiveError::Full => {}
        ArchiveError::Closed(_) | ArchiveError::Storage { .. } => {
            tracing::error!(%error, "an SMS could not be archived");
        }
    }
    Refusal::NotNow
}
