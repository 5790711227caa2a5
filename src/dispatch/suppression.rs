//! Nothing is sent to those who must not be written to.
//!
//! Asked right before a claim, not only at the door: a message may have waited for days, and who said
//! STOP since then means it too. A suppressed recipient of a mail is left out, as it would have been at
//! the door, and one of an SMS stopped, which its application is told; only what is left is claimed.
//! Who restarts it after that, and says why, has seen the entry: then it goes.

use crate::archive::{
    Action, ActionKind, Archive, ArchiveError, Event, Ground, Message, MessageNote, Suppression,
};
use crate::model::{Channel, EventKind, FailureReason, Outcome, Timestamp, UpstreamName};

/// Who stops what is suppressed.
const BY: &str = "suppression list";
/// Events that are looked at in one go.
const PAGE: usize = 500;

/// Leaves out who is suppressed of the recipients of a mail, and stops that of an SMS; gives the others.
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
    let originator = Suppression::originator_of(&message.medium);
    let mut left = Vec::with_capacity(recipients.len());
    for index in recipients.iter().copied() {
        let address = message.medium.recipient(index).unwrap_or_default();
        let address = normal(channel, &address);
        match archive.suppressed(channel, &address, originator.as_deref(), now)? {
            None => left.push(index),
            Some(entry) if is_overridden(archive, message, index, &entry)? => left.push(index),
            Some(entry) => match channel {
                Channel::Email => leave_out(archive, message, index, &entry, now).await?,
                Channel::Sms => stop(archive, message, index, &entry, now).await?,
            },
        }
    }
    Ok(left)
}

/// A person restarted it with a reason since the entry is there.
fn is_overridden(
    archive: &Archive,
    message: &Message,
    index: u16,
    entry: &Suppression,
) -> Result<bool, ArchiveError> {
    let mut after = None;
    loop {
        let page = archive.events(message.id, after, PAGE)?;
        let overrides = |event: &Event| {
            event.kind == EventKind::Restarted
                && event.recipient == Some(index)
                && event.at >= entry.at
                && event.by.is_some()
                && event.detail.as_ref().is_some_and(|reason| !reason.trim().is_empty())
        };
        if page.items.iter().any(overrides) {
            return Ok(true);
        }
        after = page.next;
        if after.is_none() {
            return Ok(false);
        }
    }
}

async fn leave_out(
    archive: &Archive,
    message: &Message,
    index: u16,
    entry: &Suppression,
    now: Timestamp,
) -> Result<(), ArchiveError> {
    if archive.leave_out(message.id, index, (BY, entry.why()), now).await? {
        tracing::warn!(id = %message.id, recipient = index, "left out: the recipient is on the suppression list");
    }
    Ok(())
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
        reason: None,
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
    for (index, outcome) in outcomes {
        let Outcome::Rejected { reason: FailureReason::OptedOut, .. } = outcome else { continue };
        let Some(recipient) = message.medium.recipient(*index) else { continue };
        let by = format!("upstream {upstream}");
        let said = (Some(by.as_str()), "the provider says that the recipient opted out");
        let entry = Suppression::because(Ground::OptOut, &message.medium, &recipient, said, now);
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
