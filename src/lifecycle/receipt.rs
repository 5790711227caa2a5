//! What a provider's receipt makes of a recipient.
//!
//! Receipts come late, twice, out of order, and for one part of a message at a time. What is final
//! stays: the message arrived when all of its parts did, and failed when one of them is lost. An
//! attempt whose outcome was unknown is settled by a receipt, because it proves that the provider has
//! the message.

use crate::model::{
    Cause, Digest, EventKind, FailureReason, ReceiptState, RecipientState, Reply, Timestamp,
    UpstreamName,
};

use super::step::{Note, Progress, Refusal, Step, moved, refuse, standing};

/// Parts that are kept apart; no provider cuts a message into more.
const MAX_PARTS: usize = 255;
/// Longest id of a provider that is kept, in bytes.
const MAX_PROVIDER_ID_BYTES: usize = 200;
/// Longest code of a provider that is kept, in characters.
const MAX_CODE_CHARS: usize = 100;

/// A part of an SMS as its provider names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub provider_id: String,
    pub state: ReceiptState,
}

impl Part {
    /// The parts that a provider named when it took a message: clean, each once.
    pub(super) fn all(ids: &[String]) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::new();
        for id in ids.iter().filter(|id| is_clean(id)) {
            if parts.len() < MAX_PARTS && !parts.iter().any(|part| part.is(id)) {
                parts.push(Part { provider_id: id.clone(), state: ReceiptState::Underway });
            }
        }
        parts
    }

    /// Providers are not of one mind about the case of their hexadecimal ids.
    fn is(&self, id: &str) -> bool {
        self.provider_id.eq_ignore_ascii_case(id)
    }
}

fn is_clean(id: &str) -> bool {
    !id.is_empty() && id.len() <= MAX_PROVIDER_ID_BYTES && !id.chars().any(char::is_control)
}

/// What a receipt says.
#[derive(Clone, Copy, Debug)]
pub struct Receipt<'a> {
    pub upstream: &'a UpstreamName,
    /// The part; `None` when the provider speaks of the whole message.
    pub provider_id: Option<&'a str>,
    pub state: ReceiptState,
    pub reason: Option<FailureReason>,
    /// The provider's own.
    pub code: Option<&'a str>,
}

impl Progress {
    /// Whether the attempt that a receipt belongs to is still to be judged, or to be begun: then the
    /// receipt is to come again.
    pub fn is_early_for_receipts(&self) -> bool {
        match &self.state {
            RecipientState::Claimed { .. } => true,
            RecipientState::Held { .. } | RecipientState::Due { .. } => self.attempts == 0,
            RecipientState::Sent { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. } => false,
        }
    }
}

pub(super) fn receipt(
    progress: &Progress,
    now: Timestamp,
    receipt: &Receipt<'_>,
) -> Result<Step, Refusal> {
    match &progress.state {
        RecipientState::Sent { .. } => of_sent(progress, now, receipt),
        RecipientState::Failed { cause: Cause::Undelivered { .. }, .. } => {
            let (parts, _) = with_part(progress, receipt)?;
            Ok(Step { next: Progress { parts, ..progress.clone() }, note: None })
        }
        RecipientState::Held { .. } | RecipientState::Due { .. } if progress.possible_duplicate => {
            settle(progress, now, receipt)
        }
        RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => refuse(standing(&progress.state)),
    }
}

fn of_sent(progress: &Progress, now: Timestamp, receipt: &Receipt<'_>) -> Result<Step, Refusal> {
    if progress.delivered_at.is_some() {
        return refuse("it is known to have arrived".into());
    }
    let (parts, are_all_delivered) = with_part(progress, receipt)?;
    let changed = Progress { parts, ..progress.clone() };
    match receipt.state {
        ReceiptState::Underway => refuse(ON_ITS_WAY.into()),
        ReceiptState::Delivered if are_all_delivered => Ok(delivered(&changed, now, receipt)),
        ReceiptState::Delivered => Ok(Step { next: changed, note: None }),
        ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => {
            Ok(lost(&changed, now, receipt))
        }
    }
}

const ON_ITS_WAY: &str = "it is known to be on its way";

/// The parts after this receipt, and whether all of them have arrived; a refusal when it says nothing
/// new, or speaks of an attempt that is not the last one.
fn with_part(progress: &Progress, receipt: &Receipt<'_>) -> Result<(Vec<Part>, bool), Refusal> {
    if !receipt.state.is_final() {
        return refuse(ON_ITS_WAY.into());
    }
    let mut parts = progress.parts.clone();
    let chosen: Vec<&mut Part> = match receipt.provider_id {
        Some(id) if !parts.is_empty() => parts.iter_mut().filter(|part| part.is(id)).collect(),
        Some(_) | None => parts.iter_mut().collect(),
    };
    let (had_parts, mut changed) = (!progress.parts.is_empty(), 0);
    for part in chosen.into_iter().filter(|part| !part.state.is_final()) {
        (part.state, changed) = (receipt.state, changed + 1);
    }
    let is_failed = matches!(progress.state, RecipientState::Failed { .. });
    if changed == 0 && (had_parts || is_failed) {
        return refuse("the end of that part is known, or it is of another attempt".into());
    }
    let are_all_delivered = parts.iter().all(|part| part.state == ReceiptState::Delivered);
    Ok((parts, are_all_delivered))
}

/// The provider has what may or may not have reached it.
fn settle(progress: &Progress, now: Timestamp, receipt: &Receipt<'_>) -> Result<Step, Refusal> {
    // An id that is known is of an earlier attempt, whose end was judged when it was known.
    let is_known = |id: &str| progress.parts.iter().any(|part| part.is(id));
    if receipt.provider_id.is_some_and(is_known) {
        return refuse(standing(&progress.state));
    }
    let part = |id: &&str| Part { provider_id: (*id).to_owned(), state: receipt.state };
    let parts = receipt.provider_id.iter().filter(|id| is_clean(id)).map(part).collect();
    let settled = Progress { parts, ..progress.clone() };
    let reply = Reply::new(250, None, "a receipt shows that the provider took it");
    let sent = RecipientState::Sent {
        at: now,
        upstream: receipt.upstream.clone(),
        reply: reply.clone(),
        // Nobody saw the end of the attempt, so of the bytes nothing is proven.
        digest: Digest::of(b""),
    };
    match receipt.state {
        ReceiptState::Underway => {
            let note = Note {
                upstream: Some(receipt.upstream.clone()),
                reply: Some(reply),
                ..Note::of(EventKind::Sent)
            };
            Ok(moved(&settled, sent, Some(note)))
        }
        ReceiptState::Delivered => {
            Ok(delivered(&Progress { state: sent, ..settled }, now, receipt))
        }
        ReceiptState::Undelivered | ReceiptState::Expired | ReceiptState::Rejected => {
            Ok(lost(&settled, now, receipt))
        }
    }
}

fn delivered(progress: &Progress, now: Timestamp, receipt: &Receipt<'_>) -> Step {
    let note = Note { detail: words(receipt, None), ..Note::of(EventKind::Delivered) };
    Step { next: Progress { delivered_at: Some(now), ..progress.clone() }, note: Some(note) }
}

fn lost(progress: &Progress, now: Timestamp, receipt: &Receipt<'_>) -> Step {
    let reason = receipt.reason.unwrap_or(match receipt.state {
        ReceiptState::Expired => FailureReason::Expired,
        ReceiptState::Underway
        | ReceiptState::Delivered
        | ReceiptState::Undelivered
        | ReceiptState::Rejected => FailureReason::Unknown,
    });
    let cause = Cause::Undelivered {
        upstream: receipt.upstream.clone(),
        reason,
        code: receipt.code.map(clean).filter(|code| !code.is_empty()),
    };
    let note = Note { detail: words(receipt, Some(reason)), ..Note::of(EventKind::Failed) };
    moved(progress, RecipientState::Failed { at: now, cause }, Some(note))
}

/// The reason, the provider's code, and the part that it is about.
fn words(receipt: &Receipt<'_>, reason: Option<FailureReason>) -> Option<String> {
    let reason = reason.map(|reason| reason.as_str().to_owned());
    let code = receipt.code.map(clean).filter(|code| !code.is_empty());
    let code = code.map(|code| format!("code {code}"));
    let through = format!("through {}", receipt.upstream);
    let said: Vec<String> = [reason, code, Some(through)].into_iter().flatten().collect();
    Some(said.join(", "))
}

/// Without control characters, and not longer than a code is.
fn clean(code: &str) -> String {
    code.chars().filter(|c| !c.is_control()).take(MAX_CODE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Input, step};
    use crate::model::Hold;

    fn upstream() -> UpstreamName {
        UpstreamName::parse("provider").unwrap()
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn sent(parts: &[&str]) -> Progress {
        let ids: Vec<String> = parts.iter().map(ToString::to_string).collect();
        let state = RecipientState::Sent {
            at: at(1),
            upstream: upstream(),
            reply: Reply::new(250, None, "ok"),
            digest: Digest::of(b"x"),
        };
        Progress { attempts: 1, parts: Part::all(&ids), ..Progress::new(state, at(0)) }
    }

    fn unsure(state: RecipientState) -> Progress {
        Progress { attempts: 1, possible_duplicate: true, ..Progress::new(state, at(0)) }
    }

    fn tell(progress: &Progress, id: Option<&str>, state: ReceiptState) -> Option<Step> {
        let provider = upstream();
        let receipt =
            Receipt { upstream: &provider, provider_id: id, state, reason: None, code: Some("9") };
        step(progress, at(9), &Input::Receipt(receipt)).ok()
    }

    /// Tells receipts one after another; gives the events, and where it ends.
    fn story(
        mut progress: Progress,
        receipts: &[(Option<&str>, ReceiptState)],
    ) -> (Vec<EventKind>, Progress) {
        let mut kinds = Vec::new();
        for (id, state) in receipts {
            if let Some(step) = tell(&progress, *id, *state) {
                kinds.extend(step.note.map(|note| note.kind));
                progress = step.next;
            }
        }
        (kinds, progress)
    }

    #[test]
    fn what_is_final_is_never_left() {
        use ReceiptState::*;
        let all = [Underway, Delivered, Undelivered, Expired, Rejected];
        for first in all.into_iter().filter(|state| state.is_final()) {
            let (kinds, end) = story(sent(&["a"]), &[(Some("a"), first)]);
            assert_eq!(kinds.len(), 1);
            for then in all {
                for id in [None, Some("a"), Some("A"), Some("b")] {
                    assert!(tell(&end, id, then).is_none(), "{first:?} {then:?} {id:?}");
                }
            }
        }
    }

    #[test]
    fn receipts_before_the_judgement_and_of_what_was_not_sent_change_nothing() {
        use ReceiptState::*;
        let states = [
            RecipientState::Held { hold: Hold::Manual },
            RecipientState::Due { at: at(1), rank: 0 },
            RecipientState::Claimed { at: at(1), rank: 0, upstream: upstream() },
            RecipientState::Stopped { at: at(1), by: "anna".into() },
            RecipientState::NotSent { why: "no upstream".into() },
            RecipientState::Failed {
                at: at(1),
                cause: Cause::Expired { last_reply: None, detail: String::new() },
            },
        ];
        for (index, state) in states.into_iter().enumerate() {
            let progress = Progress::new(state, at(0));
            for state in [Underway, Delivered, Undelivered, Expired, Rejected] {
                assert!(tell(&progress, Some("a"), state).is_none());
            }
            assert_eq!(progress.is_early_for_receipts(), index < 3);
        }
    }

    #[test]
    fn a_message_arrived_when_all_of_its_parts_did() {
        use ReceiptState::*;
        let (kinds, half) = story(
            sent(&["a", "b"]),
            &[(Some("A"), Delivered), (Some("a"), Delivered), (Some("b"), Underway)],
        );
        assert_eq!((kinds, half.delivered_at), (vec![], None));
        let (kinds, whole) = story(half, &[(Some("b"), Delivered)]);
        assert_eq!((kinds, whole.delivered_at), (vec![EventKind::Delivered], Some(at(9))));
        for whole in [sent(&[]), sent(&["a", "b"])] {
            let (kinds, end) = story(whole, &[(None, Delivered), (None, Delivered)]);
            assert_eq!((kinds, end.delivered_at), (vec![EventKind::Delivered], Some(at(9))));
        }
    }

    #[test]
    fn one_lost_part_fails_the_message_and_the_others_are_still_noted() {
        use ReceiptState::*;
        let (kinds, end) = story(
            sent(&["a", "b", "c"]),
            &[(Some("a"), Delivered), (Some("b"), Expired), (Some("c"), Delivered)],
        );
        assert_eq!(kinds, [EventKind::Failed]);
        let states: Vec<ReceiptState> = end.parts.iter().map(|part| part.state).collect();
        assert_eq!(states, [Delivered, Expired, Delivered]);
        let RecipientState::Failed { cause: Cause::Undelivered { reason, code, .. }, .. } =
            end.state
        else {
            panic!("{:?}", end.state)
        };
        assert_eq!((reason, code.as_deref()), (FailureReason::Expired, Some("9")));
    }

    #[test]
    fn a_receipt_settles_what_was_unknown() {
        use ReceiptState::*;
        let held = unsure(RecipientState::Held { hold: Hold::Manual });
        let due = unsure(RecipientState::Due { at: at(50), rank: 0 });
        for progress in [held, due] {
            let (kinds, end) = story(progress.clone(), &[(Some("a"), Underway)]);
            assert_eq!((kinds, end.delivered_at), (vec![EventKind::Sent], None));
            let (kinds, end) = story(end, &[(Some("a"), Delivered)]);
            assert_eq!((kinds, end.delivered_at), (vec![EventKind::Delivered], Some(at(9))));
            let (kinds, end) = story(progress.clone(), &[(None, Delivered), (None, Rejected)]);
            assert_eq!((kinds, end.delivered_at), (vec![EventKind::Delivered], Some(at(9))));
            let (kinds, end) = story(progress, &[(Some("a"), Rejected), (Some("a"), Rejected)]);
            assert_eq!(kinds, [EventKind::Failed]);
            // Somebody tries it again; the old receipt comes once more.
            let again = step(&end, at(10), &Input::Restart).unwrap().next;
            assert!(tell(&again, Some("a"), Rejected).is_none());
        }
    }

    #[test]
    fn ids_of_a_provider_are_clean_and_told_apart_without_case() {
        let long = "x".repeat(201);
        let ids: Vec<String> =
            ["a", "A", "", "b\n", &long, "b"].iter().map(ToString::to_string).collect();
        let parts = Part::all(&ids);
        assert_eq!(parts.iter().map(|p| p.provider_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let many: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        assert_eq!(Part::all(&many).len(), MAX_PARTS);
    }
}
