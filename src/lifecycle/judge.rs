//! What the outcome of an attempt makes of its recipient: the one place where delivery trouble is
//! judged.
//!
//! Temporary is the default. Only a 5yz for this recipient or this message, or a message that can
//! not be carried, is permanent; trouble of a session or of an upstream never fails a message.

use crate::model::UpstreamName;
use crate::model::{Cause, EventKind, Hold, Outcome, RecipientState, Reply, Scope, Timestamp};

use super::receipt::Part;
use super::retry::RetrySchedule;
use super::step::{Note, Progress, Refusal, Step, moved, refuse};

/// The detail of `sent` where the sender is still to be told of it.
pub const OWES_REPORT: &str =
    "the upstream gives no delivery reports; the sender is told that it was handed on";

/// The claim whose attempt ended.
pub(super) struct Claim {
    pub rank: u8,
    pub upstream: UpstreamName,
}

impl Claim {
    pub(super) fn of(progress: &Progress) -> Result<Claim, Refusal> {
        match &progress.state {
            RecipientState::Claimed { rank, upstream, .. } => {
                Ok(Claim { rank: *rank, upstream: upstream.clone() })
            }
            RecipientState::Held { .. }
            | RecipientState::Due { .. }
            | RecipientState::Sent { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. } => refuse("it is not claimed".into()),
        }
    }
}

/// What the judgement depends on beside the outcome.
pub(super) struct Rules<'a> {
    pub schedule: &'a RetrySchedule,
    pub hold_unknown: bool,
    pub is_last_upstream: bool,
}

pub(super) fn judge(
    progress: &Progress,
    claim: &Claim,
    now: Timestamp,
    outcome: &Outcome,
    rules: &Rules<'_>,
) -> Step {
    let tried = Progress { attempts: progress.attempts.saturating_add(1), ..progress.clone() };
    let upstream = claim.upstream.clone();
    let note = |kind, reply: &Option<Reply>, detail: &str| Note {
        upstream: Some(claim.upstream.clone()),
        reply: reply.clone(),
        detail: (!detail.is_empty()).then(|| detail.to_owned()),
        ..Note::of(kind)
    };
    match outcome {
        Outcome::Sent { reply, digest, parts, owes_report } => {
            let tried = Progress { parts: Part::all(parts), delivered_at: None, ..tried };
            let detail = if *owes_report { OWES_REPORT } else { "" };
            let sent = note(EventKind::Sent, &Some(reply.clone()), detail);
            let state =
                RecipientState::Sent { at: now, upstream, reply: reply.clone(), digest: *digest };
            moved(&tried, state, Some(Note { digest: Some(*digest), ..sent }))
        }
        // Nobody refused it: this upstream can not carry it. Another one may.
        Outcome::Permanent { scope: Scope::Recipient | Scope::Message, reply: None, detail }
            if !rules.is_last_upstream =>
        {
            let state = RecipientState::Due { at: now, rank: claim.rank.saturating_add(1) };
            moved(&tried, state, Some(note(EventKind::Deferred, &None, detail)))
        }
        Outcome::Permanent { scope: Scope::Recipient | Scope::Message, reply, detail } => {
            let cause = match reply.clone() {
                Some(reply) => Cause::Refused { upstream, reply },
                None => Cause::Unanswered { upstream, detail: detail.clone() },
            };
            let state = RecipientState::Failed { at: now, cause };
            moved(&tried, state, Some(note(EventKind::Failed, reply, detail)))
        }
        Outcome::Rejected { reply, reason } => {
            let code = Some(reply.text().to_owned());
            let failed = note(EventKind::Failed, &Some(reply.clone()), reason.as_str());
            let cause = Cause::Undelivered { upstream, reason: *reason, code };
            moved(&tried, RecipientState::Failed { at: now, cause }, Some(failed))
        }
        Outcome::Temporary { reply, detail, .. }
        | Outcome::Permanent { scope: Scope::Session | Scope::Upstream, reply, detail } => {
            let deferred = note(EventKind::Deferred, reply, detail);
            if !rules.is_last_upstream {
                let state = RecipientState::Due { at: now, rank: claim.rank.saturating_add(1) };
                return moved(&tried, state, Some(deferred));
            }
            again(&tried, now, rules, deferred)
        }
        Outcome::Unknown { detail } => {
            let unsure = Progress { possible_duplicate: true, ..tried };
            let detail = format!("outcome unknown: {detail}");
            let attempted = note(EventKind::Attempted, &None, &detail);
            if rules.hold_unknown {
                let state = RecipientState::Held { hold: Hold::Manual };
                return moved(&unsure, state, Some(attempted));
            }
            again(&unsure, now, rules, attempted)
        }
    }
}

/// Another round after a wait, or the end when it has become too old.
fn again(tried: &Progress, now: Timestamp, rules: &Rules<'_>, note: Note) -> Step {
    let rounds = tried.rounds.saturating_add(1);
    let tried = Progress { rounds, ..tried.clone() };
    if rules.schedule.is_expired(tried.first_due_at, now, rounds) {
        let detail = note.detail.clone().unwrap_or_default();
        let cause = Cause::Expired { last_reply: note.reply.clone(), detail };
        let state = RecipientState::Failed { at: now, cause };
        return moved(&tried, state, Some(Note { kind: EventKind::Expired, ..note }));
    }
    let at = now.plus(rules.schedule.wait_after(rounds));
    moved(&tried, RecipientState::Due { at, rank: 0 }, Some(note))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Digest;

    fn upstream() -> UpstreamName {
        UpstreamName::parse("provider").unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn claimed(rounds: u32) -> Progress {
        let state = RecipientState::Claimed { at: at(0), rank: 0, upstream: upstream() };
        Progress { attempts: rounds, rounds, ..Progress::new(state, at(0)) }
    }

    fn temporary(scope: Scope) -> Outcome {
        Outcome::Temporary {
            scope,
            reply: Some(Reply::new(450, None, "busy")),
            detail: "busy".into(),
        }
    }

    fn judged(
        progress: &Progress,
        now: Timestamp,
        outcome: &Outcome,
        last: bool,
        hold: bool,
    ) -> Step {
        let schedule = RetrySchedule::default();
        let rules = Rules { schedule: &schedule, hold_unknown: hold, is_last_upstream: last };
        judge(progress, &Claim::of(progress).unwrap(), now, outcome, &rules)
    }

    #[test]
    fn temporary_trouble_tries_the_next_upstream_at_once_and_then_waits() {
        let next = judged(&claimed(0), at(10), &temporary(Scope::Upstream), false, false).next;
        assert_eq!(next.state, RecipientState::Due { at: at(10), rank: 1 });
        assert_eq!((next.attempts, next.rounds), (1, 0));
        let next = judged(&claimed(0), at(10), &temporary(Scope::Recipient), true, false).next;
        assert_eq!(next.state, RecipientState::Due { at: at(70), rank: 0 });
        assert_eq!((next.attempts, next.rounds), (1, 1));
    }

    #[test]
    fn what_one_upstream_can_not_carry_another_may() {
        let outcome = Outcome::Permanent {
            scope: Scope::Message,
            reply: None,
            detail: "5.6.3 no 8BITMIME".into(),
        };
        let next = judged(&claimed(0), at(10), &outcome, false, false).next;
        assert_eq!(next.state, RecipientState::Due { at: at(10), rank: 1 });
        let next = judged(&claimed(0), at(10), &outcome, true, false).next;
        assert!(matches!(next.state, RecipientState::Failed { .. }));
    }

    #[test]
    fn trouble_of_an_upstream_never_fails_a_message() {
        for scope in [Scope::Session, Scope::Upstream] {
            let outcome = Outcome::Permanent { scope, reply: None, detail: "no AUTH".into() };
            let step = judged(&claimed(0), at(10), &outcome, true, false);
            assert_eq!(step.note.unwrap().kind, EventKind::Deferred);
            assert!(matches!(step.next.state, RecipientState::Due { .. }));
        }
    }

    #[test]
    fn age_and_rounds_together_end_it() {
        let old = RetrySchedule::default().expire + Duration::from_secs(1);
        let late = at(0).plus(old);
        let step = judged(&claimed(1), late, &temporary(Scope::Message), true, false);
        assert!(matches!(step.next.state, RecipientState::Due { .. }));
        let step = judged(&claimed(2), late, &temporary(Scope::Message), true, false);
        assert_eq!(step.note.unwrap().kind, EventKind::Expired);
        let RecipientState::Failed { cause: Cause::Expired { last_reply, .. }, .. } =
            step.next.state
        else {
            panic!("not expired")
        };
        assert_eq!(last_reply.unwrap().code, 450);
    }

    #[test]
    fn an_unknown_outcome_is_flagged_and_retried_or_held() {
        let unknown = Outcome::Unknown { detail: "the connection was lost".into() };
        let step = judged(&claimed(0), at(10), &unknown, false, false);
        assert!(step.next.possible_duplicate);
        assert_eq!(step.next.state, RecipientState::Due { at: at(70), rank: 0 });
        let step = judged(&claimed(0), at(10), &unknown, false, true);
        assert_eq!(step.next.state, RecipientState::Held { hold: Hold::Manual });
        assert_eq!(step.note.unwrap().kind, EventKind::Attempted);
    }

    #[test]
    fn what_was_sent_keeps_its_proof() {
        let sent = Outcome::Sent {
            reply: Reply::new(250, None, "ok"),
            digest: Digest::of(b"x"),
            parts: Vec::new(),
            owes_report: false,
        };
        let step = judged(&claimed(0), at(10), &sent, true, false);
        assert_eq!(step.note.unwrap().digest, Some(Digest::of(b"x")));
        assert_eq!(step.next.attempts, 1);
    }
}
