//! The stored shapes of hits: the facts that are kept of one recipient, and what all of them come to.

use serde::{Deserialize, Serialize};

use super::Record;
use crate::lifecycle::{JUDGEMENT_VERSION, Verdict};
use crate::model::{Engagement, Hit, HitKind, HitMethod, Timestamp, Visitor};

/// The facts of one recipient.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(in crate::archive) struct StoredHits {
    pub(in crate::archive) hits: Vec<StoredHit>,
}

impl Record for StoredHits {
    const KIND: &'static str = "hit";
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredHit {
    /// The number of the link; `None` is the pixel.
    link: Option<u16>,
    at: i64,
    client: Option<String>,
    user_agent: String,
    is_head: bool,
    purpose: Option<String>,
    delay_ms: Option<i64>,
    told_automated: Option<bool>,
    pub(in crate::archive) visitor: String,
    pub(in crate::archive) reasons: Vec<String>,
}

impl StoredHit {
    pub(in crate::archive) fn new(hit: &Hit, verdict: &Verdict) -> StoredHit {
        StoredHit {
            link: match hit.kind {
                HitKind::Open => None,
                HitKind::Click { link } => Some(link),
            },
            at: hit.at.as_millis(),
            client: hit.client.map(|client| client.to_string()),
            user_agent: hit.user_agent.clone(),
            is_head: match hit.method {
                HitMethod::Head => true,
                HitMethod::Get => false,
            },
            purpose: hit.purpose.clone(),
            delay_ms: hit.delay_ms,
            told_automated: hit.told_automated,
            visitor: verdict.visitor.as_str().to_owned(),
            reasons: verdict.reasons.iter().map(|reason| reason.as_str().to_owned()).collect(),
        }
    }

    /// Whether it was judged to be a machine's. A word that is not known is of other rules, and says nothing.
    pub(in crate::archive) fn was_automated(&self) -> bool {
        Visitor::parse(&self.visitor).is_some_and(Visitor::is_automated)
    }

    pub(in crate::archive) fn hit(&self) -> Hit {
        Hit {
            kind: self.link.map_or(HitKind::Open, |link| HitKind::Click { link }),
            at: Timestamp::from_millis(self.at),
            client: self.client.as_deref().and_then(|client| client.parse().ok()),
            user_agent: self.user_agent.clone(),
            method: if self.is_head { HitMethod::Head } else { HitMethod::Get },
            purpose: self.purpose.clone(),
            delay_ms: self.delay_ms,
            told_automated: self.told_automated,
        }
    }
}

/// What the hits of one recipient come to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::archive) struct StoredTrace {
    judged_by: u8,
    kept: StoredSum,
    /// Of the hits whose facts are not kept: there were too many, or the message is erased.
    beyond: StoredSum,
    /// The message is erased, and no facts are kept any more.
    pub(in crate::archive) is_erased: bool,
    /// When a read receipt came.
    read_at: Option<i64>,
}

impl Record for StoredTrace {
    const KIND: &'static str = "trace";
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StoredSum {
    opened_at: Option<i64>,
    clicked_at: Option<i64>,
    device: Option<String>,
    opens: u64,
    automated_opens: u64,
    clicks: u64,
    automated_clicks: u64,
}

impl StoredSum {
    fn of(sum: &Engagement) -> StoredSum {
        StoredSum {
            opened_at: sum.opened_at.map(Timestamp::as_millis),
            clicked_at: sum.clicked_at.map(Timestamp::as_millis),
            device: sum.device.clone(),
            opens: sum.opens,
            automated_opens: sum.automated_opens,
            clicks: sum.clicks,
            automated_clicks: sum.automated_clicks,
        }
    }

    fn with(&self, other: &StoredSum) -> StoredSum {
        let first = |a: Option<i64>, b: Option<i64>| [a, b].into_iter().flatten().min();
        StoredSum {
            opened_at: first(self.opened_at, other.opened_at),
            clicked_at: first(self.clicked_at, other.clicked_at),
            device: self.device.clone().or_else(|| other.device.clone()),
            opens: self.opens.saturating_add(other.opens),
            automated_opens: self.automated_opens.saturating_add(other.automated_opens),
            clicks: self.clicks.saturating_add(other.clicks),
            automated_clicks: self.automated_clicks.saturating_add(other.automated_clicks),
        }
    }
}

impl StoredTrace {
    /// With another sum of the hits that are kept.
    pub(in crate::archive) fn keeping(&self, kept: &Engagement) -> StoredTrace {
        StoredTrace { judged_by: JUDGEMENT_VERSION, kept: StoredSum::of(kept), ..self.clone() }
    }

    /// With a read receipt; the first one counts.
    pub(in crate::archive) fn read(self, at: Timestamp) -> StoredTrace {
        StoredTrace { read_at: self.read_at.or(Some(at.as_millis())), ..self }
    }

    /// With more hits whose facts are not kept. Of what device they were is forgotten with the facts.
    pub(in crate::archive) fn and_beyond(self, sum: &Engagement) -> StoredTrace {
        let more = StoredSum { device: None, ..StoredSum::of(sum) };
        StoredTrace { beyond: self.beyond.with(&more), ..self }
    }

    /// Hits of people whose facts are not kept.
    pub(in crate::archive) fn people_beyond(&self) -> u64 {
        self.beyond.opens.saturating_add(self.beyond.clicks)
    }

    /// The same numbers without any facts, now and later.
    pub(in crate::archive) fn erased(&self) -> StoredTrace {
        let beyond = StoredSum { device: None, ..self.beyond.with(&self.kept) };
        StoredTrace { kept: StoredSum::default(), beyond, is_erased: true, ..self.clone() }
    }

    pub(in crate::archive) fn engagement(&self) -> Engagement {
        let sum = self.kept.with(&self.beyond);
        Engagement {
            opened_at: sum.opened_at.map(Timestamp::from_millis),
            opens: sum.opens,
            automated_opens: sum.automated_opens,
            clicked_at: sum.clicked_at.map(Timestamp::from_millis),
            clicks: sum.clicks,
            automated_clicks: sum.automated_clicks,
            device: sum.device,
            read_at: self.read_at.map(Timestamp::from_millis),
        }
    }
}
