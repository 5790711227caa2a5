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
use crate::archive::{Dimension, Narrowing, Order, Ranking, Tallies, Tally, TallyPlace, value_of};

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
    /// By people, as far as can be known; a read receipt counts as well.
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
    let ranking = Ranking::new(by, after, limit);
    let read = move |state: &AdminState| {
        let kept = match narrowing.is_filter_only() {
            true => state.archive.tallies(&narrowing.filter, ranking.clone())?,
            false => None,
        };
        let (tallies, complete) = match kept {
            Some(kept) => kept,
            None => (looked_up(state, &narrowing, ranking)?, true),
        };
        Ok(Json(view(by, tallies, complete, &question)))
    };
    state.read(read).await
}

/// `question` is what the next page must ask as well.
fn view(by: Dimension, tallies: Tallies, complete: bool, question: &str) -> StatisticsView {
    let next = tallies.rows.last().filter(|_| tallies.has_more).map(|(place, _)| {
        let key = [&place.rank.to_be_bytes()[..], place.value.as_bytes()].concat();
        cursor::encode(List::Statistics, question, &key)
    });
    let items = tallies.rows.into_iter().map(|(place, tally)| RowView {
        value: Some(place.value).filter(|value| !value.is_empty()),
        numbers: NumbersView::new(&tally),
    });
    let items = items.collect();
    let total = NumbersView::new(&tallies.total);
    StatisticsView { by: by.as_str(), items, next, total, complete }
}

fn read_place(key: &[u8]) -> Option<TallyPlace> {
    let (rank, value) = key.split_first_chunk()?;
    let value = String::from_utf8(value.to_vec()).ok()?;
    Some(TallyPlace { rank: u64::from_be_bytes(*rank), value })
}

fn looked_up(
    state: &AdminState,
    narrowing: &Narrowing,
    mut ranking: Ranking,
) -> Result<Tallies, Problem> {
    let began = Instant::now();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let (mut after, mut count) = (None, 0_u64);
    loop {
        let page = state.archive.narrowed(narrowing, Order::Newest, after, AT_ONCE)?;
        for message in &page.items {
            count += 1;
            tallies.entry(value_of(message, ranking.by())).or_default().add(Tally::of(message));
        }
        after = page.next;
        if after.is_none() {
            ranking.add_all(tallies);
            return Ok(ranking.finish());
        }
        if count >= MAX_LOOKED_AT || began.elapsed() >= LOOK_TIMEOUT {
            let detail = format!(
                "With these filters there are more than {count} messages to count one by one; narrow them, for example with since and until."
            );
            return Err(Problem::of_field(ProblemKind::InvalidParameter, "by", detail));
        }
    }
}
