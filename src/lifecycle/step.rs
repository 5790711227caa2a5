//! One transition of one recipient.
//!
//! Takes where the recipient stands and what happens; gives the next state with the event that tells
//! it, or a refusal that says in words why it is too late or does not apply.

use crate::model::{
    Cause, Digest, EventKind, Hold, Outcome, RecipientState, Reply, Timestamp, UpstreamName,
};

use super::judge;
use super::mail_report::{self, MailNews};
use super::receipt::{self, Part, Receipt};
use super::retry::RetrySchedule;

/// Where a recipient stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    pub state: RecipientState,
    /// Tries at any upstream.
    pub attempts: u32,
    /// Times that all upstreams of the route failed it; the ladder of waits counts these.
    pub rounds: u32,
    /// When it could first leave; the expiry counts from here.
    pub first_due_at: Timestamp,
    /// An attempt ended with an unknown outcome, so it may arrive twice.
    pub possible_duplicate: bool,
    /// Times in a row that the daemon ended while it was claimed.
    pub crashes: u32,
    /// When an upstream took what did not arrive after all.
    pub sent_at: Option<Timestamp>,
    /// A receipt said that all of it arrived.
    pub delivered_at: Option<Timestamp>,
    /// What the provider of the last attempt that one took tells apart.
    pub parts: Vec<Part>,
}

impl Progress {
    /// A recipient of which nothing is known but where it stands.
    pub fn new(state: RecipientState, first_due_at: Timestamp) -> Progress {
        Progress {
            state,
            attempts: 0,
            rounds: 0,
            first_due_at,
            possible_duplicate: false,
            crashes: 0,
            sent_at: None,
            delivered_at: None,
            parts: Vec::new(),
        }
    }

    /// When an upstream took it, whether or not it came back since.
    pub fn sent_at(&self) -> Option<Timestamp> {
        match &self.state {
            RecipientState::Sent { at, .. } => Some(*at),
            RecipientState::Held { .. }
            | RecipientState::Due { .. }
            | RecipientState::Claimed { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. } => self.sent_at,
        }
    }
}

/// A recipient whose attempts end the daemon so often in a row is kept for a person: it may be the
/// message that does it, and the others must go on. More than a few, because a machine that is cut
/// off again and again is no reason to doubt what happened to be under way.
const MAX_CRASHES: u32 = 5;

/// What happens to a recipient.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// The queue wants to send it now through this upstream, the `rank`-th of its route.
    Claim {
        upstream: &'a UpstreamName,
        rank: u8,
    },
    /// An attempt ended. `is_last_upstream`: the route has none after it.
    Judge {
        outcome: &'a Outcome,
        is_last_upstream: bool,
        schedule: &'a RetrySchedule,
        hold_unknown: bool,
    },
    /// A claim is given back before anything was sent.
    Return,
    /// The daemon stopped while an attempt was under way.
    Recover {
        schedule: &'a RetrySchedule,
        hold_unknown: bool,
    },
    /// The clock may have gone back: nothing waits longer from now than the ladder says.
    ClockWentBack {
        schedule: &'a RetrySchedule,
    },
    Stop {
        by: &'a str,
    },
    Restart,
    Release,
    /// A provider reports.
    Receipt(Receipt<'a>),
    /// A report came back by mail.
    MailReport(MailNews<'a>),
    /// The validity that the client asked for is over.
    Expire,
    /// The recipient must not be written to; says why.
    LeaveOut {
        why: &'a str,
    },
}

/// What a transition tells the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub kind: EventKind,
    pub upstream: Option<UpstreamName>,
    pub reply: Option<Reply>,
    pub detail: Option<String>,
    pub digest: Option<Digest>,
    /// Whether a machine was taken to do it; `None` for what is neither an open nor a click.
    pub automated: Option<bool>,
}

impl Note {
    /// A note with nothing beside its kind.
    pub fn of(kind: EventKind) -> Note {
        Note { kind, upstream: None, reply: None, detail: None, digest: None, automated: None }
    }
}

/// A granted transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub next: Progress,
    pub note: Option<Note>,
}

/// Why nothing changes; one sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub String);

/// Decides one transition at `now`.
pub fn step(progress: &Progress, now: Timestamp, input: &Input<'_>) -> Result<Step, Refusal> {
    match input {
        Input::Claim { upstream, rank } => claim(progress, now, upstream, *rank),
        Input::Judge { outcome, is_last_upstream, schedule, hold_unknown } => {
            let claim = judge::Claim::of(progress)?;
            let rules = judge::Rules {
                schedule,
                hold_unknown: *hold_unknown,
                is_last_upstream: *is_last_upstream,
            };
            let alive = Progress { crashes: 0, ..progress.clone() };
            Ok(judge::judge(&alive, &claim, now, outcome, &rules))
        }
        Input::Return => {
            let claim = judge::Claim::of(progress)?;
            let state = RecipientState::Due { at: now, rank: claim.rank };
            Ok(moved(progress, state, None))
        }
        Input::Recover { schedule, hold_unknown } => {
            let claim = judge::Claim::of(progress)?;
            let detail = "the daemon stopped while the attempt was under way";
            let crashed =
                Progress { crashes: progress.crashes.saturating_add(1), ..progress.clone() };
            let hold_unknown = *hold_unknown || crashed.crashes >= MAX_CRASHES;
            let rules = judge::Rules { schedule, hold_unknown, is_last_upstream: true };
            let outcome = Outcome::Unknown { detail: detail.into() };
            Ok(judge::judge(&crashed, &claim, now, &outcome, &rules))
        }
        Input::ClockWentBack { schedule } => shorten_wait(progress, now, schedule),
        Input::Stop { by } => stop(progress, now, by),
        Input::Restart => restart(progress, now),
        Input::Release => release(progress, now),
        Input::Receipt(said) => receipt::receipt(progress, now, said),
        Input::MailReport(news) => mail_report::mail_report(progress, now, news),
        Input::Expire => expire(progress, now),
        Input::LeaveOut { why } => leave_out(progress, why),
    }
}

fn claim(
    progress: &Progress,
    now: Timestamp,
    upstream: &UpstreamName,
    rank: u8,
) -> Result<Step, Refusal> {
    let not_yet = |at| refuse(format!("it is not due before {at}"));
    let note = match &progress.state {
        RecipientState::Due { at, .. } if *at > now => return not_yet(*at),
        RecipientState::Held { hold: Hold::Until(at) } if *at > now => return not_yet(*at),
        RecipientState::Due { .. } => None,
        RecipientState::Held { hold: Hold::Until(_) } => Some(Note {
            detail: Some("the hold time is over".into()),
            ..Note::of(EventKind::Released)
        }),
        RecipientState::Held { hold: Hold::Manual } => {
            return refuse("it is held until somebody releases it".into());
        }
        RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => return refuse(standing(&progress.state)),
    };
    let state = RecipientState::Claimed { at: now, rank, upstream: upstream.clone() };
    Ok(moved(progress, state, note))
}

/// Only of a retry: what is held has its time from a person, who may have meant that very moment.
fn shorten_wait(
    progress: &Progress,
    now: Timestamp,
    schedule: &RetrySchedule,
) -> Result<Step, Refusal> {
    let latest = match progress.rounds {
        0 => now,
        rounds => now.plus(schedule.wait_after(rounds)),
    };
    match &progress.state {
        RecipientState::Due { at, rank } if *at > latest => {
            let first_due_at = progress.first_due_at.min(now);
            let state = RecipientState::Due { at: latest, rank: *rank };
            Ok(moved(&Progress { first_due_at, ..progress.clone() }, state, None))
        }
        RecipientState::Due { at, .. } => {
            refuse(format!("it is due at {at}, which is soon enough"))
        }
        RecipientState::Held { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => refuse(standing(&progress.state)),
    }
}

fn stop(progress: &Progress, now: Timestamp, by: &str) -> Result<Step, Refusal> {
    match &progress.state {
        RecipientState::Held { .. } | RecipientState::Due { .. } => {
            let state = RecipientState::Stopped { at: now, by: by.to_owned() };
            Ok(moved(progress, state, Some(Note::of(EventKind::Stopped))))
        }
        RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => refuse(standing(&progress.state)),
    }
}

/// A restarted recipient starts anew: its waits and its expiry count from now.
fn restart(progress: &Progress, now: Timestamp) -> Result<Step, Refusal> {
    match &progress.state {
        RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => {
            let (rounds, crashes, sent_at) = (0, 0, None);
            let fresh =
                Progress { rounds, crashes, sent_at, first_due_at: now, ..progress.clone() };
            let state = RecipientState::Due { at: now, rank: 0 };
            Ok(moved(&fresh, state, Some(Note::of(EventKind::Restarted))))
        }
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. } => refuse(standing(&progress.state)),
    }
}

fn release(progress: &Progress, now: Timestamp) -> Result<Step, Refusal> {
    match &progress.state {
        RecipientState::Held { .. } => {
            let fresh = Progress { crashes: 0, first_due_at: now, ..progress.clone() };
            let state = RecipientState::Due { at: now, rank: 0 };
            Ok(moved(&fresh, state, Some(Note::of(EventKind::Released))))
        }
        RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => refuse(standing(&progress.state)),
    }
}

/// Only what waits: an attempt that is under way is judged first.
fn expire(progress: &Progress, now: Timestamp) -> Result<Step, Refusal> {
    match &progress.state {
        RecipientState::Held { .. } | RecipientState::Due { .. } => {
            let detail = "its validity was over before it was sent".to_owned();
            let note = Note { detail: Some(detail.clone()), ..Note::of(EventKind::Expired) };
            let cause = Cause::Expired { last_reply: None, detail };
            Ok(moved(progress, RecipientState::Failed { at: now, cause }, Some(note)))
        }
        RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => refuse(standing(&progress.state)),
    }
}

/// Only what waits; a person may restart it, and then it goes.
fn leave_out(progress: &Progress, why: &str) -> Result<Step, Refusal> {
    match &progress.state {
        RecipientState::Held { .. } | RecipientState::Due { .. } => {
            let note = Note { detail: Some(why.to_owned()), ..Note::of(EventKind::Suppressed) };
            Ok(moved(progress, RecipientState::NotSent { why: why.to_owned() }, Some(note)))
        }
        RecipientState::Claimed { .. }
        | RecipientState::Sent { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => refuse(standing(&progress.state)),
    }
}

/// Where it stands, in words that explain a refusal.
pub(super) fn standing(state: &RecipientState) -> String {
    match state {
        RecipientState::Held { .. } => "it is held and was not sent yet".into(),
        RecipientState::Due { .. } => "it is waiting to be sent and is not held".into(),
        RecipientState::Claimed { upstream, .. } => {
            format!("it is being sent through {upstream} right now")
        }
        RecipientState::Sent { at, upstream, .. } => {
            format!("it was sent through {upstream} at {at}")
        }
        RecipientState::Stopped { at, .. } => format!("it was stopped at {at}"),
        RecipientState::Failed { at, .. } => format!("it failed at {at}"),
        RecipientState::NotSent { why } => format!("it was never in the queue: {why}"),
    }
}

pub(super) fn moved(progress: &Progress, state: RecipientState, note: Option<Note>) -> Step {
    let sent_at = progress.sent_at();
    Step { next: Progress { state, sent_at, ..progress.clone() }, note }
}

pub(super) fn refuse<T>(why: String) -> Result<T, Refusal> {
    Err(Refusal(why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FailureReason, ReceiptState, Scope};

    const NOW: i64 = 1_000_000;

    fn upstream() -> UpstreamName {
        UpstreamName::parse("provider").unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn progress(state: RecipientState) -> Progress {
        Progress::new(state, at(0))
    }

    /// One of each state, named as in the table of this room.
    fn states() -> Vec<(&'static str, RecipientState)> {
        let reply = Reply::new(250, None, "ok");
        vec![
            ("held", RecipientState::Held { hold: Hold::Until(at(NOW + 1)) }),
            ("held over", RecipientState::Held { hold: Hold::Until(at(NOW)) }),
            ("held by hand", RecipientState::Held { hold: Hold::Manual }),
            ("due later", RecipientState::Due { at: at(NOW + 1), rank: 0 }),
            ("due", RecipientState::Due { at: at(NOW), rank: 1 }),
            ("claimed", RecipientState::Claimed { at: at(NOW), rank: 1, upstream: upstream() }),
            (
                "sent",
                RecipientState::Sent {
                    at: at(1),
                    upstream: upstream(),
                    reply,
                    digest: Digest::of(b""),
                },
            ),
            ("stopped", RecipientState::Stopped { at: at(1), by: "anna".into() }),
            (
                "failed",
                RecipientState::Failed {
                    at: at(1),
                    cause: Cause::Unanswered { upstream: upstream(), detail: String::new() },
                },
            ),
            ("not sent", RecipientState::NotSent { why: "no upstream".into() }),
        ]
    }

    fn name(state: &RecipientState) -> &'static str {
        match state {
            RecipientState::Held { .. } => "held",
            RecipientState::Due { .. } => "due",
            RecipientState::Claimed { .. } => "claimed",
            RecipientState::Sent { .. } => "sent",
            RecipientState::Stopped { .. } => "stopped",
            RecipientState::Failed { .. } => "failed",
            RecipientState::NotSent { .. } => "not sent",
        }
    }

    /// Every state against one input: which ones move, and to where. All others must refuse.
    fn check(input: Input<'_>, moves: &[(&str, &str)]) {
        for (label, state) in states() {
            let expected = moves.iter().find(|(from, _)| *from == label).map(|(_, to)| *to);
            let found = step(&progress(state), at(NOW), &input);
            assert_eq!(
                found.as_ref().ok().map(|s| name(&s.next.state)),
                expected,
                "{label} {input:?}"
            );
            if let Err(refusal) = found {
                assert!(!refusal.0.is_empty());
            }
        }
    }

    #[test]
    fn the_table_of_transitions() {
        let schedule = RetrySchedule::default();
        let (provider, unknown) = (upstream(), Outcome::Unknown { detail: "cut".into() });
        let judge = |outcome| Input::Judge {
            outcome,
            is_last_upstream: true,
            schedule: &schedule,
            hold_unknown: false,
        };
        check(
            Input::Claim { upstream: &provider, rank: 0 },
            &[("held over", "claimed"), ("due", "claimed")],
        );
        let stopped = ["held", "held over", "held by hand", "due later", "due"];
        check(Input::Stop { by: "anna" }, &stopped.map(|from| (from, "stopped")));
        check(Input::Restart, &["stopped", "failed", "not sent"].map(|from| (from, "due")));
        check(Input::Release, &["held", "held over", "held by hand"].map(|from| (from, "due")));
        check(Input::Return, &[("claimed", "due")]);
        check(Input::ClockWentBack { schedule: &schedule }, &[("due later", "due")]);
        check(Input::Recover { schedule: &schedule, hold_unknown: true }, &[("claimed", "held")]);
        check(Input::Recover { schedule: &schedule, hold_unknown: false }, &[("claimed", "due")]);
        check(judge(&unknown), &[("claimed", "due")]);
        let sent = Outcome::Sent {
            reply: Reply::new(250, None, "ok"),
            digest: Digest::of(b""),
            parts: Vec::new(),
            owes_report: false,
        };
        check(judge(&sent), &[("claimed", "sent")]);
        let refused = Outcome::Permanent {
            scope: Scope::Recipient,
            reply: Some(Reply::new(550, None, "no")),
            detail: String::new(),
        };
        check(judge(&refused), &[("claimed", "failed")]);
        check(Input::Expire, &stopped.map(|from| (from, "failed")));
        check(Input::LeaveOut { why: "bounce" }, &stopped.map(|from| (from, "not sent")));
        let told = |state| {
            let (reason, code) = (Some(FailureReason::Barred), Some("4"));
            Input::Receipt(Receipt { upstream: &provider, provider_id: None, state, reason, code })
        };
        check(told(ReceiptState::Underway), &[]);
        check(told(ReceiptState::Delivered), &[("sent", "sent")]);
        for lost in [ReceiptState::Undelivered, ReceiptState::Expired, ReceiptState::Rejected] {
            check(told(lost), &[("sent", "failed")]);
        }
    }

    #[test]
    fn what_ends_the_daemon_again_and_again_is_kept_for_a_person() {
        let schedule = RetrySchedule::default();
        let recover = Input::Recover { schedule: &schedule, hold_unknown: false };
        let claimed = RecipientState::Claimed { at: at(0), rank: 0, upstream: upstream() };
        let mut recipient = progress(claimed.clone());
        for crash in 1..=MAX_CRASHES {
            let next = step(&recipient, at(NOW), &recover).unwrap().next;
            let is_held = matches!(next.state, RecipientState::Held { hold: Hold::Manual });
            assert_eq!(is_held, crash == MAX_CRASHES);
            recipient = Progress { state: claimed.clone(), ..next };
        }
    }

    #[test]
    fn a_restart_counts_its_age_from_now() {
        let mut old = progress(RecipientState::Stopped { at: at(1), by: "anna".into() });
        (old.rounds, old.attempts) = (7, 9);
        let next = step(&old, at(NOW), &Input::Restart).unwrap().next;
        assert_eq!((next.rounds, next.attempts, next.first_due_at), (0, 9, at(NOW)));
    }

    #[test]
    fn a_hold_that_is_over_says_so() {
        let held = progress(RecipientState::Held { hold: Hold::Until(at(5)) });
        let provider = upstream();
        let claim = Input::Claim { upstream: &provider, rank: 0 };
        let step = step(&held, at(NOW), &claim).unwrap();
        assert_eq!(step.note.map(|n| n.kind), Some(EventKind::Released));
    }
}
