//! Nothing is sent to those who must not be written to.
//!
//! Asked right before a claim, not only at the door: a message may have waited for days, and who said
//! STOP since then means it too. A suppressed recipient is stopped, as a person would stop it, and
//! only what is left is claimed.

use crate::archive::{
    Action, ActionKind, Archive, ArchiveError, Message, MessageNote, Suppression,
};
use crate::model::{Channel, EventKind, FailureReason, Outcome, Timestamp, UpstreamName};

/// Who stops what is suppressed.
const BY: &str = "suppression list";

/// Stops what is suppressed of these recipients; gives the others.
pub(super) async fn stop_suppressed(
    archive: &Archive,
    message: &Message,
    recipients: &[u16],
    now: Timestamp,
) -> Result<Vec<u16>, ArchiveError> {
    let channel = message.channel();
    if message.medium.sms().is_some_and(|sms| sms.confirms_opt_out) {
        return Ok(recipients.to_vec());
    }
    let originator = message.medium.sender().map(|sender| normal(channel, &sender));
    let mut left = Vec::with_capacity(recipients.len());
    for index in recipients.iter().copied() {
        let address = message.medium.recipient(index).unwrap_or_default();
        let address = normal(channel, &address);
        match archive.suppressed(channel, &address, originator.as_deref())? {
            None => left.push(index),
            Some(entry) => stop(archive, message, index, &entry, now).await?,
        }
    }
    Ok(left)
}

async fn stop(
    archive: &Archive,
    message: &Message,
    index: u16,
    entry: &Suppression,
    now: Timestamp,
) -> Result<(), ArchiveError> {
    let action = Action {
        kind: ActionKind::Stop,
        message: message.id,
        recipients: Some(vec![index]),
        by: BY.to_owned(),
        at: now,
    };
    // Refused when somebody else stopped or expired it first; then nobody sends it either.
    if archive.act(action).await?.is_err() {
        return Ok(());
    }
    let detail = format!("recipient {index}: {}, added by {}", entry.reason, entry.by);
    let note = MessageNote {
        message: message.id,
        kind: EventKind::Suppressed,
        by: Some(BY.to_owned()),
        detail: Some(detail),
        at: now,
    };
    archive.note(note).await?;
    tracing::warn!(id = %message.id, recipient = index, "stopped: the recipient is on the suppression list");
    Ok(())
}

/// Remembers a recipient of whom the provider says that he opted out.
pub(super) async fn learn(
    archive: &Archive,
    message: &Message,
    upstream: &UpstreamName,
    outcomes: &[(u16, Outcome)],
    now: Timestamp,
) {
    let channel = message.channel();
    for (index, outcome) in outcomes {
        let Outcome::Rejected { reason: FailureReason::OptedOut, .. } = outcome else { continue };
        let Some(recipient) = message.medium.recipient(*index) else { continue };
        let entry = Suppression {
            channel,
            recipient: normal(channel, &recipient),
            originator: message.medium.sender().map(|sender| normal(channel, &sender)),
            reason: "the provider says that the recipient opted out".into(),
            by: format!("upstream {upstream}"),
            at: now,
        };
        if let Err(error) = archive.suppress(entry).await {
            tracing::error!(id = %message.id, %error, "an opt-out can not be recorded");
        }
    }
}

/// As the suppression list keeps it: numbers are in their normal form already.
fn normal(channel: Channel, address: &str) -> String {
    match channel {
        Channel::Email => address.to_lowercase(),
        Channel::Sms => address.to_owned(),
    }
}
