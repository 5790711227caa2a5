//! An upstream that refuses a recipient because there is none puts the address onto the suppression list, in
//! the transaction of the judgement.
//!
//! Which refusal is a ground is `lifecycle`'s to say. What it keeps: an upstream that refuses one recipient
//! after the other and takes none in between may be the one that is wrong, and must not silence whole lists: of
//! [`MAX_IN_A_ROW`] such refusals the addresses are believed, of the next ones not, until it takes a recipient
//! again. They fail all the same. What can not be read suppresses nobody, and keeps no judgement from being
//! recorded.

use std::collections::HashMap;

use redb::ReadableTable;

use super::queue::Judgement;
use super::standing::Standing;
use super::stored::{Record, StoredMessage};
use super::suppressions::{Ground, Suppression, put};
use super::writer::{Batch, Failure};
use crate::model::{Channel, Outcome, RecipientState, UpstreamName};

/// Refusals of one upstream without anything taken between them that suppress. A clean list has none in a
/// row; of a bad one the others are refused again, or come back, another time.
const MAX_IN_A_ROW: u32 = 10;
/// What the history says beside the refusal.
const SUPPRESSED: &str = "the address is on the suppression list now";

/// Refusals in a row of each upstream; after a restart they are counted anew.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<UpstreamName, u32>);

impl Refusals {
    /// It took a recipient, so it knows some.
    pub(super) fn took(&mut self, upstream: &UpstreamName) {
        self.0.remove(upstream);
    }

    /// Counts a refusal; false when there are too many to be believed.
    fn is_believed(&mut self, upstream: &UpstreamName) -> bool {
        let count = self.0.entry(upstream.clone()).or_default();
        *count = count.saturating_add(1);
        if *count == MAX_IN_A_ROW + 1 {
            tracing::warn!(%upstream, "it refuses one recipient after the other; until it takes one, none is put onto the suppression list for that");
        }
        *count <= MAX_IN_A_ROW
    }
}

/// Puts a recipient whose refusal is a ground onto the list; gives the outcome with words that say so.
pub(super) fn suppress(
    batch: &mut Batch<'_>,
    standing: &Standing,
    judgement: &Judgement,
    (recipient, outcome): (u16, &Outcome),
) -> Result<Option<Outcome>, Failure> {
    let Some(ground) = Ground::of_refusal(outcome) else { return Ok(None) };
    let Some(upstream) = claimed_by(standing, recipient) else { return Ok(None) };
    let Outcome::Permanent { scope, reply: Some(reply), detail } = outcome else {
        return Ok(None);
    };
    let is_sent = |(_, outcome): &(u16, Outcome)| matches!(outcome, Outcome::Sent { .. });
    // Where it took others of the same transaction, it can tell them apart.
    let tells_apart = judgement.outcomes.iter().any(is_sent);
    if !tells_apart && !batch.memory.refusals().is_believed(upstream) {
        return Ok(None);
    }
    let words = format!("{upstream} refused it: {reply}");
    let added = entry(batch, judgement, recipient, (ground, &words))
        .and_then(|entry| entry.map(|entry| put(batch, entry)).transpose());
    match added {
        Ok(Some(_)) => {
            let (scope, reply) = (*scope, Some(reply.clone()));
            let detail = format!("{detail}; {SUPPRESSED}");
            Ok(Some(Outcome::Permanent { scope, reply, detail }))
        }
        Ok(None) => Ok(None),
        Err(Failure::Corrupt(error)) => {
            tracing::error!(id = %judgement.message, recipient, %error, "a recipient that does not exist can not be suppressed");
            Ok(None)
        }
        Err(failure @ Failure::Storage(_)) => Err(failure),
    }
}

fn claimed_by(standing: &Standing, recipient: u16) -> Option<&UpstreamName> {
    match &standing.entries.get(usize::from(recipient))?.progress.state {
        RecipientState::Claimed { upstream, .. } => Some(upstream),
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => None,
    }
}

/// Only of mail: numbers are refused for reasons of their own.
fn entry(
    batch: &Batch<'_>,
    judgement: &Judgement,
    recipient: u16,
    (ground, words): (Ground, &str),
) -> Result<Option<Suppression>, Failure> {
    let Some(bytes) = batch.messages.get(judgement.message.as_u128())? else { return Ok(None) };
    let stored = StoredMessage::decode(bytes.value())?;
    if stored.channel() != Channel::Email {
        return Ok(None);
    }
    let medium = stored.medium()?;
    let of = |address: String| {
        Suppression::because(ground, &medium, &address, (None, words), judgement.now)
    };
    Ok(medium.recipient(recipient).map(of))
}
