//! The stored states of a message's recipients: one record a message, one entry a recipient.

use serde::{Deserialize, Serialize};

use crate::lifecycle::{Part, Progress};
use crate::model::UpstreamName;
use crate::model::{
    Cause, Digest, EnhancedCode, FailureReason, Hold, ReceiptState, RecipientState, Reply,
    Timestamp,
};

use super::{Corrupt, Record};

/// All recipients of one message, in the order of its envelope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredStates {
    pub recipients: Vec<StoredProgress>,
    // Appended with version 2.
    /// Of the recipients of which a provider tells something.
    pub receipts: Vec<StoredReceipts>,
    valid_until: Option<i64>,
    // Appended with version 3.
    /// When an upstream took what did not arrive, of the recipients of which that is so.
    pub sent_at: Vec<(u16, i64)>,
}

impl Record for StoredStates {
    const KIND: &'static str = "recipient state";
    const VERSION: u8 = 3;
    const APPENDED: &'static [usize] = &[2, 1];
}

impl StoredStates {
    pub(in crate::archive) fn new(
        recipients: Vec<StoredProgress>,
        receipts: Vec<StoredReceipts>,
        valid_until: Option<Timestamp>,
        sent_at: Vec<(u16, i64)>,
    ) -> StoredStates {
        let valid_until = valid_until.map(Timestamp::as_millis);
        StoredStates { recipients, receipts, valid_until, sent_at }
    }

    pub(in crate::archive) fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until.map(Timestamp::from_millis)
    }
}

/// What a provider told of one recipient.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredReceipts {
    recipient: u16,
    delivered_at: Option<i64>,
    parts: Vec<(String, StoredReceiptState)>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredReceiptState {
    Underway,
    Delivered,
    Undelivered,
    Expired,
    Rejected,
}

impl StoredReceipts {
    /// `None` when there is nothing to keep, as of all mail.
    pub(in crate::archive) fn new(recipient: u16, progress: &Progress) -> Option<StoredReceipts> {
        if progress.delivered_at.is_none() && progress.parts.is_empty() {
            return None;
        }
        let parts = progress.parts.iter().map(|part| {
            let state = match part.state {
                ReceiptState::Underway => StoredReceiptState::Underway,
                ReceiptState::Delivered => StoredReceiptState::Delivered,
                ReceiptState::Undelivered => StoredReceiptState::Undelivered,
                ReceiptState::Expired => StoredReceiptState::Expired,
                ReceiptState::Rejected => StoredReceiptState::Rejected,
            };
            (part.provider_id.clone(), state)
        });
        Some(StoredReceipts {
            recipient,
            delivered_at: progress.delivered_at.map(Timestamp::as_millis),
            parts: parts.collect(),
        })
    }

    pub(in crate::archive) fn recipient(&self) -> usize {
        usize::from(self.recipient)
    }

    /// Puts it back where it was.
    pub(in crate::archive) fn tell(self, progress: &mut Progress) {
        progress.delivered_at = self.delivered_at.map(Timestamp::from_millis);
        let parts = self.parts.into_iter().map(|(provider_id, state)| {
            let state = match state {
                StoredReceiptState::Underway => ReceiptState::Underway,
                StoredReceiptState::Delivered => ReceiptState::Delivered,
                StoredReceiptState::Undelivered => ReceiptState::Undelivered,
                StoredReceiptState::Expired => ReceiptState::Expired,
                StoredReceiptState::Rejected => ReceiptState::Rejected,
            };
            Part { provider_id, state }
        });
        progress.parts = parts.collect();
    }
}

/// Where one recipient stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredProgress {
    state: StoredState,
    attempts: u32,
    rounds: u32,
    first_due_at: i64,
    possible_duplicate: bool,
    crashes: u32,
    /// The upstream of the last attempt.
    pub last_upstream: Option<String>,
    /// The last reply, as one line.
    pub last_reply: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum StoredState {
    HeldUntil(i64),
    HeldByHand,
    Due { at: i64, rank: u8 },
    Claimed { at: i64, rank: u8, upstream: String },
    Sent { at: i64, upstream: String, reply: StoredReply, digest: [u8; 32] },
    Stopped { at: i64, by: String },
    Refused { at: i64, upstream: String, reply: StoredReply },
    Unanswered { at: i64, upstream: String, detail: String },
    Expired { at: i64, last_reply: Option<StoredReply>, detail: String },
    NotSent { why: String },
    Undelivered { at: i64, upstream: String, reason: String, code: Option<String> },
    Bounced { at: i64, reply: StoredReply, is_hard: bool },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredReply {
    code: u16,
    enhanced: Option<(u8, u16, u16)>,
    text: String,
}

impl StoredProgress {
    pub(in crate::archive) fn new(
        progress: &Progress,
        last_upstream: Option<String>,
        last_reply: Option<String>,
    ) -> StoredProgress {
        StoredProgress {
            state: StoredState::new(&progress.state),
            attempts: progress.attempts,
            rounds: progress.rounds,
            first_due_at: progress.first_due_at.as_millis(),
            possible_duplicate: progress.possible_duplicate,
            crashes: progress.crashes,
            last_upstream,
            last_reply,
        }
    }

    /// Without what a provider told of it, and without when it was sent if it came back.
    pub(in crate::archive) fn progress(&self) -> Result<Progress, Corrupt> {
        Ok(Progress {
            state: self.state.state()?,
            attempts: self.attempts,
            rounds: self.rounds,
            first_due_at: Timestamp::from_millis(self.first_due_at),
            possible_duplicate: self.possible_duplicate,
            crashes: self.crashes,
            sent_at: None,
            delivered_at: None,
            parts: Vec::new(),
        })
    }
}

impl StoredState {
    fn new(state: &RecipientState) -> StoredState {
        match state {
            RecipientState::Held { hold: Hold::Until(at) } => {
                StoredState::HeldUntil(at.as_millis())
            }
            RecipientState::Held { hold: Hold::Manual } => StoredState::HeldByHand,
            RecipientState::Due { at, rank } => {
                StoredState::Due { at: at.as_millis(), rank: *rank }
            }
            RecipientState::Claimed { at, rank, upstream } => StoredState::Claimed {
                at: at.as_millis(),
                rank: *rank,
                upstream: upstream.to_string(),
            },
            RecipientState::Sent { at, upstream, reply, digest } => StoredState::Sent {
                at: at.as_millis(),
                upstream: upstream.to_string(),
                reply: StoredReply::new(reply),
                digest: digest.0,
            },
            RecipientState::Stopped { at, by } => {
                StoredState::Stopped { at: at.as_millis(), by: by.clone() }
            }
            RecipientState::Failed { at, cause } => StoredState::failed(at.as_millis(), cause),
            RecipientState::NotSent { why } => StoredState::NotSent { why: why.clone() },
        }
    }

    fn failed(at: i64, cause: &Cause) -> StoredState {
        match cause {
            Cause::Refused { upstream, reply } => StoredState::Refused {
                at,
                upstream: upstream.to_string(),
                reply: StoredReply::new(reply),
            },
            Cause::Unanswered { upstream, detail } => StoredState::Unanswered {
                at,
                upstream: upstream.to_string(),
                detail: detail.clone(),
            },
            Cause::Undelivered { upstream, reason, code } => StoredState::Undelivered {
                at,
                upstream: upstream.to_string(),
                reason: reason.as_str().to_owned(),
                code: code.clone(),
            },
            Cause::Bounced { reply, is_hard } => {
                StoredState::Bounced { at, reply: StoredReply::new(reply), is_hard: *is_hard }
            }
            Cause::Expired { last_reply, detail } => StoredState::Expired {
                at,
                last_reply: last_reply.as_ref().map(StoredReply::new),
                detail: detail.clone(),
            },
        }
    }

    fn state(&self) -> Result<RecipientState, Corrupt> {
        let time = |ms: &i64| Timestamp::from_millis(*ms);
        let failed = |at: &i64, cause| RecipientState::Failed { at: time(at), cause };
        Ok(match self {
            StoredState::HeldUntil(at) => RecipientState::Held { hold: Hold::Until(time(at)) },
            StoredState::HeldByHand => RecipientState::Held { hold: Hold::Manual },
            StoredState::Due { at, rank } => RecipientState::Due { at: time(at), rank: *rank },
            StoredState::Claimed { at, rank, upstream } => RecipientState::Claimed {
                at: time(at),
                rank: *rank,
                upstream: upstream_name(upstream)?,
            },
            StoredState::Sent { at, upstream, reply, digest } => RecipientState::Sent {
                at: time(at),
                upstream: upstream_name(upstream)?,
                reply: reply.reply(),
                digest: Digest(*digest),
            },
            StoredState::Stopped { at, by } => {
                RecipientState::Stopped { at: time(at), by: by.clone() }
            }
            StoredState::Refused { at, upstream, reply } => failed(
                at,
                Cause::Refused { upstream: upstream_name(upstream)?, reply: reply.reply() },
            ),
            StoredState::Unanswered { at, upstream, detail } => failed(
                at,
                Cause::Unanswered { upstream: upstream_name(upstream)?, detail: detail.clone() },
            ),
            StoredState::Expired { at, last_reply, detail } => {
                let last_reply = last_reply.as_ref().map(StoredReply::reply);
                failed(at, Cause::Expired { last_reply, detail: detail.clone() })
            }
            StoredState::Undelivered { at, upstream, reason, code } => failed(
                at,
                Cause::Undelivered {
                    upstream: upstream_name(upstream)?,
                    reason: FailureReason::parse(reason).unwrap_or(FailureReason::Unknown),
                    code: code.clone(),
                },
            ),
            StoredState::Bounced { at, reply, is_hard } => {
                failed(at, Cause::Bounced { reply: reply.reply(), is_hard: *is_hard })
            }
            StoredState::NotSent { why } => RecipientState::NotSent { why: why.clone() },
        })
    }
}

impl StoredReply {
    fn new(reply: &Reply) -> StoredReply {
        let enhanced =
            reply.enhanced.map(|EnhancedCode(class, subject, detail)| (class, subject, detail));
        StoredReply { code: reply.code, enhanced, text: reply.text().to_owned() }
    }

    fn reply(&self) -> Reply {
        let enhanced =
            self.enhanced.map(|(class, subject, detail)| EnhancedCode(class, subject, detail));
        Reply::new(self.code, enhanced, &self.text)
    }
}

pub(super) fn upstream_name(text: &str) -> Result<UpstreamName, Corrupt> {
    UpstreamName::parse(text).ok_or_else(|| Corrupt::new("upstream name", text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_comes_back() {
        let upstream = UpstreamName::parse("provider").unwrap();
        let reply = Reply::new(250, EnhancedCode::parse("2.0.0"), "queued");
        let at = Timestamp::from_millis(5);
        let failed = |cause| RecipientState::Failed { at, cause };
        let states = vec![
            RecipientState::Held { hold: Hold::Until(at) },
            RecipientState::Held { hold: Hold::Manual },
            RecipientState::Due { at, rank: 2 },
            RecipientState::Claimed { at, rank: 1, upstream: upstream.clone() },
            RecipientState::Sent {
                at,
                upstream: upstream.clone(),
                reply: reply.clone(),
                digest: Digest::of(b"x"),
            },
            RecipientState::Stopped { at, by: "user anna".into() },
            failed(Cause::Refused { upstream: upstream.clone(), reply: reply.clone() }),
            failed(Cause::Unanswered { upstream, detail: "no route".into() }),
            failed(Cause::Bounced { reply: reply.clone(), is_hard: true }),
            failed(Cause::Expired { last_reply: Some(reply), detail: String::new() }),
            RecipientState::NotSent { why: "no upstream".into() },
        ];
        for state in states {
            let progress = Progress {
                state,
                attempts: 3,
                rounds: 2,
                first_due_at: at,
                possible_duplicate: true,
                crashes: 4,
                sent_at: None,
                delivered_at: None,
                parts: Vec::new(),
            };
            let one = StoredProgress::new(&progress, None, None);
            let states = StoredStates::new(vec![one], Vec::new(), Some(at), vec![(0, 7)]);
            let bytes = states.encode();
            let back = StoredStates::decode(&bytes).unwrap();
            assert_eq!(back.recipients[0].progress().unwrap(), progress);
            assert_eq!((back.valid_until(), back.sent_at), (Some(at), vec![(0, 7)]));
            // The second ended with the validity.
            let second = (&states.recipients, &states.receipts, states.valid_until);
            let back = StoredStates::decode(&postcard::to_extend(&second, vec![2]).unwrap());
            let back = back.unwrap();
            assert_eq!((back.valid_until(), back.sent_at), (Some(at), Vec::new()));
            // The first version ended with the recipients.
            let first = postcard::to_extend(&states.recipients, vec![1]).unwrap();
            let back = StoredStates::decode(&first).unwrap();
            assert_eq!(back.recipients[0].progress().unwrap(), progress);
            assert_eq!(back.valid_until(), None);
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        for bad in [&b""[..], &[9, 0], &[1], &[1, 255, 255, 255]] {
            assert!(StoredStates::decode(bad).is_err(), "{bad:?}");
        }
    }
}
