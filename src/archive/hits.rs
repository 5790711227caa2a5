//! Hits on tracked links and pixels: raw facts for each recipient, their verdicts, and what they come to.
//!
//! Two records for each recipient that was hit: the facts, of which a bounded number is kept, and their
//! sum, which is read with the message. What comes beyond the bound is judged, counted and forgotten, so
//! that a flood on one link grows nothing. Each hit that is kept is an event of its message, and so are the
//! first that people make beyond the bound: machines must not take the place of who comes after them. The
//! verdicts are made of the facts again when the rules of judging have changed; who turns out to be a person
//! then is told as one. Of an erased message only the
//! numbers stay and grow. What providers tell of comes again, so the keys of what was told are kept for
//! some weeks, and so are the tokens that proved it.
//! How a hit is judged is `lifecycle`'s; what is asked over HTTP and what is answered, `feedback`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use super::standing::{Standing, event_of};
use super::stored::{Record, StoredEvent, StoredHit, StoredHits, StoredTrace};
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, tables};
use crate::lifecycle::{JUDGEMENT_VERSION, Note, Progress, Verdict, engagement, judge_hits};
use crate::model::hit::{BEFORE_DELIVERY, FIRST_FOREIGN_LINK, HONEYPOT_LINK};
use crate::model::{
    Digest, Engagement, EventKind, Hit, HitKind, HitMethod, MessageId, RecipientState, Sequence,
    Timestamp,
};

/// Message and recipient to `StoredHits`.
pub(super) const HITS: TableDefinition<(u128, u16), &[u8]> = TableDefinition::new("hits");
/// Message and recipient to `StoredTrace`.
pub(super) const TRACES: TableDefinition<(u128, u16), &[u8]> = TableDefinition::new("traces");
/// Sequence number of a tracked mail to its id; only acceptances of tracked mail write it.
pub(super) const TRACKED: TableDefinition<u64, u128> = TableDefinition::new("tracked");
/// Number to a message of which other hits count than before, although no event says so. Only ever added
/// to; the numbers of statistics follow it.
pub(super) const RECOUNTED: TableDefinition<u64, u128> = TableDefinition::new("recounted");
/// The key of what a provider told to when (ms).
pub(super) const TOLD: TableDefinition<[u8; 16], u64> = TableDefinition::new("told");
/// When (ms) which key was told.
pub(super) const TOLD_AT: TableDefinition<(u64, [u8; 16]), ()> = TableDefinition::new("told_at");
/// In `META`: by which rules all hits are judged.
const JUDGED_BY: &str = "hits_judged_by";

/// Hits that are kept of one recipient: all of them, opens, and of one link.
const MAX_KEPT: usize = 64;
const MAX_KEPT_OPENS: usize = 24;
const MAX_KEPT_OF_LINK: usize = 6;
/// Hits of people beyond those that are kept that are told all the same.
const MAX_TOLD_BEYOND: u64 = 8;
/// Longest text of a client that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 300;
/// How long a provider may tell the same again; none tries for more than some days.
const TOLD_FOR: Duration = Duration::from_secs(30 * 86_400);
/// Keys that are forgotten with each new one, so that they never gather.
const FORGOTTEN_AT_ONCE: usize = 4;
/// Recipients whose hits are judged anew in one transaction.
const REJUDGED_AT_ONCE: usize = 200;

/// By what a hit names its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HitOf {
    /// A token of ours does.
    Number(Sequence),
    Id(MessageId),
}

/// A hit, from a proven token or provider. Its delay is found here.
#[derive(Clone, Debug)]
pub struct NewHit {
    pub of: HitOf,
    pub recipient: u16,
    pub hit: Hit,
}

/// A hit of which a provider told, perhaps again.
#[derive(Clone, Debug)]
pub struct ToldHit {
    /// What the provider tells this event from others by, hashed with the provider's name.
    pub key: [u8; 16],
    pub hit: NewHit,
}

/// What a batch of hits came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitCounts {
    pub opens: u64,
    pub automated_opens: u64,
    pub clicks: u64,
    pub automated_clicks: u64,
    /// Of no message or recipient that is here.
    pub unknown: u64,
}

/// A hit that is kept, with its verdict in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptHit {
    pub recipient: u16,
    pub hit: Hit,
    pub visitor: String,
    pub reasons: Vec<String>,
}

impl Archive {
    /// How many calls brought messages since the start; whoever records hits gives way to them.
    pub fn calls(&self) -> u64 {
        self.inner.calls.load(Ordering::Relaxed)
    }

    /// Records hits, all in one transaction; the steps of the queue may ride with it, and it waits for
    /// company as they do.
    pub async fn record_hits(&self, hits: Vec<NewHit>) -> Result<HitCounts, ArchiveError> {
        self.write(Urgency::Soon, move |batch| record(batch, &hits)).await
    }

    /// Records hits that a provider told of just now; those that were told before change nothing.
    pub async fn record_told_hits(
        &self,
        told: Vec<ToldHit>,
        now: Timestamp,
    ) -> Result<HitCounts, ArchiveError> {
        let change = move |batch: &mut Batch<'_>| {
            let mut hits = Vec::new();
            for one in &told {
                if is_news(batch, one.key, now)? {
                    hits.push(one.hit.clone());
                }
            }
            record(batch, &hits)
        };
        self.write(Urgency::Now, change).await
    }

    /// Whether a token that proves a provider's call proves this one: it is new, or the same call comes
    /// again. A restart does not make it new, and it is kept for longer than it is good.
    pub async fn take_token(
        &self,
        token: Digest,
        call: Digest,
        now: Timestamp,
    ) -> Result<bool, ArchiveError> {
        let key = |parts: &[&[u8]]| {
            let Digest(digest) = Digest::of(&parts.concat());
            let mut key = [0; 16];
            key.copy_from_slice(&digest[..16]);
            key
        };
        let of_token = key(&[b"token", &token.0]);
        let of_both = key(&[b"call", &token.0, &call.0]);
        let change = move |batch: &mut Batch<'_>| {
            if batch.transaction.open_table(TOLD)?.get(of_both)?.is_some() {
                return Ok(true);
            }
            Ok(is_news(batch, of_token, now)? && is_news(batch, of_both, now)?)
        };
        self.write(Urgency::Now, change).await
    }

    /// The hits that are kept of a message, by recipient and in the order in which they came.
    pub fn hits(&self, id: MessageId) -> Result<Vec<KeptHit>, ArchiveError> {
        let look = || -> Result<Vec<KeptHit>, Failure> {
            let table = self.inner.database.begin_read()?.open_table(HITS)?;
            let mut kept = Vec::new();
            for row in table.range((id.as_u128(), 0)..=(id.as_u128(), u16::MAX))? {
                let (key, bytes) = row?;
                let recipient = key.value().1;
                for stored in StoredHits::decode(bytes.value())?.hits {
                    let (hit, visitor) = (stored.hit(), stored.visitor);
                    kept.push(KeptHit { recipient, hit, visitor, reasons: stored.reasons });
                }
            }
            Ok(kept)
        };
        Ok(look()?)
    }

    /// Judges all hits again that older rules judged; gives of how many recipients. Called at the
    /// start, and does nothing when the rules are the same.
    pub async fn rejudge_hits(&self) -> Result<u64, ArchiveError> {
        let mut after = Some((0, 0));
        let mut rejudged = 0;
        while let Some(from) = after {
            let change = move |batch: &mut Batch<'_>| rejudge_some(batch, from);
            let (count, next) = self.write(Urgency::Soon, change).await?;
            rejudged += count;
            after = next;
        }
        Ok(rejudged)
    }
}

/// Notes that a read receipt came. The event of the receipt tells it.
pub(super) fn note_read(
    batch: &Batch<'_>,
    id: MessageId,
    recipient: u16,
    at: Timestamp,
) -> Result<(), Failure> {
    let key = (id.as_u128(), recipient);
    let mut traces = batch.transaction.open_table(TRACES)?;
    let was = traces.get(key)?.map(|bytes| StoredTrace::decode(bytes.value())).transpose()?;
    traces.insert(key, &was.unwrap_or_default().read(at).encode()[..])?;
    Ok(())
}

/// Notes the number by which the tokens of a tracked mail will name it.
pub(super) fn track(batch: &Batch<'_>, sequence: Sequence, id: MessageId) -> Result<(), Failure> {
    batch.transaction.open_table(TRACKED)?.insert(sequence.0, id.as_u128())?;
    Ok(())
}

/// What is known of the recipients of a message, in a snapshot.
pub(super) struct Traces(ReadOnlyTable<(u128, u16), &'static [u8]>);

impl Traces {
    pub(super) fn new(snapshot: &ReadTransaction) -> Result<Traces, Failure> {
        Ok(Traces(snapshot.open_table(TRACES)?))
    }

    pub(super) fn of(&self, id: MessageId) -> Result<Vec<(u16, Engagement)>, Failure> {
        let rows = self.0.range((id.as_u128(), 0)..=(id.as_u128(), u16::MAX))?;
        let read = rows.map(|row| {
            let (key, bytes) = row?;
            Ok((key.value().1, StoredTrace::decode(bytes.value())?.engagement()))
        });
        read.collect()
    }

    /// Every message with what its recipients did: opened, clicked.
    pub(super) fn marks(&self) -> Result<BTreeMap<u128, (bool, bool)>, Failure> {
        let mut marks = BTreeMap::new();
        for row in self.0.iter()? {
            let (key, bytes) = row?;
            // A damaged one marks nothing.
            let Ok(trace) = StoredTrace::decode(bytes.value()) else { continue };
            let mark: &mut (bool, bool) = marks.entry(key.value().0).or_default();
            let sum = trace.engagement();
            mark.0 |= sum.is_opened();
            mark.1 |= sum.is_clicked();
        }
        Ok(marks)
    }
}

fn record(batch: &mut Batch<'_>, hits: &[NewHit]) -> Result<HitCounts, Failure> {
    let mut counts = HitCounts::default();
    let mut by_recipient: BTreeMap<(HitOf, u16), Vec<&Hit>> = BTreeMap::new();
    for new in hits {
        by_recipient.entry((new.of, new.recipient)).or_default().push(&new.hit);
    }
    // All recipients of a message come one after another, and none of their hits moves any of them.
    let mut last: Option<(HitOf, Option<Standing>)> = None;
    for ((of, recipient), hits) in by_recipient {
        let known = match last.take().filter(|(known, _)| *known == of) {
            Some((_, standing)) => Ok(standing),
            None => standing_of(batch, of),
        };
        let recorded = known.and_then(|standing| {
            let (_, standing) = last.insert((of, standing));
            let Some(standing) = standing else { return Ok(false) };
            record_of(batch, standing, recipient, &hits, &mut counts)
        });
        match recorded {
            Ok(true) => {}
            Ok(false) => counts.unknown += hits.len() as u64,
            // A damaged record must not take the hits of others with it.
            Err(Failure::Corrupt(error)) => {
                tracing::error!(%error, "hits can not be recorded");
                counts.unknown += hits.len() as u64;
            }
            Err(failure @ Failure::Storage(_)) => return Err(failure),
        }
    }
    Ok(counts)
}

fn standing_of(batch: &Batch<'_>, of: HitOf) -> Result<Option<Standing>, Failure> {
    let id = match of {
        HitOf::Id(id) => Some(id),
        HitOf::Number(sequence) => tracked(batch, sequence)?,
    };
    id.map_or(Ok(None), |id| Standing::load(batch, id))
}

fn tracked(batch: &Batch<'_>, sequence: Sequence) -> Result<Option<MessageId>, Failure> {
    let table = batch.transaction.open_table(TRACKED)?;
    Ok(table.get(sequence.0)?.map(|id| MessageId::from_u128(id.value())))
}

/// Whether a provider tells this for the first time. Notes it, and forgets what is older.
fn is_news(batch: &Batch<'_>, key: [u8; 16], at: Timestamp) -> Result<bool, Failure> {
    let mut told = batch.transaction.open_table(TOLD)?;
    if told.get(key)?.is_some() {
        return Ok(false);
    }
    let mut order = batch.transaction.open_table(TOLD_AT)?;
    let at = at.as_millis().unsigned_abs();
    told.insert(key, at)?;
    order.insert((at, key), ())?;
    let until = at.saturating_sub(TOLD_FOR.as_millis() as u64);
    let old = order.range(..(until, [0; 16]))?.take(FORGOTTEN_AT_ONCE);
    let old = old.map(|row| row.map(|(key, _)| key.value())).collect::<Result<Vec<_>, _>>()?;
    for (at, key) in old {
        order.remove((at, key))?;
        told.remove(key)?;
    }
    Ok(true)
}

/// The hits of one recipient; false when there is no such recipient.
fn record_of(
    batch: &mut Batch<'_>,
    standing: &Standing,
    recipient: u16,
    hits: &[&Hit],
    counts: &mut HitCounts,
) -> Result<bool, Failure> {
    let id = standing.id;
    let Some(entry) = standing.entries.get(usize::from(recipient)) else { return Ok(false) };
    let key = (id.as_u128(), recipient);
    let Known { hits: mut kept, were_automated, trace: before } = load(batch, key)?;
    let known = kept.len();
    let mut further = Vec::new();
    for hit in hits {
        let hit = bounded(hit, delay_ms(&entry.progress, hit.at));
        match !before.is_erased && has_room(&kept, hit.kind) {
            true => kept.push(hit),
            false => further.push(hit),
        }
    }
    let verdicts = judge_hits(&kept);
    let mut is_told = tell_found(batch, key, &kept, &verdicts, &were_automated)?;
    for (hit, verdict) in kept.iter().zip(&verdicts).skip(known) {
        count(counts, hit, verdict);
        is_told |= tell(batch, key, hit, verdict, "")?;
    }
    let mut trace = before.keeping(&engagement(&kept, &verdicts));
    if !further.is_empty() {
        let of_all = judge_hits(&[&kept[..], &further].concat());
        let of_further = of_all.get(kept.len()..).unwrap_or_default();
        trace = trace.and_beyond(&engagement(&further, of_further));
        let mut left = MAX_TOLD_BEYOND.saturating_sub(before.people_beyond());
        for (hit, verdict) in further.iter().zip(of_further) {
            count(counts, hit, verdict);
            if left > 0 && !before.is_erased && !verdict.visitor.is_automated() {
                is_told |= tell(batch, key, hit, verdict, "")?;
                left -= 1;
            }
        }
    }
    if kept.len() > known {
        save_hits(batch, key, &kept, &verdicts)?;
    }
    save_trace(batch, key, &before, &trace, is_told)?;
    Ok(true)
}

/// Since the upstream took it. After an attempt whose end nobody saw, and after it came back, that time
/// is not recorded where it stands now.
fn delay_ms(progress: &Progress, hit_at: Timestamp) -> Option<i64> {
    match &progress.state {
        RecipientState::Sent { at, .. } => Some(hit_at.as_millis().saturating_sub(at.as_millis())),
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => (progress.attempts == 0).then_some(BEFORE_DELIVERY),
    }
}

fn bounded(hit: &Hit, delay_ms: Option<i64>) -> Hit {
    let cut = |text: &str| {
        let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
    };
    Hit {
        user_agent: cut(&hit.user_agent),
        purpose: hit.purpose.as_deref().map(cut),
        delay_ms,
        ..hit.clone()
    }
}

fn has_room(kept: &[Hit], kind: HitKind) -> bool {
    let same = kept.iter().filter(|hit| hit.kind == kind).count();
    let most = match kind {
        HitKind::Open => MAX_KEPT_OPENS,
        HitKind::Click { .. } => MAX_KEPT_OF_LINK,
    };
    kept.len() < MAX_KEPT && same < most
}

/// What is known of one recipient.
struct Known {
    hits: Vec<Hit>,
    /// As each of them was judged last.
    were_automated: Vec<bool>,
    trace: StoredTrace,
}

fn load(batch: &Batch<'_>, key: (u128, u16)) -> Result<Known, Failure> {
    let (hits, traces) =
        (batch.transaction.open_table(HITS)?, batch.transaction.open_table(TRACES)?);
    let kept = hits.get(key)?.map(|bytes| StoredHits::decode(bytes.value())).transpose()?;
    let trace = traces.get(key)?.map(|bytes| StoredTrace::decode(bytes.value())).transpose()?;
    let kept = kept.unwrap_or_default().hits;
    Ok(Known {
        hits: kept.iter().map(StoredHit::hit).collect(),
        were_automated: kept.iter().map(StoredHit::was_automated).collect(),
        trace: trace.unwrap_or_default(),
    })
}

fn save_hits(
    batch: &Batch<'_>,
    key: (u128, u16),
    kept: &[Hit],
    verdicts: &[Verdict],
) -> Result<(), Failure> {
    let hits = kept.iter().zip(verdicts).map(|(hit, verdict)| StoredHit::new(hit, verdict));
    let stored = StoredHits { hits: hits.collect() };
    batch.transaction.open_table(HITS)?.insert(key, &stored.encode()[..])?;
    Ok(())
}

/// What the hits come to now. The ledger follows the events; a change that has none is told it apart.
fn save_trace(
    batch: &Batch<'_>,
    key: (u128, u16),
    before: &StoredTrace,
    trace: &StoredTrace,
    is_told: bool,
) -> Result<(), Failure> {
    batch.transaction.open_table(TRACES)?.insert(key, &trace.encode()[..])?;
    if !is_told && marks(&before.engagement()) != marks(&trace.engagement()) {
        let mut table = batch.transaction.open_table(RECOUNTED)?;
        let next = table.last()?.map_or(1, |(number, _)| number.value().saturating_add(1));
        table.insert(next, key.0)?;
    }
    Ok(())
}

/// What statistics count of a recipient.
fn marks(sum: &Engagement) -> [bool; 4] {
    [sum.opens, sum.clicks, sum.automated_opens, sum.automated_clicks].map(|count| count > 0)
}

/// Takes the facts of a message that is erased away, and has none kept later. The numbers stay.
pub(super) fn forget(batch: &Batch<'_>, id: MessageId, number: u64) -> Result<(), Failure> {
    let count = Standing::load(batch, id)?.map_or(0, |standing| standing.entries.len());
    let id = id.as_u128();
    let rows = (id, 0)..=(id, u16::MAX);
    let (mut hits, mut traces) =
        (batch.transaction.open_table(HITS)?, batch.transaction.open_table(TRACES)?);
    hits.retain_in(rows.clone(), |_, _| false)?;
    let of_rows = traces.range(rows)?.map(|row| row.map(|(key, _)| key.value().1));
    let mut recipients = of_rows.collect::<Result<BTreeSet<u16>, _>>()?;
    if batch.transaction.open_table(TRACKED)?.get(number)?.is_some() {
        recipients.extend((0..count).map_while(|index| u16::try_from(index).ok()));
    }
    for recipient in recipients {
        let key = (id, recipient);
        let was = traces.get(key)?.map(|bytes| StoredTrace::decode(bytes.value())).transpose();
        // What can not be read is erased all the same.
        let erased = was.ok().flatten().unwrap_or_default().erased();
        traces.insert(key, &erased.encode()[..])?;
    }
    Ok(())
}

fn count(counts: &mut HitCounts, hit: &Hit, verdict: &Verdict) {
    if hit.method == HitMethod::Head {
        return;
    }
    *match (hit.kind, verdict.visitor.is_automated()) {
        (HitKind::Open, false) => &mut counts.opens,
        (HitKind::Open, true) => &mut counts.automated_opens,
        (HitKind::Click { .. }, false) => &mut counts.clicks,
        (HitKind::Click { .. }, true) => &mut counts.automated_clicks,
    } += 1;
}

/// Tells the hits that were taken for a machine's and are a person's: whoever waits for people has not heard
/// of them yet. The other way round the numbers alone change. False when there was none.
fn tell_found(
    batch: &mut Batch<'_>,
    key: (u128, u16),
    hits: &[Hit],
    verdicts: &[Verdict],
    were_automated: &[bool],
) -> Result<bool, Failure> {
    let mut is_told = false;
    for ((hit, verdict), was_automated) in hits.iter().zip(verdicts).zip(were_automated) {
        if *was_automated && !verdict.visitor.is_automated() {
            is_told |= tell(batch, key, hit, verdict, "judged again: ")?;
        }
    }
    Ok(is_told)
}

/// The event of a hit: `link 3: scanner (several links at once)`. Who only asked for the header did
/// neither open nor click; false then.
fn tell(
    batch: &mut Batch<'_>,
    (id, recipient): (u128, u16),
    hit: &Hit,
    verdict: &Verdict,
    before: &str,
) -> Result<bool, Failure> {
    if hit.method == HitMethod::Head {
        return Ok(false);
    }
    let reasons: Vec<&str> = verdict.reasons.iter().map(|reason| reason.as_str()).collect();
    let who = format!("{} ({})", verdict.visitor.as_str(), reasons.join("; "));
    let (kind, detail) = match hit.kind {
        HitKind::Open => (EventKind::Opened, format!("{before}{who}")),
        HitKind::Click { link } => {
            let is_ours = link < FIRST_FOREIGN_LINK || link == HONEYPOT_LINK;
            let which = if is_ours { format!("link {link}") } else { "a link".to_owned() };
            (EventKind::Clicked, format!("{before}{which}: {who}"))
        }
    };
    let automated = Some(verdict.visitor.is_automated());
    let note = Note { detail: Some(detail), automated, ..Note::of(kind) };
    let id = MessageId::from_u128(id);
    StoredEvent::append(batch, event_of(id, hit.at, Some(recipient), note, None))?;
    Ok(true)
}

/// How many were judged anew, and where to go on.
type Rejudged = (u64, Option<(u128, u16)>);

fn rejudge_some(batch: &mut Batch<'_>, from: (u128, u16)) -> Result<Rejudged, Failure> {
    let mut meta = batch.transaction.open_table(tables::META)?;
    if meta.get(JUDGED_BY)?.is_some_and(|bytes| bytes.value() == [JUDGEMENT_VERSION]) {
        return Ok((0, None));
    }
    let rows = {
        let table = batch.transaction.open_table(TRACES)?;
        let rows = table.range(from..)?.take(REJUDGED_AT_ONCE + 1);
        rows.map(|row| row.map(|(key, _)| key.value())).collect::<Result<Vec<_>, _>>()?
    };
    let mut count = 0;
    for key in rows.iter().take(REJUDGED_AT_ONCE) {
        match load(batch, *key) {
            Ok(Known { hits: kept, were_automated, trace: before }) => {
                let verdicts = judge_hits(&kept);
                let is_told = tell_found(batch, *key, &kept, &verdicts, &were_automated)?;
                let trace = before.keeping(&engagement(&kept, &verdicts));
                if !kept.is_empty() {
                    save_hits(batch, *key, &kept, &verdicts)?;
                }
                save_trace(batch, *key, &before, &trace, is_told)?;
                count += 1;
            }
            Err(Failure::Corrupt(error)) => tracing::error!(%error, "hits can not be judged"),
            Err(failure @ Failure::Storage(_)) => return Err(failure),
        }
    }
    let next = rows.get(REJUDGED_AT_ONCE).copied();
    if next.is_none() {
        meta.insert(JUDGED_BY, &[JUDGEMENT_VERSION][..])?;
    }
    Ok((count, next))
}
