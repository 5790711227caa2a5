//! Follows the journal and tells senders by mail what became of their messages (RFC 3461, RFC 3464).
//!
//! What is told goes through the door and the queue like every other message, with the null reverse-path,
//! and is archived in the transaction that moves the place in the journal: once, whenever the
//! daemon ends. What happens to one message at about the same time is told in one report. While there is no
//! room to store anything it waits, and nothing is lost. A message that can not be read is left out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::delivery_report::{Told, concerns, tellable, told};
use crate::archive::{Acceptance, Archive, ArchiveError, Client, Event, Message};
use crate::intake::{Intake, Notice};
use crate::model::{Clock, Digest, EventKind, Mailbox, MessageId, Sequence, Timestamp};
use crate::policy::FailureReports;
use crate::report::{Action, Dsn, DsnRecipient, write_dsn};

/// Events looked at in one go.
const BATCH: usize = 500;
/// Messages whose senders are told in one go: their reports, each with up to a megabyte of its original,
/// are in memory together.
const MAX_AT_ONCE: usize = 20;
/// Events without reports after which the place is written down all the same.
const UNSAVED_EVENTS: u64 = 10_000;
/// The wait when there is no room.
const PAUSE: Duration = Duration::from_secs(1);
/// Events of one message that are looked at in one go.
const PAGE: usize = 500;
/// By which what is written here is found.
const TAG: &str = "delivery-report";

/// What telling senders needs.
pub struct Notifier {
    pub archive: Archive,
    pub intake: Intake,
    /// The name that this gateway bears in reports.
    pub hostname: String,
    /// Who writes them.
    pub author: Mailbox,
    /// How long a message is tried.
    pub expire: Duration,
    pub failure_reports: FailureReports,
    pub clock: Clock,
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").field("hostname", &self.hostname).finish_non_exhaustive()
    }
}

/// The place in the journal, and how much of it is on disk.
struct Place {
    seen: Sequence,
    saved: Sequence,
}

/// A message with what is told of it.
struct Story {
    message: Message,
    /// The first event, by which a report is told from others about the same message.
    first: Sequence,
    told: BTreeMap<u16, Told>,
}

impl Notifier {
    /// Tells until `stop`.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ArchiveError> {
        let mut journal = self.archive.journal();
        let saved = self.archive.notified_until().await?;
        let mut place = Place { seen: saved, saved };
        while !stop.is_cancelled() {
            // Seen before the look, so that what is committed during it is looked at too.
            journal.borrow_and_update();
            let went_on = match self.step(&mut place).await {
                Ok(went_on) => went_on,
                Err(ArchiveError::Full) => {
                    let _ = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let wait = async {
                match went_on {
                    true => tokio::task::yield_now().await,
                    false => return journal.changed().await,
                }
                Ok(())
            };
            tokio::select! {
                // The archive is gone.
                waited = wait => if waited.is_err() { return Ok(()) },
                () = stop.cancelled() => {}
            }
        }
        if place.saved < place.seen {
            self.archive.notify(Vec::new(), place.seen).await?;
        }
        Ok(())
    }

    /// One look; false when there was nothing left.
    async fn step(&self, place: &mut Place) -> Result<bool, ArchiveError> {
        let events = self.archive.journal_after(place.seen, BATCH)?;
        let Some(last) = events.last() else { return Ok(false) };
        let (mut stories, mut until) = (BTreeMap::new(), last.sequence);
        for event in events.iter().filter(|event| concerns(event)) {
            if stories.len() >= MAX_AT_ONCE && !stories.contains_key(&event.message) {
                until = Sequence(event.sequence.0 - 1);
                break;
            }
            self.look(event, &mut stories)?;
        }
        let mut stories: Vec<Story> = stories.into_values().collect();
        stories.sort_by_key(|story| story.first);
        let mut notices = Vec::new();
        for story in stories {
            notices.extend(self.notice(story)?);
        }
        self.save(place, notices, until).await?;
        Ok(true)
    }

    async fn save(
        &self,
        place: &mut Place,
        notices: Vec<Acceptance>,
        until: Sequence,
    ) -> Result<(), ArchiveError> {
        let unsaved = until.0.saturating_sub(place.saved.0);
        if !notices.is_empty() || unsaved >= UNSAVED_EVENTS {
            self.intake.notify(notices, until).await?;
            place.saved = until;
        }
        place.seen = until;
        Ok(())
    }

    /// Adds what is told of an event.
    fn look(
        &self,
        event: &Event,
        stories: &mut BTreeMap<MessageId, Story>,
    ) -> Result<(), ArchiveError> {
        let is_first_delay = |late| self.is_first_delay(event, late);
        if let Some(story) = stories.get_mut(&event.message) {
            let told = told(event, &story.message, self.failure_reports, is_first_delay);
            story.told.extend(told.into_iter().map(|one| (one.recipient, one)));
            return Ok(());
        }
        let Some(message) = readable(self.archive.message(event.message), event.message)? else {
            return Ok(());
        };
        let Some(message) = message else { return Ok(()) };
        let told = told(event, &message, self.failure_reports, is_first_delay);
        if !told.is_empty() {
            let told = told.into_iter().map(|one| (one.recipient, one)).collect();
            stories.insert(event.message, Story { message, first: event.sequence, told });
        }
        Ok(())
    }

    /// Whether this is the first deferral after `late`. What can not be read is not told.
    fn is_first_delay(&self, event: &Event, late: Timestamp) -> bool {
        let mut after = None;
        loop {
            let Ok(page) = self.archive.events(event.message, after, PAGE) else { return false };
            let first = page.items.iter().find(|one| {
                let is_one = one.kind == EventKind::Deferred && one.recipient == event.recipient;
                is_one && one.at >= late
            });
            if let Some(first) = first {
                return first.sequence == event.sequence;
            }
            after = page.next;
            if after.is_none() {
                return false;
            }
        }
    }

    /// The report, as it is to be archived.
    fn notice(&self, story: Story) -> Result<Option<Acceptance>, ArchiveError> {
        let Story { message, first, told } = story;
        let Some(envelope) = tellable(&message) else { return Ok(None) };
        let original = readable(self.archive.raw(message.id), message.id)?.flatten();
        let original = original.unwrap_or_default();
        let at = (self.clock)();
        let recipients: Vec<DsnRecipient<'_>> = told
            .values()
            .filter_map(|one| {
                let wanted = envelope.recipients.get(usize::from(one.recipient))?;
                let stands = message.recipients.get(usize::from(one.recipient))?;
                let is_delayed = one.action == Action::Delayed;
                Some(DsnRecipient {
                    path: &wanted.path,
                    original: wanted.original.as_ref(),
                    action: one.action,
                    status: one.status,
                    reply: one.reply.as_ref(),
                    words: one.words,
                    remote_mta: None,
                    last_attempt_at: one.tried_at,
                    will_retry_until: is_delayed.then(|| stands.first_due_at.plus(self.expire)),
                })
            })
            .collect();
        // Made of what nobody outside knows, so that nobody can name it before it is there.
        let parts: [&[u8]; 3] = [b"delivery report", &message.leaf.0, &first.0.to_be_bytes()];
        let Digest(name) = Digest::of_parts(parts);
        let name: String = name[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let written = write_dsn(&Dsn {
            reporting_mta: &self.hostname,
            author: &self.author,
            reverse_path: &envelope.reverse_path,
            message_id: &format!("{name}@{}", self.hostname),
            written_at: at,
            arrived_at: message.accepted_at,
            envelope_id: envelope.envid.as_deref(),
            ret: envelope.ret,
            original: &original,
            recipients: &recipients,
        });
        let to = match &envelope.reverse_path {
            crate::model::ReversePath::Mailbox(to) => to.clone(),
            crate::model::ReversePath::Null => return Ok(None),
        };
        let Some(raw) = written else { return Ok(None) };
        let notice =
            Notice { to, raw: raw.into(), client: self.client(), tag: TAG, is_foreign: false, at };
        Ok(readable(self.intake.notice(notice, &message), message.id)?.flatten())
    }

    /// It comes from ourselves.
    fn client(&self) -> Client {
        Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: self.hostname.clone(),
            protocol: "local".to_owned(),
            tls: None,
            authenticated: None,
            gateway: self.hostname.clone(),
        }
    }
}

/// A damaged record keeps nobody else from being told; `None` stands for one.
fn readable<T>(found: Result<T, ArchiveError>, id: MessageId) -> Result<Option<T>, ArchiveError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error @ ArchiveError::Closed(_)) => Err(error),
        Err(error) => {
            tracing::error!(%id, %error, "a message can not be read; its sender is not told");
            Ok(None)
        }
    }
}
