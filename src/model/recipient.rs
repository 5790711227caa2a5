//! The state of one recipient, and the five public words that are derived from it.
//!
//! The transitions between states are in `lifecycle`; this file only says what a state holds.

use super::digest::Digest;
use super::name::UpstreamName;
use super::reply::Reply;
use super::sms::FailureReason;
use super::time::Timestamp;

/// The public status of a recipient or a message: exactly five words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Status {
    NotSent,
    Pending,
    Sent,
    Stopped,
    Failed,
}

impl Status {
    /// All five.
    pub const ALL: [Status; 5] =
        [Status::NotSent, Status::Pending, Status::Sent, Status::Stopped, Status::Failed];

    /// The word that the API and the console use.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::NotSent => "not_sent",
            Status::Pending => "pending",
            Status::Sent => "sent",
            Status::Stopped => "stopped",
            Status::Failed => "failed",
        }
    }

    /// Reads that word.
    pub fn parse(text: &str) -> Option<Status> {
        Status::ALL.into_iter().find(|status| status.as_str() == text)
    }

    /// A message's status from those of its recipients: `pending` if any is, else `failed` if any
    /// is, else `stopped`, else `sent`, else `not_sent`.
    pub fn of_message(recipients: impl IntoIterator<Item = Status>) -> Status {
        let rank = |status: Status| match status {
            Status::Pending => 4,
            Status::Failed => 3,
            Status::Stopped => 2,
            Status::Sent => 1,
            Status::NotSent => 0,
        };
        recipients.into_iter().max_by_key(|status| rank(*status)).unwrap_or(Status::NotSent)
    }
}

/// How long a pending message is kept back on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Until a time.
    Until(Timestamp),
    /// Until somebody releases it.
    Manual,
}

/// Where one recipient stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// Kept back on purpose.
    Held { hold: Hold },
    /// Waits for its next attempt. `rank` is how many upstreams of its route already had a
    /// temporary failure in this round; the next attempt goes to the one after them.
    Due { at: Timestamp, rank: u8 },
    /// An attempt is under way; only its judgement can end this state.
    Claimed { at: Timestamp, rank: u8, upstream: UpstreamName },
    /// An upstream took it.
    Sent { at: Timestamp, upstream: UpstreamName, reply: Reply, digest: Digest },
    /// Somebody stopped it.
    Stopped { at: Timestamp, by: String },
    /// It was given up, or the other side refused it.
    Failed { at: Timestamp, cause: Cause },
    /// It was never meant to go, or had nowhere to go.
    NotSent { why: String },
}

/// Why a recipient failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The other side said so.
    Refused { upstream: UpstreamName, reply: Reply },
    /// Nobody ever answered, or the message can not be carried; says which.
    Unanswered { upstream: UpstreamName, detail: String },
    /// An SMS provider refused it, or its receipt said that it did not arrive; `code` is the
    /// provider's own, in clean characters.
    Undelivered { upstream: UpstreamName, reason: FailureReason, code: Option<String> },
    /// It came back after an upstream had taken it. `is_hard`: the address does not work and will
    /// not. `reply` is what the other side said, as far as the report tells it.
    Bounced { reply: Reply, is_hard: bool },
    /// The last temporary failure came after the expiry; the last reply, if there was one.
    Expired { last_reply: Option<Reply>, detail: String },
}

impl RecipientState {
    /// The public word.
    pub fn status(&self) -> Status {
        match self {
            RecipientState::Held { .. }
            | RecipientState::Due { .. }
            | RecipientState::Claimed { .. } => Status::Pending,
            RecipientState::Sent { .. } => Status::Sent,
            RecipientState::Stopped { .. } => Status::Stopped,
            RecipientState::Failed { .. } => Status::Failed,
            RecipientState::NotSent { .. } => Status::NotSent,
        }
    }

    /// When the queue must look at it next; `None` when only a person or a judgement moves it.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        match self {
            RecipientState::Held { hold: Hold::Until(at) } | RecipientState::Due { at, .. } => {
                Some(*at)
            }
            RecipientState::Held { hold: Hold::Manual }
            | RecipientState::Claimed { .. }
            | RecipientState::Sent { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_as_its_most_urgent_recipient() {
        use Status::*;
        let check = |recipients: &[Status], expected| {
            assert_eq!(Status::of_message(recipients.iter().copied()), expected, "{recipients:?}");
        };
        check(&[], NotSent);
        check(&[NotSent, NotSent], NotSent);
        check(&[NotSent, Sent], Sent);
        check(&[Sent, Stopped], Stopped);
        check(&[Stopped, Failed, Sent], Failed);
        check(&[Failed, Pending, Sent], Pending);
    }
}
