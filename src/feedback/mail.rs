//! What comes to the return path by mail: matched, archived, and then recorded.
//!
//! The message is archived first, in the thread of the one it is about; then what it says is recorded
//! of all recipients, and who must not be written to again is put on the suppression list. Where an address
//! alone tells which message is meant, it is only archived. What came to a return path that we made goes on to
//! the sender's own, in the same transaction. `Ok` means that all of it is durable. Whoever sends it again
//! changes nothing. How a report is read is `report`'s, what it makes of a recipient the archive's, which
//! message is meant `mail_match`'s, how much is taken in an hour `mail_quota`'s.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::time::Instant;

use super::mail_match::{Match, Verdict, find, verdicts};
use super::mail_quota::Quota;
use super::passing_on::{PassedOn, wanted};
use super::settings::ReturnPathLimits;
use crate::archive::{
    Accepted, Archive, ArchiveError, Client, Durable, Event, Ground, MailReport, MailReportKind,
    MessageNote, Recorded, Reported, Suppression, Told,
};
use crate::intake::{Intake, MailArrival};
use crate::model::{
    Clock, Digest, Envelope, EventKind, Mailbox, Medium, MessageId, RecipientState, ReversePath,
    Timestamp,
};
use crate::policy::Apps;
use crate::report::{self, Class, Finding, Report};
use crate::rewrite::{VerpKeys, token_of};
use crate::telemetry;

/// How long a report waits for the attempts that it is about to be judged.
const EARLY_TIMEOUT: Duration = Duration::from_secs(10);
const EARLY_PAUSE: Duration = Duration::from_millis(100);
/// Events that are read at one time.
const EVENTS_PAGE: usize = 500;

/// What the return path needs.
pub struct MailDesk {
    archive: Archive,
    intake: Intake,
    apps: Arc<ArcSwap<Apps>>,
    keys: VerpKeys,
    return_path: Mailbox,
    clock: Clock,
    limits: ReturnPathLimits,
    quota: Quota,
    passed_on: PassedOn,
}

/// A message as it came.
pub(super) struct Piece {
    pub envelope: Envelope,
    /// The one recipient, an address of ours.
    pub forward: Mailbox,
    pub raw: Bytes,
    pub newlines_fixed: bool,
    pub client: Client,
}

/// Why a message was not taken; the cause is in the log.
pub(super) enum NotTaken {
    /// There is no room for it now.
    NoRoom,
    /// Something else keeps it from being stored now.
    NotNow,
}

impl From<ArchiveError> for NotTaken {
    fn from(error: ArchiveError) -> NotTaken {
        tracing::error!(%error, "mail to the return path could not be stored");
        match error {
            ArchiveError::Full => NotTaken::NoRoom,
            ArchiveError::Closed(_) | ArchiveError::Storage { .. } => NotTaken::NotNow,
        }
    }
}

impl MailDesk {
    /// A desk for mail to this address and those made from it with these keys.
    pub fn new(
        archive: Archive,
        intake: Intake,
        apps: Arc<ArcSwap<Apps>>,
        keys: VerpKeys,
        return_path: Mailbox,
        clock: Clock,
    ) -> MailDesk {
        let limits = ReturnPathLimits::default();
        let (quota, passed_on) = (Quota::new(&limits), PassedOn::default());
        MailDesk { archive, intake, apps, keys, return_path, clock, limits, quota, passed_on }
    }

    /// With other limits than the usual ones.
    pub fn with_limits(self, limits: ReturnPathLimits) -> MailDesk {
        MailDesk { quota: Quota::new(&limits), limits, ..self }
    }

    pub(super) fn limits(&self) -> &ReturnPathLimits {
        &self.limits
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Whether a message of this size leaves submission its room.
    pub(super) fn has_room_for(&self, size_bytes: u64) -> bool {
        // What is passed on is archived once more.
        self.archive.has_spare(self.limits.spare_bytes, size_bytes.saturating_mul(2))
    }

    /// Reads, archives and records a message; `Ok` means that all of it is durable.
    pub(super) async fn take(&self, piece: Piece) -> Result<Durable<MessageId>, NotTaken> {
        let (raw, now) = (piece.raw.clone(), self.now());
        let (reverse, forward) = (piece.envelope.reverse_path.clone(), piece.forward.clone());
        // Reading is linear, but megabytes of it would keep other sessions waiting.
        let reading = tokio::task::spawn_blocking(move || {
            let report = report::read_envelope(&raw, &reverse, &forward);
            (report, Digest::of(&raw))
        });
        // What can not be read is kept unread: sent again, it would be no other.
        let (report, digest) = reading.await.unwrap_or_else(|_| {
            tracing::error!("a message to the return path met a bug; it is kept unread");
            (None, Digest::of(&piece.raw))
        });
        let keys = (&self.keys, &self.return_path);
        let found = find(&self.archive, keys, report.as_ref(), &piece.forward, &piece.raw, now)?;
        let is_machine = report.is_some() || piece.envelope.reverse_path == ReversePath::Null;
        let verdicts = match (&report, &found) {
            (Some(report), Some(found)) => verdicts(report, found),
            (None, _) | (_, None) => Vec::new(),
        };
        self.check_room(&piece, found.as_ref(), &verdicts, now)?;
        let is_passed_on = found.as_ref().is_some_and(|found| self.goes_on(found, &verdicts));
        let arrival = MailArrival {
            envelope: piece.envelope,
            raw: piece.raw,
            newlines_fixed: piece.newlines_fixed,
            client: piece.client,
            about: found.as_ref().map(|found| found.message.id),
            tag: tag(report.as_ref(), found.as_ref(), &verdicts, is_machine),
            is_passed_on,
            received_at: now,
        };
        let accepted = self.intake.receive_mail(arrival, &self.apps.load_full()).await?;
        let (ids, is_new) = match accepted {
            Accepted::New(ids) => (ids, true),
            Accepted::Repeated(ids) => (ids, false),
            Accepted::Conflict => return Err(NotTaken::NotNow),
        };
        let id = ids.into_iter().next().ok_or(NotTaken::NotNow)?;
        telemetry::record::feedback(if found.is_some() { "mail" } else { "unmatched_mail" });
        if let Some(found) = &found {
            if is_new && is_passed_on {
                self.passed_on.count((found.message.id, found.recipient));
            }
            if !found.is_guessed {
                self.record(found, &verdicts, (id.get(), digest), now).await?;
            }
            if !is_machine {
                self.replied(found, id.get(), is_new, now).await?;
            }
        }
        Ok(id)
    }

    /// Strangers must neither fill the disk for others, nor send without end.
    fn check_room(
        &self,
        piece: &Piece,
        found: Option<&Match>,
        verdicts: &[Verdict],
        now: Timestamp,
    ) -> Result<(), NotTaken> {
        let (size_bytes, client) = (piece.raw.len() as u64, piece.client.address);
        if !self.has_room_for(size_bytes) {
            tracing::warn!(%client, size_bytes, "there is no room for mail to the return path");
            return Err(NotTaken::NoRoom);
        }
        let proof = found.filter(|found| found.is_proven);
        let proof = proof.map(|found| (found.message.id, found.recipient));
        if !self.quota.take(client, proof, size_bytes, now) {
            tracing::warn!(%client, size_bytes, "too much mail to the return path in an hour");
            return Err(NotTaken::NoRoom);
        }
        // Of what is guessed nothing is recorded.
        let Some(found) = found.filter(|found| !found.is_guessed) else { return Ok(()) };
        let unproven = verdicts.iter().filter(|verdict| !found.proves(verdict.recipient));
        if !self.quota.tell(&found.message, unproven.count(), now) {
            tracing::warn!(%client, id = %found.message.id, "too much is said of one message in an hour");
            return Err(NotTaken::NoRoom);
        }
        Ok(())
    }

    /// Whether the sender of the message gets it, as he would have without a return path of ours.
    fn goes_on(&self, found: &Match, verdicts: &[Verdict]) -> bool {
        let Medium::Mail(envelope) = &found.message.medium else { return false };
        let is_ours = match &envelope.reverse_path {
            ReversePath::Null => true,
            ReversePath::Mailbox(sender) => {
                *sender == self.return_path || token_of(&self.return_path, sender).is_some()
            }
        };
        found.is_proven
            && !is_ours
            && wanted(envelope, verdicts)
            && self.passed_on.has_room((found.message.id, found.recipient))
    }

    /// Records what it says of all recipients, and puts onto the list whom it gives a ground to leave alone.
    /// Waits for attempts that are still to be judged.
    async fn record(
        &self,
        found: &Match,
        verdicts: &[Verdict],
        (id, digest): (MessageId, Digest),
        now: Timestamp,
    ) -> Result<(), NotTaken> {
        let of = |verdict| told(found, verdict, (id, digest), now);
        let mut left: Vec<Told> = verdicts.iter().map(of).collect();
        let deadline = Instant::now() + EARLY_TIMEOUT;
        while !left.is_empty() {
            // It is looked for attempts first, because a look costs no commit.
            let under_way = self.under_way(found.message.id)?;
            let is_early = |one: &Told| under_way.contains(&one.report.recipient);
            let (mut early, ready): (Vec<Told>, Vec<Told>) = left.into_iter().partition(is_early);
            let recorded = self.archive.record_mail_reports(ready.clone()).await?;
            for (one, recorded) in ready.into_iter().zip(recorded) {
                tell(&one, recorded, id);
                if recorded.reported == Reported::TooEarly {
                    early.push(one);
                }
            }
            left = early;
            match left.is_empty() {
                true => {}
                false if Instant::now() >= deadline => return Err(NotTaken::NotNow),
                false => tokio::time::sleep(EARLY_PAUSE).await,
            }
        }
        Ok(())
    }

    /// The recipients of whom an attempt is to be judged.
    fn under_way(&self, id: MessageId) -> Result<HashSet<u16>, ArchiveError> {
        let Some(message) = self.archive.message(id)? else { return Ok(HashSet::new()) };
        let claimed = (0..).zip(&message.recipients);
        let claimed = claimed.filter(|(_, r)| matches!(r.state, RecipientState::Claimed { .. }));
        Ok(claimed.map(|(index, _)| index).collect())
    }

    /// A person answered.
    async fn replied(
        &self,
        found: &Match,
        id: MessageId,
        is_new: bool,
        at: Timestamp,
    ) -> Result<(), NotTaken> {
        let (message, detail) = (found.message.id, Some(format!("by {id}")));
        // A crash may have come between the first time and the note of it.
        if !is_new && self.is_noted(message, detail.as_deref())? {
            return Ok(());
        }
        let note = MessageNote { message, kind: EventKind::Replied, by: None, detail, at };
        Ok(self.archive.note(note).await?)
    }

    /// Whether the history has this answer.
    fn is_noted(&self, message: MessageId, detail: Option<&str>) -> Result<bool, ArchiveError> {
        let mut after = None;
        loop {
            let page = self.archive.events(message, after, EVENTS_PAGE)?;
            let is_it = |event: &Event| {
                event.kind == EventKind::Replied && event.detail.as_deref() == detail
            };
            if page.items.iter().any(is_it) {
                return Ok(true);
            }
            after = page.next;
            if after.is_none() {
                return Ok(false);
            }
        }
    }
}

/// What a report says of one recipient, for the archive.
fn told(
    found: &Match,
    verdict: &Verdict,
    (id, digest): (MessageId, Digest),
    now: Timestamp,
) -> Told {
    let report = MailReport {
        message: found.message.id,
        recipient: verdict.recipient,
        kind: verdict.kind,
        status: verdict.status,
        diagnostic: verdict.diagnostic.clone(),
        detail: format!("{}, told by {id}", verdict.words),
        at: now,
        key: digest,
        // That it arrived harms nobody, so that a return path of several is enough.
        is_proven: match verdict.kind {
            MailReportKind::Delivered => found.is_proven,
            MailReportKind::Failed { .. }
            | MailReportKind::Delayed
            | MailReportKind::Displayed
            | MailReportKind::Complained => found.proves(verdict.recipient),
        },
    };
    Told { report, suppression: suppression(found, verdict, now) }
}

/// The entry of the list that follows from it. Anybody can write a report that names a Message-ID, and each of
/// several recipients one to the return path of all; nobody must silence others.
fn suppression(found: &Match, verdict: &Verdict, now: Timestamp) -> Option<Suppression> {
    let ground = Ground::of(verdict.kind).filter(|_| found.proves(verdict.recipient))?;
    let (medium, said) = (&found.message.medium, (None, verdict.words.as_str()));
    let recipient = medium.recipient(verdict.recipient)?;
    Some(Suppression::because(ground, medium, &recipient, said, now))
}

/// What changed is a milestone of the message.
fn tell(told: &Told, recorded: Recorded, report: MessageId) {
    let (id, recipient) = (told.report.message, told.report.recipient);
    match recorded.reported {
        Reported::Changed(_) => {
            let kind = told.report.kind.event().as_str();
            telemetry::record::feedback(kind);
            tracing::info!(%id, recipient, kind, %report, "report by mail");
        }
        Reported::Unchanged(_) | Reported::Unknown | Reported::TooEarly => {}
    }
    if let Some(entry) = told.suppression.as_ref().filter(|_| recorded.is_suppressed) {
        tracing::info!(%id, recipient, word = entry.by, "suppressed");
    }
}

/// What the message is found by later: its kind, or that nobody knows what it is about.
fn tag(
    report: Option<&Report>,
    found: Option<&Match>,
    verdicts: &[Verdict],
    is_machine: bool,
) -> &'static str {
    let is_auto_reply =
        report.is_some_and(|report| matches!(report.finding, Finding::AutoReply(_)));
    match (found, report) {
        (_, _) if is_auto_reply => "auto-reply",
        (None, _) => "unmatched",
        (Some(_), None) if is_machine => "unmatched",
        (Some(_), None) => "reply",
        (Some(_), Some(_)) => match verdicts.first().map(|verdict| verdict.kind) {
            Some(MailReportKind::Failed { .. }) => "bounce",
            Some(MailReportKind::Delayed) => "delay",
            Some(MailReportKind::Delivered) => "delivery",
            Some(MailReportKind::Displayed) => "read-receipt",
            Some(MailReportKind::Complained) => "complaint",
            None => "unmatched",
        },
    }
}

/// What the archive is told of a class; `None` is nothing.
pub(super) fn kind_of(class: Class) -> Option<MailReportKind> {
    match class {
        Class::Hard => Some(MailReportKind::Failed { is_hard: true }),
        Class::Soft => Some(MailReportKind::Failed { is_hard: false }),
        Class::Delayed => Some(MailReportKind::Delayed),
        Class::Delivered => Some(MailReportKind::Delivered),
        Class::Complaint => Some(MailReportKind::Complained),
        Class::Displayed => Some(MailReportKind::Displayed),
        Class::AutoReply | Class::Unknown => None,
    }
}
