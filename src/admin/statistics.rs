//! `GET /api/v1/statistics`: how many messages of each sender, app, tag, subject or day stand where.
//!
//! The archive keeps the numbers by app, channel, direction and day. Filters that need more than those,
//! and `q` and `read`, are answered by a look at each message, the newest first. That ends when it has taken
//! long; then the numbers are of the messages down to some time, and the answer says down to which.

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
use crate::archive::{
    Archive, ArchiveError, Dimension, Narrowing, Order, Ranking, Tallies, Tally, TallyPlace,
    value_of,
};
use crate::model::MessageId;

/// How long one answer looks at messages, where it must.
const LOOK_TIMEOUT: Duration = Duration::from_secs(10);
/// Different subjects, or whatever is counted by, that one answer keeps in memory.
const MAX_VALUES: usize = 100_000;
/// Messages of one look into the archive.
const AT_ONCE: usize = 500;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatisticsView {
    by: &'static str,
    items: Vec<RowView>,
    next: Option<String>,
    total: NumbersView,
    /// Whether everything up to now is counted. `false` while the numbers are made anew, and where there was
    /// too much to count one by one.
    complete: bool,
    /// What was counted, where that is not everything.
    note: Option<String>,
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
    /// The same of links.
    clicked: u64,
    /// By programs on the way: scanners, and proxies that fetch what nobody looks at.
    opened_by_machines: u64,
    /// The same of links.
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
        let (tallies, complete, note) = match kept {
            Some((tallies, complete)) => (tallies, complete, None),
            None => {
                let (tallies, down_to) =
                    looked_up(&state.archive, &narrowing, ranking, &Most::NOW)?;
                (tallies, down_to.is_none(), down_to.map(part))
            }
        };
        Ok(Json(StatisticsView { complete, note, ..view(by, tallies, &question) }))
    };
    state.read(read).await
}

/// `question` is what the next page must ask as well.
fn view(by: Dimension, tallies: Tallies, question: &str) -> StatisticsView {
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
    StatisticsView { by: by.as_str(), items, next, total, complete: true, note: None }
}

fn read_place(key: &[u8]) -> Option<TallyPlace> {
    let (rank, value) = key.split_first_chunk()?;
    let value = String::from_utf8(value.to_vec()).ok()?;
    Some(TallyPlace { rank: u64::from_be_bytes(*rank), value })
}

/// How much one answer may cost.
struct Most {
    time: Duration,
    values: usize,
    /// Messages of one look into the archive.
    at_once: usize,
}

impl Most {
    const NOW: Most = Most { time: LOOK_TIMEOUT, values: MAX_VALUES, at_once: AT_ONCE };
}

/// Counts one by one, the newest first; gives also where it ended, where that was not the end.
fn looked_up(
    archive: &Archive,
    narrowing: &Narrowing,
    mut ranking: Ranking,
    most: &Most,
) -> Result<(Tallies, Option<MessageId>), ArchiveError> {
    let began = Instant::now();
    let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = archive.narrowed(narrowing, Order::Newest, after, most.at_once)?;
        for message in &page.items {
            tallies.entry(value_of(message, ranking.by())).or_default().add(Tally::of(message));
        }
        after = page.next;
        let is_enough = tallies.len() >= most.values || began.elapsed() >= most.time;
        if after.is_none() || is_enough {
            ranking.add_all(tallies);
            return Ok((ranking.finish(), after));
        }
    }
}

fn part(down_to: MessageId) -> String {
    format!(
        "Only what was accepted since {} was counted: with these filters messages are counted one by one, and there are \
         too many. Narrow them, for example with since and until.",
        down_to.time()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{acceptance, settings};

    #[tokio::test]
    async fn what_is_too_much_to_count_is_counted_down_to_a_time_that_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let mut ids = Vec::new();
        for number in 0..5 {
            let mail = acceptance(number, 1, "Subject: x\r\n\r\nx\r\n".into());
            ids.push(archive.accept(mail).await.unwrap().get());
        }
        let question = Some(crate::archive::Question::parse("app:erp OR -app:erp").unwrap());
        let narrowing = Narrowing { question, ..Narrowing::default() };
        let count = |time: Duration, values: usize| {
            let ranking = Ranking::new(Dimension::App, None, 10);
            let most = Most { time, values, at_once: 2 };
            let (tallies, down_to) = looked_up(&archive, &narrowing, ranking, &most).unwrap();
            (tallies.total.messages, down_to)
        };
        assert_eq!(count(Duration::ZERO, 9), (2, Some(ids[3])));
        assert_eq!(count(Duration::MAX, 1), (2, Some(ids[3])));
        assert_eq!(count(Duration::MAX, 9), (5, None));
        assert!(part(ids[3]).contains(&ids[3].time().to_string()));
        archive.close().await;
    }
}
