//! A scripted day of an archive: messages of many kinds, claimed, judged, stopped, released.
//!
//! Each step notes how many operations the disk had seen when it was asked for and when it was answered.
//! So for any cut it is known what must be there, what may be there, and how each message may stand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::check::stand;
use super::disk::{Chance, Disk};
use super::{acceptance, action_of, at, claim_of, sent, settings, upstream};
use crate::archive::{
    Acceptance, Action, ActionKind, Archive, ArchiveError, ArchiveSettings, Judgement,
    StagingLimits,
};
use crate::lifecycle::RetrySchedule;
use crate::model::{Hold, MessageId, Outcome, RecipientState, Reply, Scope};

/// Messages in the story.
pub(super) const MESSAGES: usize = 42;

/// Small volumes, so that some are sealed on the way.
pub(super) fn small() -> ArchiveSettings {
    // Small enough that messages are staged, move, and go straight to the volume, all in one story.
    let staging = StagingLimits {
        max_batch_bytes: 3 << 10,
        max_staged_bytes: 6 << 10,
        settle_after: Duration::from_millis(1),
    };
    let settings = settings(std::path::Path::new("/memory"));
    ArchiveSettings { volume_bytes: 300 << 10, staging, ..settings }
}

/// What is done to one message.
#[derive(Clone, Debug)]
enum Step {
    Accept,
    Claim,
    Judge(Vec<Outcome>),
    GiveBack,
    Act(ActionKind),
}

/// How one message stood after a step.
#[derive(Clone, Debug)]
struct Version {
    /// Operations that the disk had seen when it was asked for.
    asked: usize,
    /// And when it was answered; `None` when it failed.
    answered: Option<usize>,
    stands: Vec<String>,
}

/// One message of the story.
#[derive(Clone, Debug)]
struct Tale {
    raw: Bytes,
    id: Option<MessageId>,
    versions: Vec<Version>,
}

/// The whole story as it was lived.
pub(super) struct Story {
    tales: Vec<Tale>,
    pauses: Vec<Version>,
}

impl Story {
    /// How many messages were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.tales.iter().filter(|tale| tale.id.is_some()).count()
    }

    /// Checks an archive that was opened again after `operations` operations, or after all that came.
    #[track_caller]
    pub(super) fn check(&self, archive: &Archive, operations: usize) {
        let mut expected = BTreeMap::new();
        for (number, tale) in self.tales.iter().enumerate() {
            let Some(id) = tale.id else { continue };
            expected.insert(id, number);
            let certain = tale.versions.iter().rposition(|v| v.is_certain(operations));
            let message = archive.message(id).unwrap();
            let Some(message) = message else {
                assert!(certain.is_none(), "message {number} was acknowledged and is lost");
                continue;
            };
            assert_eq!(archive.raw(id).unwrap().unwrap(), tale.raw, "the bytes of {number}");
            let possible = &tale.versions[certain.unwrap_or(0)..];
            let mut possible = possible.iter().filter(|version| version.asked <= operations);
            let stands = stand(&message);
            assert!(
                possible.any(|version| version.answered.is_none() || version.stands == stands),
                "message {number} stands as {stands:?} after {operations}: {:?}",
                tale.versions
            );
        }
        let paused: Vec<String> =
            archive.paused().unwrap().iter().map(ToString::to_string).collect();
        let certain = self.pauses.iter().rposition(|v| v.is_certain(operations));
        let possible = &self.pauses[certain.unwrap_or(0)..];
        let fits = certain.is_none() && paused.is_empty()
            || possible.iter().any(|v| v.answered.is_none() || v.stands == paused);
        assert!(fits, "paused are {paused:?} after {operations}: {:?}", self.pauses);
    }
}

impl Version {
    fn is_certain(&self, operations: usize) -> bool {
        self.answered.is_some_and(|answered| answered <= operations)
    }
}

/// What happens to the messages of each kind, in order.
fn steps(kind: usize) -> Vec<Step> {
    use ActionKind::{Release, Restart, Stop};
    use Step::{Accept, Act, Claim, GiveBack, Judge};
    let temporary = || Outcome::Temporary {
        scope: Scope::Message,
        reply: Some(Reply::new(451, None, "later")),
        detail: String::new(),
    };
    let refused = || Outcome::Permanent {
        scope: Scope::Recipient,
        reply: Some(Reply::new(550, None, "no such user")),
        detail: String::new(),
    };
    let unknown = || Outcome::Unknown { detail: "the connection was lost".into() };
    match kind {
        0 => vec![Accept, Claim, Judge(vec![sent()])],
        1 => vec![Accept, Claim, Judge(vec![sent(), refused(), temporary()]), Act(Stop)],
        2 => vec![Accept, Act(Stop), Act(Restart), Claim, Judge(vec![sent()])],
        3 => vec![Accept, Act(Release), Claim, Judge(vec![unknown()])],
        4 => vec![Accept, Claim, GiveBack, Claim],
        5 => vec![Accept, Claim, Judge(vec![refused()]), Act(Restart), Act(Stop)],
        _ => vec![Accept],
    }
}

/// Recipients and bytes of message `number`: small ones, one that has chunks of its own, and some that
/// share an attachment.
fn message(number: usize) -> Acceptance {
    let mut chance = Chance::new(number as u64);
    let kind = number % 7;
    let mut raw = format!("Subject: {number}\r\n\r\n").into_bytes();
    let mut shared = Vec::new();
    match number {
        10 => raw.extend(chance.bytes(700 << 10)),
        _ if number % 5 == 2 => {
            let start = raw.len();
            raw.extend(Chance::new(number as u64 % 2).bytes(40 << 10));
            shared.push(start..raw.len());
            raw.extend(b"\r\n-- \r\n");
        }
        _ => raw.extend("All work and no play. ".repeat(chance.below(900)).bytes()),
    }
    let recipients = if kind == 1 { 3 } else { 1 };
    let mut made = acceptance(number as u64, recipients, raw.into());
    made.shared = shared;
    if kind == 3 {
        made.recipients[0].state = RecipientState::Held { hold: Hold::Manual };
    }
    made
}

/// Lives the story. Goes on without a message whose step failed.
pub(super) async fn live(archive: &Archive, disk: &Disk) -> Story {
    let tales = (0..MESSAGES).map(|n| Tale { raw: message(n).raw, id: None, versions: vec![] });
    let mut story = Story { tales: tales.collect(), pauses: Vec::new() };
    for round in 0..MESSAGES / 6 + 6 {
        if round % 3 == 1 {
            pause(archive, disk, &mut story, round % 2 == 0).await;
        }
        let mut running = JoinSet::new();
        for number in 0..MESSAGES {
            // Six messages begin with each round.
            let Some(step) = round.checked_sub(number / 6) else { continue };
            let Some(step) = steps(number % 7).get(step).cloned() else { continue };
            let tale = story.tales[number].clone();
            let has_failed = tale.versions.iter().any(|version| version.answered.is_none());
            if !has_failed {
                running.spawn(take(archive.clone(), disk.clone(), number, tale, step));
            }
        }
        while let Some(done) = running.join_next().await {
            let (number, tale) = done.unwrap();
            story.tales[number] = tale;
        }
    }
    story
}

async fn take(
    archive: Archive,
    disk: Disk,
    number: usize,
    mut tale: Tale,
    step: Step,
) -> (usize, Tale) {
    let asked = disk.operations();
    let done = attempt(&archive, number, tale.id, step).await;
    let answered = done.as_ref().is_ok().then(|| disk.operations());
    let stands = match done {
        Ok(id) => {
            tale.id = Some(id);
            // A disk that fails later may not let it be read; then nothing is known of it.
            let message = archive.message(id).ok().flatten();
            message.as_ref().map(stand)
        }
        Err(_) => None,
    };
    let answered = answered.filter(|_| stands.is_some());
    tale.versions.push(Version { asked, answered, stands: stands.unwrap_or_default() });
    (number, tale)
}

async fn attempt(
    archive: &Archive,
    number: usize,
    id: Option<MessageId>,
    step: Step,
) -> Result<MessageId, ArchiveError> {
    let schedule = Arc::new(RetrySchedule::default());
    let id = match (id, &step) {
        (None, _) => return Ok(archive.accept(message(number)).await?.get()),
        (Some(id), _) => id,
    };
    let recipients: Vec<u16> = (0..message(number).recipients.len() as u16).collect();
    match step {
        Step::Accept => {}
        Step::Claim => assert_eq!(archive.claim(claim_of(id, &recipients)).await?, recipients),
        Step::Judge(outcomes) => {
            let judgement = Judgement {
                message: id,
                outcomes: recipients.into_iter().zip(outcomes).collect(),
                touch: None,
                is_last_upstream: true,
                hold_unknown: true,
                now: at(20),
            };
            archive.judge(judgement, schedule).await?;
        }
        Step::GiveBack => archive.give_back(id, recipients, at(5)).await?,
        Step::Act(kind) => {
            let action = Action { at: at(5), ..action_of(kind, id) };
            archive.act(action).await?.unwrap();
        }
    }
    Ok(id)
}

/// Nothing goes through this upstream in the story; only the flag itself is looked at.
async fn pause(archive: &Archive, disk: &Disk, story: &mut Story, paused: bool) {
    let asked = disk.operations();
    let name = crate::model::UpstreamName::parse("other").unwrap();
    assert_ne!(name, upstream());
    let stands = if paused { vec![name.to_string()] } else { Vec::new() };
    let done = archive.set_paused(name, paused, "user anna".into(), at(1)).await;
    let answered = done.is_ok().then(|| disk.operations());
    story.pauses.push(Version { asked, answered, stands });
}
