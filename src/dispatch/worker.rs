//! A worker: one connection's worth of attempts, one after the other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::Clock;
use super::lane::{Lane, Plan};
use super::suppression;
use crate::archive::{Archive, ArchiveError, ClaimRequest, Content, Judgement, Message};
use crate::evidence::{Rendered, Renderer};
use crate::lifecycle::RetrySchedule;
use crate::model::{
    Envelope, EnvelopeRecipient, Medium, Outcome, RecipientState, Scope, Timestamp, Touch,
};
use crate::relay::{Relay, SmsJob, Transaction};
use crate::telemetry::record;

/// After a storage error the archive is closed and the daemon ends; until then nothing is hurried.
const AFTER_ERROR: Duration = Duration::from_millis(200);

/// From this size on a message is not read on an async thread.
const LARGE_MESSAGE_BYTES: u64 = 256 << 10;

pub(super) struct Worker {
    pub archive: Archive,
    pub renderer: Renderer,
    pub lane: Arc<Lane>,
    pub schedule: Arc<RetrySchedule>,
    pub clock: Clock,
    pub stop: CancellationToken,
}

/// Recipients that are ours to send: the claim is durable.
struct Claimed {
    plan: Plan,
    /// Those of the plan that get transactions of their own, after this one.
    rest: Vec<u16>,
    message: Arc<Message>,
    content: Content,
}

/// What a worker goes on with.
enum Next {
    Claimed(Claimed),
    Planned(Plan),
    Nothing,
}

impl Worker {
    pub(super) async fn run(self) {
        let mut next = Next::Nothing;
        loop {
            let left = match std::mem::replace(&mut next, Next::Nothing) {
                Next::Claimed(current) => {
                    if self.stop.is_cancelled() {
                        return self.give_back(current).await;
                    }
                    let (attempted, is_bug) = self.attempt(&current).await;
                    next = self.judge_and_claim(current, attempted, is_bug).await;
                    continue;
                }
                Next::Planned(plan) => Some(plan),
                Next::Nothing => None,
            };
            let taken = self.stop.run_until_cancelled(self.next_plan(left)).await;
            let Some(plan) = taken else { return };
            next = self.claim(plan).await.map_or(Next::Nothing, Next::Claimed);
        }
    }

    /// What is left of a plan, or the next one, once the upstream's rate allows another transaction:
    /// until then it is not claimed and can be stopped.
    async fn next_plan(&self, left: Option<Plan>) -> Plan {
        let plan = match left {
            Some(plan) => plan,
            None => self.lane.take().await,
        };
        self.lane.relay().turn().await;
        plan
    }

    /// Claims a plan. `None` when nothing of it is due any more, or the upstream went down.
    async fn claim(&self, plan: Plan) -> Option<Claimed> {
        let id = plan.message;
        if !self.lane.relay().is_available(Instant::now()) {
            self.lane.forget(id);
            self.lane.clear();
            return None;
        }
        let claimed = match self.claim_of(plan).await {
            Ok(claimed) => claimed,
            Err(error) => self.trouble(&error).await,
        };
        if claimed.is_none() {
            self.lane.give_up(id);
        }
        claimed
    }

    /// Stops who must not be written to, and claims the others.
    async fn claim_of(&self, plan: Plan) -> Result<Option<Claimed>, ArchiveError> {
        let now = (self.clock)();
        let found = self.archive.message_with_content(plan.message)?;
        let Some((message, content)) = found else { return Ok(None) };
        let mut recipients =
            suppression::stop_suppressed(&self.archive, &message, &plan.recipients, now).await?;
        if recipients.is_empty() {
            return Ok(None);
        }
        let together = if self.renderer.shares(&message) { recipients.len() } else { 1 };
        let rest = recipients.split_off(together);
        let request = ClaimRequest {
            message: plan.message,
            recipients,
            upstream: self.lane.name().clone(),
            rank: plan.rank,
            now,
        };
        let recipients = self.archive.claim(request).await?;
        let is_granted = !recipients.is_empty();
        let plan = Plan { recipients, ..plan };
        Ok(is_granted.then(|| Claimed { plan, rest, message: Arc::new(message), content }))
    }

    /// One attempt in a task of its own, so that a bug that one message meets stays with it.
    /// The second value says that it met one; then a person decides what comes next.
    async fn attempt(&self, claimed: &Claimed) -> (Attempted, bool) {
        let count = claimed.plan.recipients.len();
        let (renderer, lane) = (self.renderer.clone(), self.lane.clone());
        let (message, content) = (claimed.message.clone(), claimed.content.clone());
        let recipients = claimed.plan.recipients.clone();
        let (started, now) = (Instant::now(), (self.clock)());
        let attempt = tokio::spawn(async move {
            match render(renderer, message.clone(), content, &recipients).await {
                Ok(rendered) => relay(&lane, &message, &recipients, rendered, now).await,
                Err(error) => unreadable(recipients.len(), error.to_string()).into(),
            }
        });
        let (attempted, is_bug) = match attempt.await {
            Ok(attempted) if attempted.outcomes.len() == count => (attempted, false),
            Ok(_) | Err(_) => {
                tracing::error!(id = %claimed.message.id, "the attempt met a bug");
                let detail = "the attempt met a bug of this gateway".into();
                (vec![Outcome::Unknown { detail }; count].into(), true)
            }
        };
        let upstream = self.lane.name().as_str();
        record::attempt_duration(upstream, started.elapsed());
        for outcome in &attempted.outcomes {
            record::attempts(upstream, outcome.as_str(), 1);
        }
        (attempted, is_bug)
    }

    /// Records what came of it; the next claim rides in the same commit. Nothing new is sent before
    /// both are durable, so a crash leaves at most one message a worker in doubt.
    async fn judge_and_claim(&self, done: Claimed, attempted: Attempted, is_bug: bool) -> Next {
        let Claimed { plan, rest, message, .. } = done;
        let recipients = plan.recipients.iter().copied();
        let outcomes: Vec<(u16, Outcome)> = recipients.zip(attempted.outcomes).collect();
        let judgement = Judgement {
            message: message.id,
            outcomes: outcomes.clone(),
            touch: attempted.touch,
            is_last_upstream: plan.is_last_upstream,
            hold_unknown: message.policy.hold_unknown || is_bug,
            now: (self.clock)(),
        };
        let left = (!rest.is_empty()).then_some(Plan { recipients: rest, ..plan });
        if left.is_none() {
            self.lane.forget(message.id);
        }
        let has_turn = !self.lane.relay().has_rate() && !self.stop.is_cancelled();
        let judged = self.archive.judge(judgement, self.schedule.clone());
        let next = async {
            match (left, has_turn) {
                (Some(left), false) => Next::Planned(left),
                (None, false) => Next::Nothing,
                (left, true) => match left.or_else(|| self.lane.try_take()) {
                    Some(plan) => self.claim(plan).await.map_or(Next::Nothing, Next::Claimed),
                    None => Next::Nothing,
                },
            }
        };
        let (judged, next) = tokio::join!(judged, next);
        match judged {
            Ok(judged) => {
                let (upstream, now) = (self.lane.name(), (self.clock)());
                suppression::learn(&self.archive, &message, upstream, &outcomes, now).await;
                tell(&message, upstream.as_str(), &outcomes, &judged);
            }
            Err(error) => {
                tracing::error!(id = %message.id, ?outcomes, %error, "the outcome of an attempt can not be recorded");
            }
        }
        next
    }

    async fn give_back(&self, claimed: Claimed) {
        let Claimed { plan, message, .. } = claimed;
        self.lane.forget(message.id);
        let back = self.archive.give_back(message.id, plan.recipients, (self.clock)()).await;
        if let Err(error) = back {
            tracing::error!(id = %message.id, %error, "a claim can not be given back");
        }
    }

    async fn trouble<T>(&self, error: &ArchiveError) -> Option<T> {
        tracing::error!(%error, upstream = %self.lane.name(), "a message can not be claimed");
        tokio::time::sleep(AFTER_ERROR).await;
        None
    }
}

/// What came of an attempt.
struct Attempted {
    outcomes: Vec<Outcome>,
    /// What was changed on the way, when something could have been.
    touch: Option<Touch>,
}

/// Nothing left.
impl From<Vec<Outcome>> for Attempted {
    fn from(outcomes: Vec<Outcome>) -> Attempted {
        Attempted { outcomes, touch: None }
    }
}

/// Reads the bytes and renders them. A large message is decompressed, hashed and searched beside the
/// async threads, where it would keep all other connections waiting.
async fn render(
    renderer: Renderer,
    message: Arc<Message>,
    content: Content,
    recipients: &[u16],
) -> Result<Rendered, ArchiveError> {
    let is_large = message.size_bytes >= LARGE_MESSAGE_BYTES;
    let only = match recipients {
        [only] => Some(*only),
        _ => None,
    };
    let render = move || renderer.render(&message, &content, only);
    if !is_large {
        return render();
    }
    match tokio::task::spawn_blocking(render).await {
        Ok(rendered) => rendered,
        Err(error) => match error.try_into_panic() {
            // A bug that this message meets: whoever waits for the attempt contains it.
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends.
            Err(error) => Err(ArchiveError::Closed(error.to_string())),
        },
    }
}

/// Makes the attempt.
async fn relay(
    lane: &Lane,
    message: &Message,
    recipients: &[u16],
    rendered: Rendered,
    now: Timestamp,
) -> Attempted {
    match (lane.relay(), &message.medium) {
        (Relay::Smtp(relay), Medium::Mail(envelope)) => {
            let touch = rendered.touch.clone();
            let outcomes = relay.attempt(&transaction(envelope, recipients, rendered)).await;
            Attempted { outcomes, touch }
        }
        (Relay::Sms(relay), Medium::Sms(sms)) => {
            let digest = rendered.outgoing.digest;
            vec![relay.attempt(&SmsJob { id: message.id, sms, digest, now }).await].into()
        }
        // The configuration refuses such a route; it can come with a later one.
        (Relay::Smtp(_), Medium::Sms(_)) => impossible(recipients, "SMTP carries no SMS").into(),
        (Relay::Sms(_), Medium::Mail(_)) => {
            impossible(recipients, "an SMS provider carries no mail").into()
        }
    }
}

fn transaction(envelope: &Envelope, recipients: &[u16], rendered: Rendered) -> Transaction {
    let chosen: Vec<EnvelopeRecipient> = recipients
        .iter()
        .filter_map(|index| envelope.recipients.get(usize::from(*index)).cloned())
        .collect();
    let reverse_path = rendered.reverse_path.unwrap_or_else(|| envelope.reverse_path.clone());
    let needs_utf8 = reverse_path.needs_smtputf8()
        || chosen.iter().any(|recipient| recipient.path.needs_smtputf8());
    Transaction {
        reverse_path,
        recipients: chosen,
        // What counts is what is there: clients say 8BITMIME of plain ASCII too.
        eight_bit: !rendered.outgoing.is_ascii(),
        smtputf8: envelope.smtputf8 || needs_utf8,
        ret: envelope.ret,
        envid: envelope.envid.clone(),
        message: rendered.outgoing,
    }
}

/// This upstream can not carry it; another one of the route may.
fn impossible(recipients: &[u16], detail: &str) -> Vec<Outcome> {
    let outcome =
        Outcome::Permanent { scope: Scope::Message, reply: None, detail: detail.to_owned() };
    vec![outcome; recipients.len()]
}

/// A message that can not be read now is tried again: it may be the disk, and an operator sees it.
fn unreadable(recipients: usize, detail: String) -> Vec<Outcome> {
    tracing::error!(%detail, "an archived message can not be read");
    vec![Outcome::Temporary { scope: Scope::Message, reply: None, detail }; recipients]
}

/// One line for each recipient's milestone, and what the metrics keep of it.
fn tell(
    message: &Message,
    upstream: &str,
    outcomes: &[(u16, Outcome)],
    judged: &[Option<RecipientState>],
) {
    for ((recipient, outcome), state) in outcomes.iter().zip(judged) {
        let Some(state) = state else { continue };
        let (id, outcome_word) = (message.id, outcome.as_str());
        let (reply, detail) = match outcome {
            Outcome::Sent { reply, .. } | Outcome::Rejected { reply, .. } => (Some(reply), ""),
            Outcome::Temporary { reply, detail, .. } | Outcome::Permanent { reply, detail, .. } => {
                (reply.as_ref(), detail.as_str())
            }
            Outcome::Unknown { detail } => (None, detail.as_str()),
        };
        let reply = reply.map(ToString::to_string);
        match state {
            RecipientState::Sent { at, .. } => {
                tracing::info!(%id, recipient, upstream, reply, "sent");
                let first_due_at = message.recipients.get(usize::from(*recipient));
                let first_due_at = first_due_at.map_or(message.accepted_at, |r| r.first_due_at);
                record::time_to_send(message.channel().as_str(), at.since(first_due_at));
            }
            RecipientState::Due { at, .. } => {
                tracing::warn!(%id, recipient, upstream, outcome = outcome_word, reply, detail, next_attempt_at = %at, "deferred");
            }
            RecipientState::Held { .. } => {
                tracing::warn!(%id, recipient, upstream, outcome = outcome_word, detail, "held");
            }
            RecipientState::Failed { .. } => {
                tracing::warn!(%id, recipient, upstream, outcome = outcome_word, reply, detail, "failed");
            }
            // No judgement leads here.
            RecipientState::Claimed { .. }
            | RecipientState::Stopped { .. }
            | RecipientState::NotSent { .. } => {}
        }
    }
}
