//! What comes to the return path by mail: matched, archived, and then recorded.
//!
//! The message is archived first, in the thread of the one it is about; then what it says is recorded
//! of each recipient, and who must not be written to again is put on the suppression list. Where an address
//! alone tells which message is meant, it is only archived. What came to a return path that we made goes on to the sender's own, in the same transaction. `Ok` means
//! that all of it is durable. Whoever sends it again changes nothing. How a report is read is
//! `report`'s, what it makes of a recipient the archive's, which message is meant `mail_match`'s.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::mail_match::{Match, Verdict, find, verdicts};
use super::passing_on::{PassedOn, wanted};
use crate::archive::{
    Accepted, Archive, ArchiveError, Client, Durable, Event, Ground, MailReport, MailReportKind,
    MessageNote, PassedBounce, Reported, Suppression,
};
use crate::intake::{Intake, MailArrival};
use crate::model::{
    Clock, Digest, Envelope, EventKind, Mailbox, Medium, MessageId, ReversePath, Timestamp,
};
use crate::policy::Apps;
use crate::report::{self, Class, Finding, Report};
use crate::rewrite::{VerpKeys, token_of};
use crate::telemetry;

/// Messages that are read and archived at one time.
const MAX_AT_ONCE: usize = 8;
/// How long a report waits for the attempt that it is about to be judged.
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
    at_once: Semaphore,
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

/// It could not be stored; the cause is in the log.
pub(super) struct NotNow;

impl From<ArchiveError> for NotNow {
    fn from(error: ArchiveError) -> NotNow {
        tracing::error!(%error, "mail to the return path could not be stored");
        NotNow
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
        let at_once = Semaphore::new(MAX_AT_ONCE);
        let passed_on = PassedOn::default();
        MailDesk { archive, intake, apps, keys, return_path, clock, at_once, passed_on }
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(super) fn has_room(&self) -> bool {
        self.intake.has_room()
    }

    /// Reads, archives and records a message; `Ok` means that all of it is durable.
    pub(super) async fn take(&self, piece: Piece) -> Result<Durable<MessageId>, NotNow> {
        let _place = self.at_once.acquire().await.map_err(|_| NotNow)?;
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
        let is_passed_on = found.as_ref().is_some_and(|found| self.goes_on(found, &verdicts));
        let arrival = MailArrival {
            envelope: piece.envelope,
            raw: piece.raw,
            newlines_fixed: piece.newlines_fixed,
            client: piece.client,
            about: found.as_ref().map(|found| found.message.id),
            tag: tag(report.as_ref(), found.as_ref(), &verdicts, is_machine),
            is_passed_on,
            bounce: found.as_ref().and_then(|found| bounce(found, &verdicts)),
            received_at: now,
        };
        let accepted = self.intake.receive_mail(arrival, &self.apps.load_full()).await?;
        let (ids, is_new) = match accepted {
            Accepted::New(ids) => (ids, true),
            Accepted::Repeated(ids) => (ids, false),
            Accepted::Conflict => return Err(NotNow),
        };
        let was_passed_on = ids.len() > 1;
        let id = ids.into_iter().next().ok_or(NotNow)?;
        telemetry::record::feedback(if found.is_some() { "mail" } else { "unmatched_mail" });
        if let Some(found) = &found {
            if is_new && was_passed_on {
                self.passed_on.count((found.message.id, found.recipient));
            }
            for verdict in verdicts.iter().filter(|_| !found.is_guessed) {
                self.record(found, verdict, id.get(), digest, now).await?;
            }
            if !is_machine {
                self.replied(found, id.get(), is_new, now).await?;
            }
        }
        Ok(id)
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

    async fn record(
        &self,
        found: &Match,
        verdict: &Verdict,
        id: MessageId,
        digest: Digest,
        now: Timestamp,
    ) -> Result<(), NotNow> {
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
            // It goes on to him as it came.
            owes_report: false,
        };
        let reported = self.settled(report).await?;
        let (message, recipient) = (found.message.id, verdict.recipient);
        match reported {
            Reported::Changed(_) => {
                let kind = verdict.kind.event().as_str();
                telemetry::record::feedback(kind);
                tracing::info!(id = %message, recipient, kind, report = %id, "report by mail");
            }
            Reported::Unchanged(_) | Reported::Unknown => {}
            Reported::TooEarly => return Err(NotNow),
        }
        // A crash may have come between the first time and this.
        match found.proves(verdict.recipient) {
            true => self.suppress(found, verdict, now).await,
            // Anybody can write a report that names a Message-ID, and each of several recipients one
            // to the return path of all; nobody must silence others.
            false => Ok(()),
        }
    }

    /// Records it, waiting for an attempt that is still to be judged.
    async fn settled(&self, report: MailReport) -> Result<Reported, ArchiveError> {
        let deadline = Instant::now() + EARLY_TIMEOUT;
        loop {
            let reported = self.archive.record_mail_report(report.clone()).await?;
            if reported != Reported::TooEarly || Instant::now() >= deadline {
                return Ok(reported);
            }
            tokio::time::sleep(EARLY_PAUSE).await;
        }
    }

    /// Puts onto the list whom the report gives a ground to leave alone.
    async fn suppress(
        &self,
        found: &Match,
        verdict: &Verdict,
        now: Timestamp,
    ) -> Result<(), NotNow> {
        let Some(ground) = Ground::of(verdict.kind) else { return Ok(()) };
        let Some(recipient) = found.message.medium.recipient(verdict.recipient) else {
            return Ok(());
        };
        let (medium, said) = (&found.message.medium, (None, verdict.words.as_str()));
        let entry = Suppression::because(ground, medium, &recipient, said, now);
        let word = ground.as_str();
        if self.archive.suppress(entry).await? {
            tracing::info!(id = %found.message.id, recipient = verdict.recipient, word, "suppressed");
        }
        Ok(())
    }

    /// A person answered.
    async fn replied(
        &self,
        found: &Match,
        id: MessageId,
        is_new: bool,
        at: Timestamp,
    ) -> Result<(), NotNow> {
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

/// Whom it says to have failed.
fn bounce(found: &Match, verdicts: &[Verdict]) -> Option<PassedBounce> {
    let is_failure = |verdict: &&Verdict| matches!(verdict.kind, MailReportKind::Failed { .. });
    let failed = verdicts.iter().filter(is_failure).map(|verdict| verdict.recipient);
    let recipients: Vec<u16> = failed.collect();
    let has_other_news = recipients.len() < verdicts.len();
    let message = found.message.id;
    (!recipients.is_empty()).then_some(PassedBounce { message, recipients, has_other_news })
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
