//! Mail to those who must not be written to: it is taken and archived, and not sent to them.
//!
//! An SMS call is refused as a whole, because its dialect can say so; a mail may have other recipients,
//! and a client that is told nothing but a number can do nothing better than a person who reads why.
//! Who restarts such a recipient with a reason overrides the list.

use super::{Intake, trouble};
use crate::archive::{
    Acceptance, ArchiveError, MessageNote, NewRecipient, ON_THE_LIST, Suppression,
};
use crate::model::{
    Channel, Envelope, EventKind, Medium, MessageId, RecipientState, Reply, Timestamp,
};

/// Who is named in the history.
const BY: &str = "suppression list";

/// The recipients that are left out, with the reason of each, in words.
pub(super) fn of(acceptance: &Acceptance) -> Vec<(usize, String)> {
    let reason = |(index, recipient): (usize, &NewRecipient)| match &recipient.state {
        RecipientState::NotSent { why } => {
            why.strip_prefix(ON_THE_LIST).map(|why| (index, why.to_owned()))
        }
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. } => None,
    };
    acceptance.recipients.iter().enumerate().filter_map(reason).collect()
}

impl Intake {
    /// Marks the recipients that the list forbids. The error is the reply to give.
    pub(super) fn leave_out_suppressed(
        &self,
        envelope: &Envelope,
        recipients: &mut [NewRecipient],
        now: Timestamp,
    ) -> Result<(), Reply> {
        self.mark_suppressed(envelope, recipients, now).map_err(|error| {
            tracing::error!(%error, "the suppression list can not be read");
            trouble()
        })
    }

    /// The same.
    pub(super) fn mark_suppressed(
        &self,
        envelope: &Envelope,
        recipients: &mut [NewRecipient],
        now: Timestamp,
    ) -> Result<(), ArchiveError> {
        let medium = Medium::Mail(envelope.clone());
        let originator = Suppression::originator_of(&medium);
        for (recipient, to) in recipients.iter_mut().zip(&envelope.recipients) {
            let address = to.path.to_string();
            let found =
                self.archive.suppressed(Channel::Email, &address, originator.as_deref(), now)?;
            if let Some(entry) = found {
                recipient.state = RecipientState::NotSent { why: entry.why() };
            }
        }
        Ok(())
    }

    /// Tells it in the history. The message is ours already, so trouble here is only logged: the
    /// reason stands beside each recipient as well.
    pub(super) async fn tell_suppressed(
        &self,
        message: MessageId,
        suppressed: &[(usize, String)],
        at: Timestamp,
    ) {
        for (index, why) in suppressed {
            let note = MessageNote {
                message,
                kind: EventKind::Suppressed,
                by: Some(BY.to_owned()),
                detail: Some(format!("recipient {index}: {why}")),
                at,
            };
            if let Err(error) = self.archive.note(note).await {
                tracing::error!(id = %message, %error, "a suppression can not be noted");
                return;
            }
        }
    }
}
