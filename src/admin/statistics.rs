//! `GET /api/v1/statistics`: how many messages of each sender, app, tag, subject or day stand where.
//!
//! The archive keeps the numbers by app, channel, direction and day. Filters that need more than those,
//! and `q` and `read`, are answered by a look at each message, as long as that is not too many: more are
//! refused, and no number is ever of a part only.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::cursor::{self, List};
use super::problem::{Problem, ProblemKind};
use super::query;
use super::state::AdminState;
use crate::account::Identity;
use crate::archive::{Dimension, Narrowing, Order, Tally, value_of};

/// Messages that one answer looks at, where it must.
const MAX_LOOKED_AT: u64 = 100_000;
/// And how long.
const LOOK_TIMEOUT: Duration = Duration::from_secs(20);
/// Messages of one look into the archive.
const AT_ONCE: usize = 500;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatisticsView {
    by: &'static str,
    items: Vec<RowView>,
    next: Option<String>,
    total: NumbersView,
    /// Whether everything up to now is counted; `false` only while the numbers are made anew.
    complete: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct RowView {
    /// `null`: those that have none.
    value: Option<String>,
    #[serde(flatten)]
    numbers: NumbersView,
}

/// All but the first count recipients.
#[derive(Debug, Serialize, ToSchema)]
struct NumbersView {
    messages: u64,
    recipients: u64,
    not_sent: u64,
    pending: u64,
    sent: u64,
    stopped: u64,
    failed: u64,
    delivered: u64,
    /// By people, as far as can be known.
    opened: u64,
    clicked: u64,
    /// By programs on the way: scanners, and proxies that fetch what nobody looks at.
    opened_by_machines: u64,
    clicked_by_machines: u64,
}

impl NumbersView {
    fn new(tally: &Tally) -> NumbersView {
        NumbersView {
            messages: tally.messages,
            recipients: tally.recipients,
            not_sent: tally.not_sent,
            pending: tally.pending,
            sent: tally.sent,
            stopped: tally.stopped,
            failed: tally.failed,
            delivered: tally.delivered,
            opened: tally.opened,
            clicked: tally.clicked,
            opened_by_machines: tally.opened_by_machines,
            clicked_by_machines: tally.clicked_by_machines,
        }
    }
}

pub(super) async fn show(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
) -> Result<Json<StatisticsView>, Problem> {
    let own = ["by", "limit", "cursor"];
    let (narrowing, mut parameters) = query::narrowing(&uri, &identity.scope, &own);
    let words = Dimension::ALL.map(Dimension::as_str).join(", ");
    let is_given = parameters.given("by").is_some();
    let by = parameters
        .take("by", |text| Dimension::parse(text).ok_or_else(|| format!("by is one of {words}.")));
    let limit = parameters.limit();
    let question =
        by.map_or("", Dimension::as_str).to_owned() + "?" + &query::question(&parameters);
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Statistics, &question, text);
        key.as_deref().and_then(read_place).ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let Some(by) = by.filter(|_| is_given) else {
        let detail = format!("by says what is counted: one of {words}.");
        return Err(Problem::of_field(ProblemKind::InvalidParameter, "by", detail));
    };
    let read = move |state: &AdminState| {
        let kept = match narrowing.is_filter_only() {
            true => state.archive.tallies(by, &narrowing.filter)?,
            false => None,
        };
        let (tallies, complete) = match kept {
            Some(kept) => (kept.of, kept.is_complete),
            None => (looked_up(state, by, &narrowing)?, true),
        };
        let place = Place { after, limit, question: &question };
        Ok(Json(view(by, tallies, complete, place)))
    };
    state.read(read).await
}

/// Which rows one page has.
struct Place<'a> {
    after: Option<(u64, String)>,
    limit: usize,
    /// What the next page must ask as well.
    question: &'a str,
}

/// Days in their order; everything else with the most messages first.
fn view(
    by: Dimension,
    tallies: BTreeMap<String, Tally>,
    complete: bool,
    Place { after, limit, question }: Place<'_>,
) -> StatisticsView {
    let mut total = Tally::default();
    tallies.values().for_each(|tally| total.add(*tally));
    let rank = |tally: &Tally| match by {
        Dimension::Day => 0,
        Dimension::Sender | Dimension::App | Dimension::Tag | Dimension::Subject => {
            u64::MAX - tally.messages
        }
    };
    let rows = tallies.into_iter().map(|(value, tally)| ((rank(&tally), value), tally));
    let mut rows: Vec<((u64, String), Tally)> =
        rows.filter(|(place, _)| after.as_ref().is_none_or(|after| place > after)).collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|((rank, value), _)| {
        let key = [&rank.to_be_bytes()[..], value.as_bytes()].concat();
        cursor::encode(List::Statistics, question, &key)
    });
    let items = rows.into_iter().map(|((_, value), tally)| RowView {
        value: Some(value).filter(|value| !value.is_empty()),
        numbers: NumbersView::new(&tally),
    });
    let items = items.collect();
    StatisticsView { by: by.as_str(), items, next, total: NumbersView::new(&total), complete }
}

fn read_place(key: &[u8]) -> Option<(u64, String)> {
    let (rank, value) = key.split_first_chunk()?;
    Some((u64::from_be_bytes(*rank), String::from_utf8(value.to_vec()).ok()?))
}

fn looked_up(
    state: &AdminState,
    by: Dimension,
    narrowing: &Narrowing,
) -> Result<BTreeMap<String, Tally>, Problem> {
    let began = Instant::now();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut after, mut count) = (None, 0_u64);
    loop {
        let page = state.archive.narrowed(narrowing, Order::Newest, after, AT_ONCE)?;
        for message in &page.items {
            count += 1;
            tallies.entry(value_of(message, by)).or_default().add(Tally::of(message));
        }
        after = page.next;
        if after.is_none() {
            return Ok(tallies);
        }
        if count >= MAX_LOOKED_AT || began.elapsed() >= LOOK_TIMEOUT {
            let detail = format!(
                "With these filters there are more than {count} messages to count one by one; narrow them, for example with since and until."
            );
            return Err(Problem::of_field(ProblemKind::InvalidParameter, "by", detail));
        }
    }
}
