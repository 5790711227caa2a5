//! What a report that came back by mail makes of a recipient: a bounce, a delay, a delivery, a read
//! receipt, a complaint.
//!
//! Reports come late and in any order. A bounce ends what was sent, unless it is known to have
//! arrived and nothing proves the bounce; an arrival counts only when it is proven. What the upstream took only perhaps is settled by it. Everything else that is said of a
//! recipient that left at least once is told in its history and moves nothing.

use crate::model::{Cause, Digest, EventKind, RecipientState, Reply, Timestamp, UpstreamName};

use super::step::{Note, Progress, Refusal, Step, moved, refuse, standing};

/// Which kind of report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailReportKind {
    /// It was not delivered. `is_hard`: the address does not work and will not.
    Failed {
        is_hard: bool,
    },
    /// Still being tried over there.
    Delayed,
    Delivered,
    /// The reader's program showed it (RFC 8098).
    Displayed,
    Complained,
}

impl MailReportKind {
    /// The event that tells it.
    pub fn event(self) -> EventKind {
        match self {
            MailReportKind::Failed { .. } => EventKind::Bounced,
            MailReportKind::Delayed => EventKind::Deferred,
            MailReportKind::Delivered => EventKind::Delivered,
            MailReportKind::Displayed => EventKind::Read,
            MailReportKind::Complained => EventKind::Complained,
        }
    }
}

/// What a report says of one recipient.
#[derive(Clone, Copy, Debug)]
pub struct MailNews<'a> {
    pub kind: MailReportKind,
    /// What the other side said, in the form of a reply.
    pub reply: &'a Reply,
    /// In words, for the history.
    pub detail: &'a str,
    /// The upstream of the last attempt.
    pub upstream: Option<&'a UpstreamName>,
    /// Of the report's bytes.
    pub digest: Digest,
    /// Somebody says it who must know it; anybody else may only have read of the message.
    pub is_proven: bool,
}

pub(super) fn mail_report(
    progress: &Progress,
    now: Timestamp,
    news: &MailNews<'_>,
) -> Result<Step, Refusal> {
    if progress.attempts == 0 || matches!(progress.state, RecipientState::Claimed { .. }) {
        return refuse(standing(&progress.state));
    }
    match news.kind {
        MailReportKind::Failed { is_hard } => bounced(progress, now, news, is_hard),
        MailReportKind::Delivered => delivered(progress, now, news),
        MailReportKind::Delayed => match &progress.state {
            RecipientState::Sent { .. } if progress.delivered_at.is_none() => told(progress, news),
            RecipientState::Sent { .. }
            | RecipientState::Held { .. }
            | RecipientState::Due { .. }
            | RecipientState::Claimed { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. } => refuse(standing(&progress.state)),
        },
        MailReportKind::Displayed | MailReportKind::Complained => told(progress, news),
    }
}

fn bounced(
    progress: &Progress,
    now: Timestamp,
    news: &MailNews<'_>,
    is_hard: bool,
) -> Result<Step, Refusal> {
    let cause = Cause::Bounced { reply: news.reply.clone(), is_hard };
    match &progress.state {
        // The server that took it may still fail to hand it on, and says so later.
        RecipientState::Sent { .. } if progress.delivered_at.is_none() || news.is_proven => {
            let lost = Progress { delivered_at: None, ..progress.clone() };
            Ok(moved(&lost, RecipientState::Failed { at: now, cause }, Some(note(news))))
        }
        // It had reached the upstream, or nothing could have come back.
        RecipientState::Held { .. } | RecipientState::Due { .. } if progress.possible_duplicate => {
            Ok(moved(progress, RecipientState::Failed { at: now, cause }, Some(note(news))))
        }
        RecipientState::Failed { cause: Cause::Bounced { .. }, .. } => {
            refuse("it is known to have bounced".into())
        }
        // Of an earlier attempt, or nobody proves that what had arrived did not.
        RecipientState::Sent { .. }
        | RecipientState::Held { .. }
        | RecipientState::Due { .. }
        | RecipientState::Claimed { .. }
        | RecipientState::Stopped { .. }
        | RecipientState::Failed { .. }
        | RecipientState::NotSent { .. } => told(progress, news),
    }
}

fn delivered(progress: &Progress, now: Timestamp, news: &MailNews<'_>) -> Result<Step, Refusal> {
    if progress.delivered_at.is_some() {
        return refuse("it is known to have arrived".into());
    }
    if !news.is_proven {
        return refuse("nobody proves that it arrived".into());
    }
    let arrived = Progress { delivered_at: Some(now), ..progress.clone() };
    match (&progress.state, news.upstream) {
        (RecipientState::Sent { .. }, _) => Ok(Step { next: arrived, note: Some(note(news)) }),
        (RecipientState::Held { .. } | RecipientState::Due { .. }, Some(upstream))
            if progress.possible_duplicate =>
        {
            let reply = Reply::new(250, None, "a delivery report shows that the upstream took it");
            let state = RecipientState::Sent {
                at: now,
                upstream: upstream.clone(),
                reply,
                // Nobody saw the end of the attempt, so of the bytes nothing is proven.
                digest: Digest::of(b""),
            };
            Ok(moved(&arrived, state, Some(note(news))))
        }
        (
            RecipientState::Held { .. }
            | RecipientState::Due { .. }
            | RecipientState::Claimed { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::Failed { .. }
            | RecipientState::NotSent { .. },
            _,
        ) => refuse(standing(&progress.state)),
    }
}

/// Told in the history, and nothing else.
fn told(progress: &Progress, news: &MailNews<'_>) -> Result<Step, Refusal> {
    Ok(Step { next: progress.clone(), note: Some(note(news)) })
}

fn note(news: &MailNews<'_>) -> Note {
    Note {
        reply: Some(news.reply.clone()),
        detail: Some(news.detail.to_owned()),
        digest: Some(news.digest),
        ..Note::of(news.kind.event())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::{Input, step};
    use crate::model::Hold;

    const ALL: [MailReportKind; 6] = [
        MailReportKind::Failed { is_hard: true },
        MailReportKind::Failed { is_hard: false },
        MailReportKind::Delayed,
        MailReportKind::Delivered,
        MailReportKind::Displayed,
        MailReportKind::Complained,
    ];

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn upstream() -> UpstreamName {
        UpstreamName::parse("smarthost").unwrap()
    }

    fn left(state: RecipientState) -> Progress {
        Progress { attempts: 1, ..Progress::new(state, at(0)) }
    }

    fn sent() -> Progress {
        left(RecipientState::Sent {
            at: at(1),
            upstream: upstream(),
            reply: Reply::new(250, None, "ok"),
            digest: Digest::of(b"x"),
        })
    }

    fn tell(progress: &Progress, kind: MailReportKind) -> Option<Step> {
        said(progress, kind, true)
    }

    fn said(progress: &Progress, kind: MailReportKind, is_proven: bool) -> Option<Step> {
        let (reply, upstream) = (Reply::new(550, None, "no such user"), upstream());
        let news = MailNews {
            kind,
            reply: &reply,
            detail: "no such user",
            upstream: Some(&upstream),
            digest: Digest::of(b"report"),
            is_proven,
        };
        step(progress, at(9), &Input::MailReport(news)).ok()
    }

    fn is_bounced(progress: &Progress) -> bool {
        matches!(progress.state, RecipientState::Failed { cause: Cause::Bounced { .. }, .. })
    }

    #[test]
    fn what_never_left_and_what_is_under_way_is_not_touched() {
        let claimed = RecipientState::Claimed { at: at(1), rank: 0, upstream: upstream() };
        let due = RecipientState::Due { at: at(1), rank: 0 };
        for kind in ALL {
            assert!(tell(&left(claimed.clone()), kind).is_none());
            assert!(tell(&Progress::new(due.clone(), at(0)), kind).is_none());
        }
    }

    #[test]
    fn a_bounce_ends_what_was_sent_once() {
        for is_hard in [true, false] {
            let kind = MailReportKind::Failed { is_hard };
            let step = tell(&sent(), kind).unwrap();
            assert_eq!(step.note.as_ref().map(|note| note.kind), Some(EventKind::Bounced));
            let RecipientState::Failed { at: when, cause } = &step.next.state else {
                panic!("{:?}", step.next.state)
            };
            let reply = Reply::new(550, None, "no such user");
            assert_eq!((*when, cause), (at(9), &Cause::Bounced { reply, is_hard }));
            assert_eq!(step.next.sent_at(), sent().sent_at());
            let anew = crate::lifecycle::step(&step.next, at(10), &Input::Restart).unwrap();
            assert_eq!(anew.next.sent_at(), None);
            for again in [kind, MailReportKind::Delayed, MailReportKind::Delivered] {
                assert!(tell(&step.next, again).is_none(), "{again:?}");
            }
        }
    }

    #[test]
    fn what_arrived_fails_by_a_later_bounce_that_is_proven() {
        let hard = MailReportKind::Failed { is_hard: true };
        assert!(said(&sent(), MailReportKind::Delivered, false).is_none());
        let arrived = tell(&sent(), MailReportKind::Delivered).unwrap().next;
        assert_eq!(arrived.delivered_at, Some(at(9)));
        assert!(tell(&arrived, MailReportKind::Delivered).is_none());
        assert!(tell(&arrived, MailReportKind::Delayed).is_none());
        let step = said(&arrived, hard, false).unwrap();
        assert_eq!(step.next, arrived);
        assert_eq!(step.note.unwrap().kind, EventKind::Bounced);
        let step = tell(&arrived, hard).unwrap();
        assert!(is_bounced(&step.next) && step.next.delivered_at.is_none());
        assert_eq!(step.note.unwrap().kind, EventKind::Bounced);
    }

    #[test]
    fn reports_settle_what_was_unknown() {
        let states = [
            RecipientState::Held { hold: Hold::Manual },
            RecipientState::Due { at: at(50), rank: 0 },
        ];
        for state in states {
            let sure = left(state);
            let unsure = Progress { possible_duplicate: true, ..sure.clone() };
            let bounce = MailReportKind::Failed { is_hard: false };
            assert!(is_bounced(&tell(&unsure, bounce).unwrap().next));
            let sent = tell(&unsure, MailReportKind::Delivered).unwrap().next;
            assert!(matches!(sent.state, RecipientState::Sent { .. }));
            assert_eq!(sent.delivered_at, Some(at(9)));
            // Of an attempt whose end was known, a bounce is an old one.
            assert_eq!(tell(&sure, bounce).unwrap().next, sure);
            assert!(tell(&sure, MailReportKind::Delivered).is_none());
        }
    }

    #[test]
    fn receipts_and_complaints_move_nothing() {
        let stopped = left(RecipientState::Stopped { at: at(1), by: "anna".into() });
        for progress in [sent(), stopped] {
            for (kind, event) in [
                (MailReportKind::Displayed, EventKind::Read),
                (MailReportKind::Complained, EventKind::Complained),
            ] {
                let step = tell(&progress, kind).unwrap();
                assert_eq!((step.next, step.note.unwrap().kind), (progress.clone(), event));
            }
        }
        let step = tell(&sent(), MailReportKind::Delayed).unwrap();
        assert_eq!((step.next, step.note.unwrap().kind), (sent(), EventKind::Deferred));
    }
}
