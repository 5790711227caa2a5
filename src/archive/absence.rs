//! Why there is nothing, and what is near: for an answer that is empty.
//!
//! A near miss is a message that would be an answer but for one of the things that were asked. For an
//! app and a period there is a proof of absence: whether the daemon ran all the time, how many messages
//! of that app it took then, and what comes nearest. All of it stays within the apps of who asks, and
//! within a bounded time: what was not looked at by then is not told.

use std::time::{Duration, Instant};

use super::message::Message;
use super::narrowing::Narrowing;
use super::runs::Gap;
use super::{Archive, ArchiveError, Filter, Order};
use crate::model::{AppName, MessageId, Timestamp};

/// Messages that a proof shows as the nearest.
const MAX_NEAREST: usize = 6;
/// Messages of one look: the first is enough, and where most do not fit, many are read at once.
const AT_ONCE: usize = 8;
/// After so long no further question is asked for an explanation, and for a proof.
const EXPLAIN_TIMEOUT: Duration = Duration::from_millis(20);
const PROOF_TIMEOUT: Duration = Duration::from_millis(500);

/// A message that all was right with but one thing.
#[derive(Clone, Debug)]
pub struct NearMiss {
    /// What it does not fit, by its name in the API: `status`, `q`; `period` for both times.
    pub without: &'static str,
    pub message: Message,
}

/// What is known about a period in which an app has no message of the kind that was asked for.
#[derive(Clone, Debug)]
pub struct Absence {
    pub app: AppName,
    /// The period as far as it is over, and as far back as runs are known where no begin was asked for.
    pub since: Timestamp,
    pub until: Timestamp,
    /// When the daemon was not up in it.
    pub gaps: Vec<Gap>,
    /// There are more gaps than these.
    pub has_more_gaps: bool,
    /// Messages that the app submitted in it; `None` while the numbers are made anew.
    pub submissions: Option<u64>,
    pub nearest: Vec<NearMiss>,
}

/// Why an answer is empty, as far as that was found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emptiness {
    /// Names of filters that no message at all fits.
    pub nowhere: Vec<&'static str>,
    /// Names of what was asked, without any one of which there would be an answer.
    pub excluded_by: Vec<&'static str>,
}

/// One thing that was asked: its name, and how to leave it out.
type Part = (&'static str, fn(&mut Narrowing));

impl Narrowing {
    /// What was asked, beside the apps that may be seen at all.
    fn parts(&self) -> Vec<Part> {
        // All fields by name: whoever adds one decides here.
        let Narrowing { filter, question, read } = self;
        let Filter { channel, direction, status, apps: _, app, sender, recipient, .. } = filter;
        let Filter { reference, tag, attachment, since, until, .. } = filter;
        let parts: [(bool, Part); 12] = [
            (
                since.is_some() || until.is_some(),
                ("period", |n| {
                    (n.filter.since, n.filter.until) = (None, None);
                }),
            ),
            (status.is_some(), ("status", |n| n.filter.status = None)),
            (read.is_some(), ("read", |n| n.read = None)),
            (question.is_some(), ("q", |n| n.question = None)),
            (recipient.is_some(), ("recipient", |n| n.filter.recipient = None)),
            (sender.is_some(), ("sender", |n| n.filter.sender = None)),
            (reference.is_some(), ("reference", |n| n.filter.reference = None)),
            (tag.is_some(), ("tag", |n| n.filter.tag = None)),
            (attachment.is_some(), ("attachment", |n| n.filter.attachment = None)),
            (channel.is_some(), ("channel", |n| n.filter.channel = None)),
            (direction.is_some(), ("direction", |n| n.filter.direction = None)),
            (app.is_some(), ("app", |n| n.filter.app = None)),
        ];
        parts.into_iter().filter_map(|(is_asked, part)| is_asked.then_some(part)).collect()
    }

    fn without(&self, leave_out: &[Part]) -> Narrowing {
        let mut left = self.clone();
        leave_out.iter().for_each(|(_, leave_out)| leave_out(&mut left));
        left
    }

    /// The search does not know parts of attachments' names and would go through all that is left.
    fn is_slow(&self) -> bool {
        !self.is_filter_only() && self.filter.attachment.is_some()
    }

    /// The same question without one thing that was asked; what then asks for nothing any more says
    /// nothing.
    fn relaxed(&self) -> Vec<(&'static str, Narrowing)> {
        let parts = self.parts();
        if parts.len() < 2 {
            return Vec::new();
        }
        let relaxed = parts.iter().map(|part| (part.0, self.without(std::slice::from_ref(part))));
        relaxed.filter(|(_, left)| !left.is_slow()).collect()
    }

    /// Each filter alone.
    fn alone(&self) -> Vec<(&'static str, Narrowing)> {
        let parts = self.parts();
        let alone = parts.iter().map(|(name, _)| {
            let others: Vec<Part> = parts.iter().filter(|(n, _)| n != name).copied().collect();
            (*name, self.without(&others))
        });
        // The terms of `q` are looked at one by one where it is answered.
        alone.filter(|(name, _)| *name != "q").collect()
    }
}

impl Archive {
    /// Why nothing was found.
    pub fn why_empty(&self, narrowing: &Narrowing) -> Result<Emptiness, ArchiveError> {
        let began = Instant::now();
        let is_late = || began.elapsed() > EXPLAIN_TIMEOUT;
        let mut why = Emptiness::default();
        for (name, alone) in narrowing.alone().into_iter().take_while(|_| !is_late()) {
            let page = self.narrowed(&alone, Order::Newest, None, AT_ONCE)?;
            if page.items.is_empty() && page.next.is_none() {
                why.nowhere.push(name);
            }
        }
        for (name, left) in narrowing.relaxed().into_iter().take_while(|_| !is_late()) {
            if why.nowhere.is_empty() && name != "q" && self.first(&left, Order::Newest)?.is_some()
            {
                why.excluded_by.push(name);
            }
        }
        Ok(why)
    }

    /// The proof for an empty answer. `None` where no app and no period were asked for, where the
    /// period has not begun, or where the app is not one that may be seen.
    pub fn absence(
        &self,
        narrowing: &Narrowing,
        now: Timestamp,
    ) -> Result<Option<Absence>, ArchiveError> {
        let filter = &narrowing.filter;
        let Some(app) = &filter.app else { return Ok(None) };
        let is_hidden = filter.apps.as_ref().is_some_and(|apps| !apps.contains(app));
        if is_hidden || (filter.since.is_none() && filter.until.is_none()) {
            return Ok(None);
        }
        let until = filter.until.map_or(now, |until| until.min(now));
        let since = match filter.since {
            Some(since) => since,
            None => self.first_run()?.unwrap_or(until).min(until),
        };
        if since > until {
            return Ok(None);
        }
        let (gaps, has_more_gaps) = self.gaps(since, until, now)?;
        let submissions = self.submissions(app, filter.since, until)?;
        let nearest = self.nearest(narrowing)?;
        let app = app.clone();
        Ok(Some(Absence { app, since, until, gaps, has_more_gaps, submissions, nearest }))
    }

    /// First those on both sides of the period, then those that do not fit in one other thing, then
    /// what else the recipient got before and after.
    fn nearest(&self, narrowing: &Narrowing) -> Result<Vec<NearMiss>, ArchiveError> {
        let began = Instant::now();
        let mut questions = beside(narrowing, "period");
        let others = narrowing.relaxed().into_iter().filter(|(name, _)| *name != "period");
        questions.extend(others.map(|(name, left)| (name, left, Order::Newest)));
        let Filter { apps, app, recipient, since, until, .. } = narrowing.filter.clone();
        if recipient.is_some() {
            let filter = Filter { apps, app, recipient, since, until, ..Filter::default() };
            let same = Narrowing { filter, ..Narrowing::default() };
            questions.extend(beside(&same, "other"));
        }
        let mut nearest: Vec<NearMiss> = Vec::new();
        for (without, question, order) in questions {
            if nearest.len() == MAX_NEAREST || began.elapsed() > PROOF_TIMEOUT {
                break;
            }
            let found = self.first(&question, order)?;
            let is_known =
                |id: MessageId| nearest.iter().any(|one: &NearMiss| one.message.id == id);
            if let Some(message) = found.filter(|message| !is_known(message.id)) {
                nearest.push(NearMiss { without, message });
            }
        }
        Ok(nearest)
    }

    /// The first one of its first page, which is enough here.
    fn first(&self, narrowing: &Narrowing, order: Order) -> Result<Option<Message>, ArchiveError> {
        Ok(self.narrowed(narrowing, order, None, AT_ONCE)?.items.into_iter().next())
    }
}

/// The last one before the period and the first one after it.
fn beside(narrowing: &Narrowing, without: &'static str) -> Vec<(&'static str, Narrowing, Order)> {
    let Filter { since, until, .. } = narrowing.filter;
    let moved = |since, until| {
        let filter = Filter { since, until, ..narrowing.filter.clone() };
        Narrowing { filter, ..narrowing.clone() }
    };
    let before = since.map(|since| (without, moved(None, Some(since)), Order::Newest));
    let after = until.map(|until| (without, moved(Some(until), None), Order::Oldest));
    before.into_iter().chain(after).collect()
}
