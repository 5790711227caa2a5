//! What came back by mail about a message: bounces, delays, deliveries, read receipts, complaints; and
//! finding the message that is meant by its sequence number or its Message-ID.
//!
//! What a report makes of a recipient is decided by `lifecycle`, in the transaction that records it, and
//! the entry of the suppression list that follows from it is written in the same one. The event bears the
//! digest of the report, so that the same report twice changes nothing. What one mail says of a thousand
//! recipients costs a few transactions, and each of them reads the message once.

use std::collections::{BTreeMap, HashMap};

use redb::{ReadableDatabase, ReadableTable};

use super::audit::Verdict;
use super::hits;
use super::index::Term;
use super::message::Message;
use super::read::Reader;
use super::standing::Standing;
use super::stored::{Record, StoredEvent, StoredMessage};
use super::suppressions::{self, Suppression};
use super::tables;
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, Reported};
pub use crate::lifecycle::MailReportKind;
use crate::lifecycle::{Input, MailNews};
use crate::model::{
    Digest, EnhancedCode, EventKind, MessageId, RecipientState, Reply, Sequence, Timestamp,
    UpstreamName,
};

/// Reports in one transaction; who else waits for it hardly waits longer.
const MAX_AT_ONCE: usize = 100;
/// Events of a message, the last ones, among which the same report is looked for. What a bounce or a
/// delivery changes is known without them.
const EVENTS_LOOKED_AT: usize = 1_000;
/// Events of one kind that reports add to one recipient; whoever sends more wants to do harm.
const MAX_EVENTS_OF_A_KIND: usize = 50;
/// What the index does not know yet is scanned; more than this is never behind for long.
const MAX_SCANNED: usize = 20_000;
/// Longest words about a report, in characters.
const MAX_DETAIL_CHARS: usize = 1_000;

/// What a report says of one recipient of one message of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailReport {
    pub message: MessageId,
    pub recipient: u16,
    pub kind: MailReportKind,
    pub status: Option<EnhancedCode>,
    /// What the other side said.
    pub diagnostic: String,
    /// In words, for the history: where the report is.
    pub detail: String,
    /// When it came.
    pub at: Timestamp,
    /// SHA-256 of the report's bytes: what is the same report.
    pub key: Digest,
    /// A return path that was made for this recipient, or its provider, says so.
    pub is_proven: bool,
}

/// A report with what follows from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub report: MailReport,
    /// Who is not to be written to any more.
    pub suppression: Option<Suppression>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    pub reported: Reported,
    /// The entry holds from now on, and did not before.
    pub is_suppressed: bool,
}

impl Archive {
    /// Records a report: a bounce ends what was sent, a delivery is noted beside it, everything else
    /// is told in the history. The same report twice changes nothing.
    pub async fn record_mail_report(&self, report: MailReport) -> Result<Reported, ArchiveError> {
        let recorded = self.record_mail_reports(vec![Told { report, suppression: None }]).await?;
        Ok(recorded.first().map_or(Reported::Unknown, |recorded| recorded.reported))
    }

    /// Records what one mail says of several recipients, a hundred in one transaction; gives what became of
    /// each, in order. What is too early suppresses nobody either.
    pub async fn record_mail_reports(
        &self,
        mut told: Vec<Told>,
    ) -> Result<Vec<Recorded>, ArchiveError> {
        let mut recorded = Vec::with_capacity(told.len());
        while !told.is_empty() {
            let rest = told.split_off(told.len().min(MAX_AT_ONCE));
            let some = std::mem::replace(&mut told, rest);
            let change = move |batch: &mut Batch<'_>| record_all(batch, &some);
            recorded.extend(self.write(Urgency::Now, change).await?);
        }
        Ok(recorded)
    }

    /// The message with this number. Ids and numbers both grow, so a bisection by id finds it.
    pub fn message_by_sequence(
        &self,
        sequence: Sequence,
    ) -> Result<Option<MessageId>, ArchiveError> {
        let look = || -> Result<Option<MessageId>, Failure> {
            let table = self.inner.database.begin_read()?.open_table(tables::MESSAGES)?;
            let (mut from, mut to) = (0, u128::MAX);
            while from <= to {
                let middle = from + (to - from) / 2;
                // The first one in the upper half that can be read.
                let mut found = None;
                for entry in table.range(middle..=to)? {
                    let (id, bytes) = entry?;
                    if let Ok(stored) = StoredMessage::decode(bytes.value()) {
                        found = Some((id.value(), stored.sequence));
                        break;
                    }
                }
                match found {
                    Some((id, number)) if number == sequence.0 => {
                        return Ok(Some(MessageId::from_u128(id)));
                    }
                    Some((id, number)) if number < sequence.0 => match id.checked_add(1) {
                        Some(next) => from = next,
                        None => return Ok(None),
                    },
                    // It is too high, or there is none: what is wanted lies below the middle.
                    Some(_) | None => match middle.checked_sub(1) {
                        Some(next) => to = next,
                        None => return Ok(None),
                    },
                }
            }
            Ok(None)
        };
        Ok(look()?)
    }

    /// Messages with this Message-ID (without brackets), newest first.
    pub fn with_message_id(
        &self,
        message_id: &str,
        limit: usize,
    ) -> Result<Vec<Message>, ArchiveError> {
        let snapshot = self.snapshot()?;
        let look = || -> Result<Vec<Message>, Failure> {
            let reader = Reader::new(&snapshot)?;
            let watermark = self.inner.index.watermark()?.as_u128();
            let behind = reader.messages().range(watermark.saturating_add(1)..)?.rev();
            let behind = behind.take(MAX_SCANNED).map(|entry| Ok(entry.map(|(id, _)| id.value())?));
            let term = Term::MessageId(message_id).hash();
            let known = self.inner.index.candidates(term, (0, watermark), true)?;
            let mut found = Vec::new();
            for id in behind.chain(known.take(MAX_SCANNED)) {
                if found.len() == limit {
                    break;
                }
                let Some(message) = reader.readable(MessageId::from_u128(id?))? else { continue };
                if message.summary.message_id.as_deref() == Some(message_id) {
                    found.push(message);
                }
            }
            Ok(found)
        };
        Ok(look()?)
    }
}

/// A message of which something is told.
struct Page {
    before: Standing,
    standing: Standing,
    history: History,
    is_changed: bool,
}

fn record_all(batch: &mut Batch<'_>, told: &[Told]) -> Result<Vec<Recorded>, Failure> {
    // All of them are read before anything is written: a damaged one leaves all of this out.
    let mut pages: BTreeMap<MessageId, Page> = BTreeMap::new();
    for id in told.iter().map(|one| one.report.message) {
        if pages.contains_key(&id) {
            continue;
        }
        if let Some(before) = Standing::load(batch, id)? {
            let (standing, history) = (before.clone(), History::load(batch, id)?);
            pages.insert(id, Page { before, standing, history, is_changed: false });
        }
    }
    let mut recorded = Vec::with_capacity(told.len());
    for Told { report, suppression } in told {
        let reported = match pages.get_mut(&report.message) {
            Some(page) => record(batch, page, report)?,
            None => Reported::Unknown,
        };
        let entry = match reported {
            // Also when it is known: what it says is as true as it was, and the entry may be over.
            Reported::Changed(_) | Reported::Unchanged(_) => suppression.clone(),
            Reported::TooEarly | Reported::Unknown => None,
        };
        let is_suppressed = match entry {
            Some(entry) => suppress(batch, report.message, entry)?,
            None => false,
        };
        recorded.push(Recorded { reported, is_suppressed });
    }
    for page in pages.values().filter(|page| page.is_changed) {
        page.standing.save(batch, Some(&page.before))?;
    }
    Ok(recorded)
}

/// A damaged entry stays as it is, because nobody knows what it forbade; the report is true all the same.
fn suppress(batch: &Batch<'_>, id: MessageId, entry: Suppression) -> Result<bool, Failure> {
    match suppressions::put(batch, entry) {
        Ok(suppressed) => Ok(suppressed.is_change()),
        Err(Failure::Corrupt(corrupt)) => {
            tracing::error!(%id, error = %corrupt, "an address can not be suppressed");
            Ok(false)
        }
        Err(failure @ Failure::Storage(_)) => Err(failure),
    }
}

fn record(
    batch: &mut Batch<'_>,
    page: &mut Page,
    report: &MailReport,
) -> Result<Reported, Failure> {
    let id = report.message;
    let Some(entry) = page.standing.entries.get(usize::from(report.recipient)) else {
        return Ok(Reported::Unknown);
    };
    if matches!(entry.progress.state, RecipientState::Claimed { .. }) {
        return Ok(Reported::TooEarly);
    }
    if page.history.has(report) {
        return Ok(Reported::Unchanged(id));
    }
    let upstream = entry.last_upstream.as_deref().and_then(UpstreamName::parse);
    let reply = reply(report);
    let detail: String = report.detail.chars().take(MAX_DETAIL_CHARS).collect();
    let input = Input::MailReport(MailNews {
        kind: report.kind,
        reply: &reply,
        detail: &detail,
        upstream: upstream.as_ref(),
        digest: report.key,
        is_proven: report.is_proven,
    });
    if page.standing.step(batch, report.recipient, report.at, &input, None)?.is_err() {
        return Ok(Reported::Unchanged(id));
    }
    page.is_changed = true;
    page.history.add(report.kind.event(), report.recipient, report.key);
    if report.kind == MailReportKind::Displayed {
        match hits::note_read(batch, id, report.recipient, report.at) {
            Ok(()) => {}
            Err(Failure::Corrupt(corrupt)) => {
                tracing::error!(%id, error = %corrupt, "a read receipt is only told in the history");
            }
            Err(failure @ Failure::Storage(_)) => return Err(failure),
        }
    }
    Ok(Reported::Changed(id))
}

/// Which reports the last events of a message tell of, by kind and recipient.
#[derive(Default)]
struct History(HashMap<(EventKind, u16), Vec<Digest>>);

impl History {
    fn load(batch: &Batch<'_>, id: MessageId) -> Result<History, Failure> {
        let (id, mut history) = (id.as_u128(), History::default());
        for entry in batch.events_of.range((id, 0)..=(id, u64::MAX))?.rev().take(EVENTS_LOOKED_AT) {
            let (_, number) = entry?.0.value();
            let Some(bytes) = batch.events.get(number)? else { continue };
            // A damaged event is no reason to lose a bounce.
            let Ok(stored) = StoredEvent::decode(bytes.value()) else { continue };
            let Ok(event) = stored.event(Sequence(number)) else { continue };
            if let (Some(recipient), Some(digest)) = (event.recipient, event.digest) {
                history.add(event.kind, recipient, digest);
            }
        }
        Ok(history)
    }

    fn add(&mut self, kind: EventKind, recipient: u16, digest: Digest) {
        self.0.entry((kind, recipient)).or_default().push(digest);
    }

    /// Whether it has this one already, or enough of its kind.
    fn has(&self, report: &MailReport) -> bool {
        let of_its_kind = self.0.get(&(report.kind.event(), report.recipient));
        of_its_kind
            .is_some_and(|all| all.len() >= MAX_EVENTS_OF_A_KIND || all.contains(&report.key))
    }
}

/// The diagnostic as the reply that it quotes: `550 5.1.1 no such user`.
fn reply(report: &MailReport) -> Reply {
    let text = report.diagnostic.replace(['\r', '\n'], " ");
    let text = text.trim();
    let class = match report.kind {
        MailReportKind::Failed { is_hard: true } => 550,
        MailReportKind::Failed { is_hard: false } | MailReportKind::Delayed => 450,
        MailReportKind::Delivered | MailReportKind::Displayed | MailReportKind::Complained => 250,
    };
    let (code, rest) = match text.split_at_checked(3) {
        Some((digits, rest)) if is_code(digits) && rest.starts_with([' ', '-']) => {
            (digits.parse().unwrap_or(class), rest[1..].trim_start())
        }
        Some(_) | None => (class, text),
    };
    let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
    match EnhancedCode::parse(word) {
        Some(enhanced) => Reply::new(code, report.status.or(Some(enhanced)), behind.trim_start()),
        None => Reply::new(code, report.status, rest),
    }
}

fn is_code(digits: &str) -> bool {
    matches!(digits.as_bytes(), [b'2' | b'4' | b'5', b'0'..=b'9', b'0'..=b'9'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_is_told_as_the_reply_that_it_quotes() {
        let check = |is_hard: bool, status: &str, diagnostic: &str, expected: &str| {
            let report = MailReport {
                message: MessageId::MIN,
                recipient: 0,
                kind: MailReportKind::Failed { is_hard },
                status: EnhancedCode::parse(status),
                diagnostic: diagnostic.into(),
                detail: String::new(),
                at: Timestamp::from_millis(0),
                key: Digest::of(b""),
                is_proven: true,
            };
            assert_eq!(reply(&report).to_string(), expected);
        };
        check(true, "", "", "550");
        check(false, "", "é", "450 é");
        check(true, "", "9550 no", "550 9550 no");
        check(true, "", "650 no", "550 650 no");
        check(true, "5.1.1", "no such\r\nuser", "550 5.1.1 no such  user");
        check(true, "5.1.1", "553-5.1.1 no such user", "553 5.1.1 no such user");
        check(false, "5.0.0", "552 5.2.2 full", "552 5.0.0 full");
        check(false, "", "552 5.2.2", "552 5.2.2");
    }
}
