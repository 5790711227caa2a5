//! A message as it is relayed, from its record.

use bytes::Bytes;

use super::Renderer;
use crate::archive::{Archive, ArchiveError, Message, Recipient};
use crate::model::{Cause, Digest, EventKind, Medium, Outgoing, RecipientState, Sms, SmsBody};
use crate::rewrite::{Trace, render};

/// Events that are read at one time.
const PAGE: usize = 200;

/// The bytes for the upstream, from the record and the bytes as submitted alone.
pub fn untouched(message: &Message, raw: &Bytes) -> Outgoing {
    match (trace(message), &message.medium) {
        (Some(trace), _) => render(raw, &trace),
        // What the recipient reads; how a provider is told of it is no part of it.
        (None, Medium::Sms(sms)) => Outgoing::new(vec![content(sms)]),
        (None, Medium::Mail(_)) => Outgoing::new(vec![raw.clone()]),
    }
}

/// How a mail came.
pub(super) fn trace(message: &Message) -> Option<Trace<'_>> {
    let Medium::Mail(envelope) = &message.medium else { return None };
    let recipient = match envelope.recipients.as_slice() {
        [only] => Some(&only.path),
        _ => None,
    };
    Some(Trace {
        id: message.id,
        hostname: &message.client.gateway,
        client_helo: &message.client.helo,
        client_address: message.client.address,
        protocol: &message.client.protocol,
        tls: message.client.tls.as_deref(),
        accepted_at: message.accepted_at,
        recipient,
    })
}

/// The text of an SMS in UTF-8, or its binary user data.
fn content(sms: &Sms) -> Bytes {
    match &sms.body {
        SmsBody::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        SmsBody::Binary(data) => Bytes::copy_from_slice(data),
    }
}

/// Whether the recomputed bytes are those that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Their digest is the one that was recorded with the attempt.
    Proven(Digest),
    /// Nothing was sent to this recipient yet: this is what would be.
    NotSentYet,
    /// A receipt shows that a provider has it, but nobody saw the end of the attempt, so no digest
    /// was recorded that would prove these bytes.
    Unproven,
    /// The digest that was recorded is another one.
    Differs { recorded: Digest, recomputed: Digest },
}

/// What recipient `index` got, or would get. `None` when there is no such message or recipient.
pub fn sent_to(
    renderer: &Renderer,
    message: &Message,
    index: u16,
) -> Result<Option<(Outgoing, Proof)>, ArchiveError> {
    let archive = renderer.archive();
    let Some(recipient) = message.recipients.get(usize::from(index)) else { return Ok(None) };
    let Some(raw) = archive.raw(message.id)? else { return Ok(None) };
    let recorded = recorded(archive, message, recipient)?;
    let outgoing = match (archive.touch(message.id, index)?, &recorded) {
        (Some(touch), Recorded::Digest(_) | Recorded::Earlier(_) | Recorded::Unseen) => {
            renderer.render_again(message, &raw, index, &touch)?
        }
        (None, Recorded::Digest(_) | Recorded::Earlier(_) | Recorded::Unseen) => None,
        (_, Recorded::Nothing) => Some(renderer.render_now(message, &raw, Some(index)).0),
    };
    let outgoing = outgoing.unwrap_or_else(|| untouched(message, &raw));
    let recomputed = outgoing.digest;
    let proof = match recorded {
        Recorded::Digest(digest) | Recorded::Earlier(digest) if digest == recomputed => {
            Proof::Proven(recomputed)
        }
        Recorded::Digest(recorded) => Proof::Differs { recorded, recomputed },
        // What is known of its changes is of the later attempt, and the digest is not.
        Recorded::Earlier(_) | Recorded::Unseen => Proof::Unproven,
        Recorded::Nothing => Proof::NotSentYet,
    };
    Ok(Some((outgoing, proof)))
}

/// What the record says of the bytes that a recipient got.
enum Recorded {
    Digest(Digest),
    /// They were sent with this digest; after that an attempt was made whose end nobody saw.
    Earlier(Digest),
    /// They were sent, and nobody saw it.
    Unseen,
    Nothing,
}

fn recorded(
    archive: &Archive,
    message: &Message,
    recipient: &Recipient,
) -> Result<Recorded, ArchiveError> {
    let may_have_been_sent = match &recipient.state {
        RecipientState::Sent { digest, .. } => return Ok(of_attempt(*digest)),
        // A receipt may have said so after the message had left.
        RecipientState::Failed {
            cause: Cause::Undelivered { .. } | Cause::Bounced { .. }, ..
        } => true,
        // Or somebody restarted it since then.
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. } => false,
        RecipientState::NotSent { .. } => return Ok(Recorded::Nothing),
    };
    Ok(match last_sent(archive, message, recipient.index)? {
        Some(recorded) => recorded,
        None if may_have_been_sent && recipient.possible_duplicate => Recorded::Unseen,
        None => Recorded::Nothing,
    })
}

/// An attempt whose end nobody saw is recorded with the digest of nothing.
fn of_attempt(digest: Digest) -> Recorded {
    if digest == Digest::of(b"") { Recorded::Unseen } else { Recorded::Digest(digest) }
}

/// What was recorded the last time that it was sent to this recipient.
fn last_sent(
    archive: &Archive,
    message: &Message,
    index: u16,
) -> Result<Option<Recorded>, ArchiveError> {
    let (mut last, mut after) = (None, None);
    loop {
        let page = archive.events(message.id, after, PAGE)?;
        for event in page.items.iter().filter(|event| event.recipient == Some(index)) {
            if event.kind == EventKind::Sent {
                last = Some(event.digest.map_or(Recorded::Unseen, of_attempt));
            } else if event.kind == EventKind::Attempted {
                last = last.map(|recorded| match recorded {
                    Recorded::Digest(digest) => Recorded::Earlier(digest),
                    Recorded::Earlier(_) | Recorded::Unseen | Recorded::Nothing => recorded,
                });
            }
        }
        after = page.next;
        if after.is_none() {
            return Ok(last);
        }
    }
}
