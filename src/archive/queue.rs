//! The queue's writes: claim, judgement, return, recovery, stop, restart, release, pause.
//!
//! All run inside the one writer, so of a stop and a claim of the same recipient exactly one wins,
//! and each is durable before anybody is told.

use std::collections::BTreeSet;

use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::provider_ids::{self, Tellers};
use super::provider_report;
use super::standing::{Standing, event_of};
use super::stored::{Record, StoredEvent, StoredMessage};
use super::writer::{Batch, Failure};
use super::{Action, ActionKind, ActionRefusal, MessageNote, refusals, touches};
use crate::lifecycle::{Input, Note, RetrySchedule, step};
use crate::model::{MessageId, Outcome, RecipientState, Timestamp, Touch, UpstreamName};

/// A wish to send some recipients of one message now.
#[derive(Clone, Debug)]
pub struct ClaimRequest {
    pub message: MessageId,
    pub recipients: Vec<u16>,
    pub upstream: UpstreamName,
    /// Place of the upstream in the route.
    pub rank: u8,
    pub now: Timestamp,
}

/// What an attempt came to, for the recipients of one claim.
#[derive(Clone, Debug)]
pub struct Judgement {
    pub message: MessageId,
    pub outcomes: Vec<(u16, Outcome)>,
    /// How the mail was changed for them.
    pub touch: Option<Touch>,
    pub is_last_upstream: bool,
    pub hold_unknown: bool,
    pub now: Timestamp,
}

/// A paused upstream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredPause {
    pub by: String,
    pub at: i64,
}

impl Record for StoredPause {
    const KIND: &'static str = "pause";
}

/// Claims what is still due; gives the recipients that were granted. Nothing of a paused upstream.
pub(super) fn claim(batch: &mut Batch<'_>, request: &ClaimRequest) -> Result<Vec<u16>, Failure> {
    if batch.paused.get(request.upstream.as_str())?.is_some() {
        return Ok(Vec::new());
    }
    let Some(before) = Standing::load(batch, request.message)? else { return Ok(Vec::new()) };
    let mut standing = before.clone();
    let input = Input::Claim { upstream: &request.upstream, rank: request.rank };
    let mut granted = Vec::new();
    for &recipient in &request.recipients {
        if standing.step(batch, recipient, request.now, &input, None)?.is_ok() {
            granted.push(recipient);
        }
    }
    if !granted.is_empty() {
        standing.save(batch, Some(&before))?;
    }
    Ok(granted)
}

/// Records what came of an attempt; gives where each of its recipients stands now, in the order of
/// the outcomes (`None` for one that was not claimed).
pub(super) fn judge(
    batch: &mut Batch<'_>,
    judgement: &Judgement,
    schedule: &RetrySchedule,
    tellers: &Tellers,
) -> Result<Vec<Option<RecipientState>>, Failure> {
    let mut judged = Vec::new();
    change(batch, judgement.message, |standing, batch| {
        for (recipient, outcome) in &judgement.outcomes {
            let said = refusals::suppress(batch, standing, judgement, (*recipient, outcome))?;
            let outcome = said.as_ref().unwrap_or(outcome);
            let input = Input::Judge {
                outcome,
                is_last_upstream: judgement.is_last_upstream,
                schedule,
                hold_unknown: judgement.hold_unknown,
            };
            let step = standing.step(batch, *recipient, judgement.now, &input, None)?;
            if let Err(refusal) = &step {
                tracing::error!(id = %judgement.message, recipient, %refusal, "a judgement without a claim");
            }
            if let Outcome::Sent { parts, reply, .. } = outcome
                && let Ok(RecipientState::Sent { upstream, .. }) = &step
            {
                batch.memory.refusals().took(upstream);
                provider_report::remember(batch, upstream, parts, judgement.message)?;
                provider_ids::keep(batch, tellers, upstream, reply, judgement.message)?;
            }
            judged.push(step.ok());
        }
        Ok(())
    })?;
    let touch = judgement.touch.as_ref();
    touches::remember(batch, judgement.message, &judgement.outcomes, touch)?;
    Ok(judged)
}

/// Gives claims back of which nothing was sent.
pub(super) fn give_back(
    batch: &mut Batch<'_>,
    message: MessageId,
    recipients: &[u16],
    now: Timestamp,
) -> Result<(), Failure> {
    change(batch, message, |standing, batch| {
        for &recipient in recipients {
            let _ = standing.step(batch, recipient, now, &Input::Return, None)?;
        }
        Ok(())
    })
}

/// After a crash: every claim has an unknown outcome. Gives the messages that were claimed. One that
/// can not be read stays claimed, and keeps no other from leaving.
pub(super) fn recover(
    batch: &mut Batch<'_>,
    schedule: &RetrySchedule,
    now: Timestamp,
) -> Result<Vec<MessageId>, Failure> {
    let claimed = batch.claims.iter()?.map(|entry| entry.map(|(id, _)| id.value()));
    let claimed = claimed.collect::<Result<Vec<u128>, _>>()?;
    for id in &claimed {
        let id = MessageId::from_u128(*id);
        match recover_one(batch, id, schedule, now) {
            Err(Failure::Corrupt(corrupt)) => {
                tracing::error!(%id, error = %corrupt, "a claimed message can not be recovered");
            }
            done @ (Ok(()) | Err(Failure::Storage(_))) => done?,
        }
    }
    Ok(claimed.into_iter().map(MessageId::from_u128).collect())
}

fn recover_one(
    batch: &mut Batch<'_>,
    id: MessageId,
    schedule: &RetrySchedule,
    now: Timestamp,
) -> Result<(), Failure> {
    let message = batch.messages.get(id.as_u128())?;
    let message = message.map(|bytes| StoredMessage::decode(bytes.value())).transpose()?;
    let hold_unknown = message.is_some_and(|message| message.policy().hold_unknown);
    let input = Input::Recover { schedule, hold_unknown };
    change(batch, id, |standing, batch| {
        for recipient in 0..standing.entries.len() {
            // The index of a recipient fits: an envelope holds far fewer than 65,536.
            let _ = standing.step(batch, recipient as u16, now, &input, None)?;
        }
        Ok(())
    })
}

/// The clock may have gone back: nothing waits longer from now than the ladder says. A message that
/// can not be read stays as it is.
pub(super) fn shorten_waits(
    batch: &mut Batch<'_>,
    ids: &BTreeSet<MessageId>,
    schedule: &RetrySchedule,
    now: Timestamp,
) -> Result<(), Failure> {
    for id in ids {
        match shorten_waits_of(batch, *id, schedule, now) {
            Err(Failure::Corrupt(corrupt)) => {
                tracing::error!(%id, error = %corrupt, "the waits of a message can not be changed");
            }
            done @ (Ok(()) | Err(Failure::Storage(_))) => done?,
        }
    }
    Ok(())
}

fn shorten_waits_of(
    batch: &mut Batch<'_>,
    id: MessageId,
    schedule: &RetrySchedule,
    now: Timestamp,
) -> Result<(), Failure> {
    let Some(before) = Standing::load(batch, id)? else { return Ok(()) };
    let (mut standing, mut is_changed) = (before.clone(), false);
    let input = Input::ClockWentBack { schedule };
    for recipient in 0..before.entries.len() {
        // The index of a recipient fits: an envelope holds far fewer than 65,536.
        is_changed |= standing.step(batch, recipient as u16, now, &input, None)?.is_ok();
    }
    if is_changed {
        standing.save(batch, Some(&before))?;
    }
    Ok(())
}

/// Stop, restart or release. Does what can be done; refuses when nothing can.
pub(super) fn act(
    batch: &mut Batch<'_>,
    action: &Action,
) -> Result<Result<(), ActionRefusal>, Failure> {
    let Some(before) = Standing::load(batch, action.message)? else {
        return Ok(Err(ActionRefusal::NoSuchMessage));
    };
    if action.kind == ActionKind::Restart && is_erased(batch, action.message)? {
        let why = "it can not be restarted: its content was erased";
        return Ok(Err(ActionRefusal::TooLate(why.into())));
    }
    let count = before.entries.len() as u16;
    let chosen: BTreeSet<u16> = match &action.recipients {
        Some(recipients) => recipients.iter().copied().collect(),
        None => (0..count).collect(),
    };
    if let Some(unknown) = chosen.iter().find(|index| **index >= count) {
        return Ok(Err(ActionRefusal::NoSuchRecipient(*unknown)));
    }
    let input = match action.kind {
        ActionKind::Stop => Input::Stop { by: &action.by },
        ActionKind::Restart => Input::Restart,
        ActionKind::Release => Input::Release,
    };
    let (mut standing, mut refusals, mut done) = (before.clone(), Vec::new(), 0_usize);
    for recipient in chosen {
        let who = (Some(action.by.as_str()), action.reason.as_deref());
        match standing.step_because(batch, recipient, action.at, &input, who)? {
            Ok(_) => done += 1,
            Err(refusal) => refusals.push((recipient, refusal.0)),
        }
    }
    if done == 0 {
        return Ok(Err(ActionRefusal::TooLate(reasons(action.kind, &refusals))));
    }
    // Whoever starts it again after its validity was over wants it to go all the same.
    if action.kind == ActionKind::Restart && standing.valid_until.is_some_and(|at| at <= action.at)
    {
        standing.valid_until = None;
    }
    standing.save(batch, Some(&before))?;
    Ok(Ok(()))
}

/// Whether the action could be done; changes nothing.
pub(super) fn would_act(
    batch: &mut Batch<'_>,
    action: &Action,
) -> Result<Result<(), ActionRefusal>, Failure> {
    let Some(standing) = Standing::load(batch, action.message)? else {
        return Ok(Err(ActionRefusal::NoSuchMessage));
    };
    if action.kind == ActionKind::Restart && is_erased(batch, action.message)? {
        let why = "it can not be restarted: its content was erased";
        return Ok(Err(ActionRefusal::TooLate(why.into())));
    }
    let input = match action.kind {
        ActionKind::Stop => Input::Stop { by: &action.by },
        ActionKind::Restart => Input::Restart,
        ActionKind::Release => Input::Release,
    };
    let mut refusals = Vec::new();
    for (recipient, entry) in (0u16..).zip(&standing.entries) {
        match step(&entry.progress, action.at, &input) {
            Ok(_) => return Ok(Ok(())),
            Err(refusal) => refusals.push((recipient, refusal.0)),
        }
    }
    Ok(Err(ActionRefusal::TooLate(reasons(action.kind, &refusals))))
}

fn is_erased(batch: &Batch<'_>, id: MessageId) -> Result<bool, Failure> {
    let Some(bytes) = batch.messages.get(id.as_u128())? else { return Ok(false) };
    Ok(StoredMessage::decode(bytes.value())?.redacted_at.is_some())
}

/// At most ten reasons, so that a message with a thousand recipients stays readable.
fn reasons(kind: ActionKind, refusals: &[(u16, String)]) -> String {
    let verb = match kind {
        ActionKind::Stop => "stopped",
        ActionKind::Restart => "restarted",
        ActionKind::Release => "released",
    };
    let mut text = format!("it can not be {verb}");
    for (index, (recipient, why)) in refusals.iter().take(10).enumerate() {
        let separator = if index == 0 { ": " } else { "; " };
        text.push_str(&format!("{separator}recipient {recipient}: {why}"));
    }
    if refusals.len() > 10 {
        text.push_str(&format!("; and {} more", refusals.len() - 10));
    }
    text
}

/// Pauses or resumes an upstream.
pub(super) fn set_paused(
    batch: &mut Batch<'_>,
    upstream: &UpstreamName,
    paused: bool,
    by: &str,
    at: Timestamp,
) -> Result<(), Failure> {
    if paused {
        let pause = StoredPause { by: by.to_owned(), at: at.as_millis() }.encode();
        batch.paused.insert(upstream.as_str(), &pause[..])?;
    } else {
        batch.paused.remove(upstream.as_str())?;
    }
    Ok(())
}

/// Adds an event that moves no recipient.
pub(super) fn note(batch: &mut Batch<'_>, note: &MessageNote) -> Result<(), Failure> {
    if batch.messages.get(note.message.as_u128())?.is_none() {
        tracing::warn!(id = %note.message, kind = note.kind.as_str(), "a note on no message");
        return Ok(());
    }
    let told = Note { detail: note.detail.clone(), ..Note::of(note.kind) };
    StoredEvent::append(batch, event_of(note.message, note.at, None, told, note.by.as_deref()))
}

fn change(
    batch: &mut Batch<'_>,
    message: MessageId,
    steps: impl FnOnce(&mut Standing, &mut Batch<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let Some(before) = Standing::load(batch, message)? else { return Ok(()) };
    let mut standing = before.clone();
    steps(&mut standing, batch)?;
    standing.save(batch, Some(&before))
}
