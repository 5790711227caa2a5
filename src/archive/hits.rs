//! Hits on tracked links and pixels: raw facts for each recipient, their verdicts, and what they come to.
//!
//! Two records for each recipient that was hit: the facts, of which a bounded number is kept, and their
//! sum, which is read with the message. What comes beyond the bound is judged, counted and forgotten, so
//! that a flood on one link grows nothing. Each hit that is kept is an event of its message. The verdicts
//! are made of the facts again when the rules of judging have changed.
//! How a hit is judged is `lifecycle`'s; what is asked over HTTP and what is answered, `feedback`'s.

use std::collections::BTreeMap;

use redb::{ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::standing::{Standing, event_of};
use super::stored::{Record, StoredEvent};
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, tables};
use crate::lifecycle::{JUDGEMENT_VERSION, Note, Verdict, engagement, judge_hits};
use crate::model::{
    Engagement, EventKind, Hit, HitKind, HitMethod, MessageId, RecipientState, Sequence, Timestamp,
};

/// Message and recipient to `StoredHits`.
pub(super) const HITS: TableDefinition<(u128, u16), &[u8]> = TableDefinition::new("hits");
/// Message and recipient to `StoredTrace`.
pub(super) const TRACES: TableDefinition<(u128, u16), &[u8]> = TableDefinition::new("traces");
/// Sequence number of a tracked mail to its id; only acceptances of tracked mail write it.
pub(super) const TRACKED: TableDefinition<u64, u128> = TableDefinition::new("tracked");
/// In `META`: by which rules all hits are judged.
const JUDGED_BY: &str = "hits_judged_by";

/// Hits that are kept of one recipient: all of them, opens, and of one link.
const MAX_KEPT: usize = 64;
const MAX_KEPT_OPENS: usize = 24;
const MAX_KEPT_OF_LINK: usize = 6;
/// Longest text of a client that is kept, in bytes.
const MAX_TEXT_BYTES: usize = 300;
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

/// The facts of one recipient.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredHits {
    hits: Vec<StoredHit>,
}

impl Record for StoredHits {
    const KIND: &'static str = "hit";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredHit {
    /// The number of the link; `None` is the pixel.
    link: Option<u16>,
    at: i64,
    client: Option<String>,
    user_agent: String,
    is_head: bool,
    purpose: Option<String>,
    delay_ms: Option<i64>,
    told_automated: Option<bool>,
    visitor: String,
    reasons: Vec<String>,
}

impl StoredHit {
    fn new(hit: &Hit, verdict: &Verdict) -> StoredHit {
        StoredHit {
            link: match hit.kind {
                HitKind::Open => None,
                HitKind::Click { link } => Some(link),
            },
            at: hit.at.as_millis(),
            client: hit.client.map(|client| client.to_string()),
            user_agent: hit.user_agent.clone(),
            is_head: match hit.method {
                HitMethod::Head => true,
                HitMethod::Get => false,
            },
            purpose: hit.purpose.clone(),
            delay_ms: hit.delay_ms,
            told_automated: hit.told_automated,
            visitor: verdict.visitor.as_str().to_owned(),
            reasons: verdict.reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
        }
    }

    fn hit(&self) -> Hit {
        Hit {
            kind: self.link.map_or(HitKind::Open, |link| HitKind::Click { link }),
            at: Timestamp::from_millis(self.at),
            client: self.client.as_deref().and_then(|client| client.parse().ok()),
            user_agent: self.user_agent.clone(),
            method: if self.is_head { HitMethod::Head } else { HitMethod::Get },
            purpose: self.purpose.clone(),
            delay_ms: self.delay_ms,
            told_automated: self.told_automated,
        }
    }
}

/// What the hits of one recipient come to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredTrace {
    judged_by: u8,
    opened_at: Option<i64>,
    clicked_at: Option<i64>,
    device: Option<String>,
    kept: StoredCounts,
    beyond: StoredCounts,
}

impl Record for StoredTrace {
    const KIND: &'static str = "trace";
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct StoredCounts {
    opens: u64,
    automated_opens: u64,
    clicks: u64,
    automated_clicks: u64,
}

impl StoredCounts {
    fn of(sum: &Engagement) -> StoredCounts {
        StoredCounts {
            opens: sum.opens,
            automated_opens: sum.automated_opens,
            clicks: sum.clicks,
            automated_clicks: sum.automated_clicks,
        }
    }
}

impl StoredTrace {
    fn new(sum: &Engagement, beyond: StoredCounts) -> StoredTrace {
        StoredTrace {
            judged_by: JUDGEMENT_VERSION,
            opened_at: sum.opened_at.map(Timestamp::as_millis),
            clicked_at: sum.clicked_at.map(Timestamp::as_millis),
            device: sum.device.clone(),
            kept: StoredCounts::of(sum),
            beyond,
        }
    }

    pub(super) fn engagement(&self) -> Engagement {
        let (kept, beyond) = (self.kept, self.beyond);
        Engagement {
            opened_at: self.opened_at.map(Timestamp::from_millis),
            opens: kept.opens.saturating_add(beyond.opens),
            automated_opens: kept.automated_opens.saturating_add(beyond.automated_opens),
            clicked_at: self.clicked_at.map(Timestamp::from_millis),
            clicks: kept.clicks.saturating_add(beyond.clicks),
            automated_clicks: kept.automated_clicks.saturating_add(beyond.automated_clicks),
            device: self.device.clone(),
        }
    }
}

impl Archive {
    /// Records hits, all in one transaction; the steps of the queue may ride with it, and it waits for
    /// company as they do.
    pub async fn record_hits(&self, hits: Vec<NewHit>) -> Result<HitCounts, ArchiveError> {
        self.write(Urgency::Soon, move |batch| record(batch, &hits)).await
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
            mark.0 |= trace.opened_at.is_some();
            mark.1 |= trace.clicked_at.is_some();
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
    for ((of, recipient), hits) in by_recipient {
        let id = match of {
            HitOf::Id(id) => Some(id),
            HitOf::Number(sequence) => tracked(batch, sequence)?,
        };
        let recorded = match id {
            Some(id) => record_of(batch, id, recipient, &hits, &mut counts),
            None => Ok(false),
        };
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

fn tracked(batch: &Batch<'_>, sequence: Sequence) -> Result<Option<MessageId>, Failure> {
    let table = batch.transaction.open_table(TRACKED)?;
    Ok(table.get(sequence.0)?.map(|id| MessageId::from_u128(id.value())))
}

/// The hits of one recipient; false when there is no such recipient.
fn record_of(
    batch: &mut Batch<'_>,
    id: MessageId,
    recipient: u16,
    hits: &[&Hit],
    counts: &mut HitCounts,
) -> Result<bool, Failure> {
    let Some(standing) = Standing::load(batch, id)? else { return Ok(false) };
    let Some(entry) = standing.entries.get(usize::from(recipient)) else { return Ok(false) };
    let left_at = left_at(&entry.progress.state);
    let key = (id.as_u128(), recipient);
    let (mut kept, beyond) = load(batch, key)?;
    let known = kept.len();
    let mut further = Vec::new();
    for hit in hits {
        let hit = bounded(hit, left_at);
        if has_room(&kept, hit.kind) { kept.push(hit) } else { further.push(hit) }
    }
    let verdicts = judge_hits(&kept);
    for (hit, verdict) in kept.iter().zip(&verdicts).skip(known) {
        count(counts, hit, verdict);
        tell(batch, id, recipient, hit, verdict)?;
    }
    let mut beyond = beyond;
    if !further.is_empty() {
        let all = [&kept[..], &further].concat();
        let of_all = judge_hits(&all);
        let of_further = of_all.get(kept.len()..).unwrap_or_default();
        let sum = engagement(&further, of_further);
        beyond.opens = beyond.opens.saturating_add(sum.opens);
        beyond.automated_opens = beyond.automated_opens.saturating_add(sum.automated_opens);
        beyond.clicks = beyond.clicks.saturating_add(sum.clicks);
        beyond.automated_clicks = beyond.automated_clicks.saturating_add(sum.automated_clicks);
        further.iter().zip(of_further).for_each(|(hit, verdict)| count(counts, hit, verdict));
    }
    save(batch, key, &kept, &verdicts, beyond, kept.len() > known)?;
    Ok(true)
}

/// When the upstream took it.
fn left_at(state: &RecipientState) -> Option<Timestamp> {
    match state {
        RecipientState::Sent { at, .. } | RecipientState::Failed { at, .. } => Some(*at),
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::NotSent { .. } => None,
    }
}

fn bounded(hit: &Hit, left_at: Option<Timestamp>) -> Hit {
    let cut = |text: &str| {
        let end = (0..=MAX_TEXT_BYTES.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
    };
    Hit {
        user_agent: cut(&hit.user_agent),
        purpose: hit.purpose.as_deref().map(cut),
        delay_ms: left_at.map(|at| hit.at.as_millis().saturating_sub(at.as_millis())),
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

fn load(batch: &Batch<'_>, key: (u128, u16)) -> Result<(Vec<Hit>, StoredCounts), Failure> {
    let (hits, traces) =
        (batch.transaction.open_table(HITS)?, batch.transaction.open_table(TRACES)?);
    let kept = hits.get(key)?.map(|bytes| StoredHits::decode(bytes.value())).transpose()?;
    let trace = traces.get(key)?.map(|bytes| StoredTrace::decode(bytes.value())).transpose()?;
    let kept = kept.unwrap_or_default().hits.iter().map(StoredHit::hit).collect();
    Ok((kept, trace.unwrap_or_default().beyond))
}

fn save(
    batch: &Batch<'_>,
    key: (u128, u16),
    kept: &[Hit],
    verdicts: &[Verdict],
    beyond: StoredCounts,
    is_new: bool,
) -> Result<(), Failure> {
    if is_new {
        let hits = kept.iter().zip(verdicts).map(|(hit, verdict)| StoredHit::new(hit, verdict));
        let stored = StoredHits { hits: hits.collect() };
        batch.transaction.open_table(HITS)?.insert(key, &stored.encode()[..])?;
    }
    let trace = StoredTrace::new(&engagement(kept, verdicts), beyond);
    batch.transaction.open_table(TRACES)?.insert(key, &trace.encode()[..])?;
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

/// The event of a hit: `link 3: scanner (several links at once)`. Who only asked for the header did
/// neither open nor click.
fn tell(
    batch: &mut Batch<'_>,
    id: MessageId,
    recipient: u16,
    hit: &Hit,
    verdict: &Verdict,
) -> Result<(), Failure> {
    if hit.method == HitMethod::Head {
        return Ok(());
    }
    let reasons: Vec<&str> = verdict.reasons.iter().map(|reason| reason.as_str()).collect();
    let who = format!("{} ({})", verdict.visitor.as_str(), reasons.join("; "));
    let (kind, detail) = match hit.kind {
        HitKind::Open => (EventKind::Opened, who),
        HitKind::Click { link } => (EventKind::Clicked, format!("link {link}: {who}")),
    };
    let note = Note { detail: Some(detail), ..Note::of(kind) };
    StoredEvent::append(batch, event_of(id, hit.at, Some(recipient), note, None))
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
            Ok((kept, beyond)) => {
                save(batch, *key, &kept, &judge_hits(&kept), beyond, true)?;
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
