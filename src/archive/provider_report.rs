//! What providers report of an SMS: receipts, matched by the provider's id or ours; and the end of
//! what waited longer than its validity.
//!
//! What a receipt makes of a recipient is decided by `lifecycle`, in the transaction that records it. A
//! receipt that outran the judgement of its own attempt is told so and changes nothing.

use redb::{ReadableDatabase, ReadableTable};

use super::standing::Standing;
use super::stored::{Record, StoredMessage};
use super::writer::{Batch, Failure, Urgency};
use super::{Archive, ArchiveError, tables};
use crate::lifecycle::{Input, Receipt};
use crate::model::{
    Channel, FailureReason, MessageId, ReceiptState, RecipientState, Sequence, Timestamp,
    UpstreamName,
};

/// An SMS has one recipient.
const RECIPIENT: u16 = 0;
/// Longest id of a provider that is looked up, in bytes; longer ones are not kept either.
const MAX_PROVIDER_ID_BYTES: usize = 200;
/// Claims that are looked at for an attempt that an unknown id may belong to.
const CLAIMS_LOOKED_AT: usize = 100;
/// Messages that expire in one transaction.
const EXPIRED_AT_ONCE: usize = 500;

/// One receipt, from a proven origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderReport {
    pub upstream: UpstreamName,
    /// The provider's id of the message or of one part.
    pub provider_id: Option<String>,
    /// Our id, where the provider echoes it; the provider's own id goes before it.
    pub message: Option<MessageId>,
    /// It came at the status URL of this message, and speaks of it alone whatever id it names.
    pub is_proven: bool,
    pub state: ReceiptState,
    pub reason: Option<FailureReason>,
    pub code: Option<String>,
    /// When we got it.
    pub at: Timestamp,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Something changed: a part, or the message.
    Changed(MessageId),
    /// It was known, or comes after the end.
    Unchanged(MessageId),
    /// The attempt that it belongs to is not judged yet, or its id is not known yet: ask again soon.
    TooEarly,
    /// No message of ours.
    Unknown,
}

impl Archive {
    /// Records a receipt: a part's state, `delivered` when all parts are, `failed` when one is
    /// lost. A final state is never left. An attempt whose outcome was unknown is settled by it.
    pub async fn report(&self, report: ProviderReport) -> Result<Reported, ArchiveError> {
        self.write(Urgency::Now, move |batch| record(batch, &report)).await
    }

    /// Ends what is pending although its validity is over; gives the messages. Not what is claimed.
    pub async fn expire(&self, now: Timestamp) -> Result<Vec<MessageId>, ArchiveError> {
        let mut expired = Vec::new();
        loop {
            let some = self.write(Urgency::Soon, move |batch| expire_some(batch, now)).await?;
            let is_last = some.looked_at < EXPIRED_AT_ONCE;
            // What can not be read keeps its row, and must not keep this from coming to an end.
            let is_stuck = some.expired.is_empty();
            expired.extend(some.expired);
            if is_last || is_stuck {
                return Ok(expired);
            }
        }
    }

    /// The next validity that ends for a message that is still pending.
    pub fn next_validity_end(&self) -> Result<Option<Timestamp>, ArchiveError> {
        let look = || -> Result<Option<Timestamp>, Failure> {
            let table = self.inner.database.begin_read()?.open_table(tables::VALIDITY)?;
            let first = table.first()?.map(|(key, _)| key.value().0);
            Ok(first.map(|ms| Timestamp::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))))
        };
        Ok(look()?)
    }

    /// The SMS with this sequence number.
    pub fn sms_by_sequence(&self, sequence: Sequence) -> Result<Option<MessageId>, ArchiveError> {
        let look = || -> Result<Option<MessageId>, Failure> {
            let table = self.inner.database.begin_read()?.open_table(tables::SMS_NUMBERS)?;
            Ok(table.get(sequence.0)?.map(|id| MessageId::from_u128(id.value())))
        };
        Ok(look()?)
    }
}

/// The form in which ids are compared: providers are not of one mind about the case of theirs.
pub(super) fn folded(provider_id: &str) -> Option<String> {
    let is_kept = !provider_id.is_empty() && provider_id.len() <= MAX_PROVIDER_ID_BYTES;
    is_kept.then(|| provider_id.to_ascii_lowercase())
}

/// Notes the ids by which receipts will name a message.
pub(super) fn remember(
    batch: &Batch<'_>,
    upstream: &UpstreamName,
    parts: &[String],
    message: MessageId,
) -> Result<(), Failure> {
    if parts.is_empty() {
        return Ok(());
    }
    let mut table = batch.transaction.open_table(tables::PARTS)?;
    for id in parts.iter().filter_map(|id| folded(id)) {
        table.insert((upstream.as_str(), id.as_str()), message.as_u128())?;
    }
    Ok(())
}

fn find(batch: &Batch<'_>, report: &ProviderReport) -> Result<Option<MessageId>, Failure> {
    let Some(id) = report.provider_id.as_deref().and_then(folded) else { return Ok(None) };
    let table = batch.transaction.open_table(tables::PARTS)?;
    let found = table.get((report.upstream.as_str(), id.as_str()))?;
    Ok(found.map(|id| MessageId::from_u128(id.value())))
}

fn record(batch: &mut Batch<'_>, report: &ProviderReport) -> Result<Reported, Failure> {
    let named = find(batch, report)?;
    // Whoever knows one message's status URL must not tell the end of another one, nor take its id.
    let is_foreign = report.is_proven && named.is_some() && named != report.message;
    let known = named.filter(|_| !is_foreign);
    let id = match (known, report.message) {
        (Some(id), _) => id,
        (None, Some(id)) if is_sms(batch, id)? => id,
        // The receipt may have overtaken the answer that brings its id.
        (None, None) if is_anything_claimed(batch, &report.upstream)? => {
            return Ok(Reported::TooEarly);
        }
        (None, _) => return Ok(Reported::Unknown),
    };
    let Some(before) = Standing::load(batch, id)? else { return Ok(Reported::Unknown) };
    let Some(entry) = before.entries.first() else { return Ok(Reported::Unknown) };
    if entry.progress.is_early_for_receipts() {
        return Ok(Reported::TooEarly);
    }
    if known.is_none() && !may_speak(&entry.progress.state, &report.upstream) {
        return Ok(Reported::Unknown);
    }
    // At a message's own status URL an id that nobody gave still means this message.
    let is_strange =
        is_foreign || (report.is_proven && named.is_none() && !entry.progress.parts.is_empty());
    let provider_id = report.provider_id.as_ref().filter(|_| !is_strange);
    let mut standing = before.clone();
    let input = Input::Receipt(Receipt {
        upstream: &report.upstream,
        provider_id: provider_id.map(String::as_str),
        state: report.state,
        reason: report.reason,
        code: report.code.as_deref(),
    });
    if standing.step(batch, RECIPIENT, report.at, &input, None)?.is_err() {
        return Ok(Reported::Unchanged(id));
    }
    if known.is_none() {
        let ids: Vec<String> = provider_id.cloned().into_iter().collect();
        remember(batch, &report.upstream, &ids, id)?;
    }
    standing.save(batch, Some(&before))?;
    Ok(Reported::Changed(id))
}

fn is_sms(batch: &Batch<'_>, id: MessageId) -> Result<bool, Failure> {
    let Some(bytes) = batch.messages.get(id.as_u128())? else { return Ok(false) };
    Ok(StoredMessage::decode(bytes.value())?.channel() == Channel::Sms)
}

/// One provider must not tell the end of what another one took.
fn may_speak(state: &RecipientState, speaker: &UpstreamName) -> bool {
    match state {
        RecipientState::Sent { upstream, .. } => upstream == speaker,
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => true,
    }
}

/// Whether an attempt through this upstream is under way, as far as a short look shows.
fn is_anything_claimed(batch: &Batch<'_>, wanted: &UpstreamName) -> Result<bool, Failure> {
    for entry in batch.claims.iter()?.rev().take(CLAIMS_LOOKED_AT) {
        let id = MessageId::from_u128(entry?.0.value());
        let Some(standing) = Standing::load(batch, id)? else { continue };
        let is_it = standing.entries.iter().any(|entry| match &entry.progress.state {
            RecipientState::Claimed { upstream, .. } => upstream == wanted,
            RecipientState::Held { .. }
            | RecipientState::Due { .. }
            | RecipientState::Sent { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. } => false,
        });
        if is_it {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Some of what has expired.
struct Expired {
    expired: Vec<MessageId>,
    looked_at: usize,
}

fn expire_some(batch: &mut Batch<'_>, now: Timestamp) -> Result<Expired, Failure> {
    let until = (now.as_millis().unsigned_abs(), u128::MAX);
    let rows = {
        let table = batch.transaction.open_table(tables::VALIDITY)?;
        let rows = table.range(..=until)?.take(EXPIRED_AT_ONCE);
        rows.map(|entry| entry.map(|(key, _)| key.value().1)).collect::<Result<Vec<_>, _>>()?
    };
    let (mut expired, looked_at) = (Vec::new(), rows.len());
    for id in rows.into_iter().map(MessageId::from_u128) {
        match expire_one(batch, id, now) {
            Ok(true) => expired.push(id),
            Ok(false) => {}
            Err(Failure::Corrupt(corrupt)) => {
                tracing::error!(%id, error = %corrupt, "a message can not expire");
            }
            Err(failure @ Failure::Storage(_)) => return Err(failure),
        }
    }
    Ok(Expired { expired, looked_at })
}

fn expire_one(batch: &mut Batch<'_>, id: MessageId, now: Timestamp) -> Result<bool, Failure> {
    let Some(before) = Standing::load(batch, id)? else { return Ok(false) };
    let (mut standing, mut is_changed) = (before.clone(), false);
    for recipient in (0..).take(before.entries.len()) {
        is_changed |= standing.step(batch, recipient, now, &Input::Expire, None)?.is_ok();
    }
    if is_changed {
        standing.save(batch, Some(&before))?;
    }
    Ok(is_changed)
}
