//! The stored states of a message's recipients: one record a message, one entry a recipient.

use serde::{Deserialize, Serialize};

use crate::lifecycle::Progress;
use crate::model::UpstreamName;
use crate::model::{
    Cause, Digest, EnhancedCode, FailureReason, Hold, RecipientState, Reply, Timestamp,
};

use super::{Corrupt, Record};

/// All recipients of one message, in the order of its envelope.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredStates(pub Vec<StoredProgress>);

impl Record for StoredStates {
    const KIND: &'static str = "recipient state";
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

    pub(in crate::archive) fn progress(&self) -> Result<Progress, Corrupt> {
        Ok(Progress {
            state: self.state.state()?,
            attempts: self.attempts,
            rounds: self.rounds,
            first_due_at: Timestamp::from_millis(self.first_due_at),
            possible_duplicate: self.possible_duplicate,
            crashes: self.crashes,
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
            };
            let bytes = StoredStates(vec![StoredProgress::new(&progress, None, None)]).encode();
            let back = StoredStates::decode(&bytes).unwrap();
            assert_eq!(back.0[0].progress().unwrap(), progress);
        }
    }

    #[test]
    fn what_is_damaged_is_refused() {
        for bad in [&b""[..], &[9, 0], &[1], &[1, 255, 255, 255]] {
            assert!(StoredStates::decode(bad).is_err(), "{bad:?}");
        }
    }
}
