//! `POST /api/v1/messages/actions`: stop, restart or release many messages, and
//! `GET /api/v1/jobs/{id}`: what became of each, and `GET /api/v1/jobs`: which there are.
//!
//! Every such wish is a job in the archive. Its first messages are taken at once, and where that was
//! all the answer says so; otherwise it is 202, and the job goes on by itself, also after a restart.
//! What came after the wish is not touched. A dry run counts what would be done and changes nothing.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::cursor::{self, List};
use super::parameters::{self, Parameters, Segment};
use super::problem::{Problem, ProblemKind};
use super::query;
use super::state::AdminState;
use super::views::PageView;
use crate::account::{AppScope, Identity};
use crate::archive::{
    ActionKind, Bulk, BulkItem, BulkOutcome, BulkState, BulkStep, Narrowing, NewBulk, Order,
};
use crate::model::{MessageId, Sequence, Timestamp};

/// Messages of one step, which is one transaction.
const STEP: usize = 100;
/// Steps before the answer: what takes more goes on by itself.
const STEPS_AT_ONCE: usize = 5;
/// Messages that are named one by one.
const MAX_IDS: usize = 500;
/// When to try again where too many are under way.
const RETRY_AFTER_SECONDS: u64 = 5;
/// How ids stand in the place of a query.
const IDS: &str = "ids=";

/// `{action, query | ids, dry_run?}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BulkBody {
    action: String,
    /// The parameters of the list: `{"status": "pending", "app": "erp"}`.
    #[schema(value_type = Option<Object>)]
    query: Option<Map<String, Value>>,
    ids: Option<Vec<String>>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobView {
    job: String,
    action: &'static str,
    dry_run: bool,
    state: &'static str,
    /// As a URL has it.
    query: String,
    by: String,
    created_at: String,
    finished_at: Option<String>,
    counts: CountsView,
}

#[derive(Debug, Serialize, ToSchema)]
struct CountsView {
    /// Looked at so far.
    matched: u64,
    /// Done; in a dry run: possible.
    done: u64,
    refused: u64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JobPageView {
    #[serde(flatten)]
    job: JobView,
    items: Vec<JobItemView>,
    next: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct JobItemView {
    id: String,
    /// `done`, `possible`, `refused`.
    result: &'static str,
    reason: Option<String>,
}

impl JobView {
    fn new(bulk: &Bulk) -> JobView {
        JobView {
            job: bulk.id.to_string(),
            action: word(bulk.what.kind),
            dry_run: bulk.what.dry_run,
            state: bulk.state.as_str(),
            query: bulk.what.query.clone(),
            by: bulk.what.by.clone(),
            created_at: bulk.what.at.to_string(),
            finished_at: bulk.finished_at.map(|at| at.to_string()),
            counts: CountsView {
                matched: bulk.done.saturating_add(bulk.refused),
                done: bulk.done,
                refused: bulk.refused,
            },
        }
    }
}

impl JobItemView {
    fn new(item: &BulkItem) -> JobItemView {
        let (result, reason) = match &item.outcome {
            BulkOutcome::Done => ("done", None),
            BulkOutcome::Possible => ("possible", None),
            BulkOutcome::Refused(why) => ("refused", Some(why.clone())),
        };
        JobItemView { id: item.message.to_string(), result, reason }
    }
}

pub(super) async fn begin(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
    JsonBody(body): JsonBody<BulkBody>,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let kind = read_action(&body.action)?;
    let query = match (body.query, body.ids) {
        (Some(query), None) => read_query(&query, &identity.scope)?,
        (None, Some(ids)) => read_ids(&ids)?,
        (Some(_), Some(_)) | (None, None) => {
            let detail = "Say either query or ids: which messages it is about.";
            return Err(Problem::of_field(ProblemKind::InvalidBody, "query", detail));
        }
    };
    let what = NewBulk {
        kind,
        dry_run: body.dry_run,
        query,
        apps: identity.scope.names().map(<[_]>::to_vec),
        by: identity.actor.to_string(),
        at: super::now(),
    };
    let Some(bulk) = state.archive.begin_bulk(what).await? else {
        let detail = "Too many of these are under way; wait for one to end, or cancel it.";
        return Err(Problem::new(ProblemKind::Busy, detail).retry_after(RETRY_AFTER_SECONDS));
    };
    tracing::info!(job = bulk.id, by = bulk.what.by, action = word(kind), "a job was begun");
    let bulk = go_on(&state, bulk, STEPS_AT_ONCE).await?;
    // It goes on with this one, or forgets an older one that had to make room.
    state.jobs.notify_one();
    let view = Json(JobView::new(&bulk));
    if bulk.state != BulkState::Running {
        return Ok(view.into_response());
    }
    let place = format!("/api/v1/jobs/{}", bulk.id);
    Ok((StatusCode::ACCEPTED, [(LOCATION, place)], view).into_response())
}

/// `GET /api/v1/jobs`: those that are kept, the newest first.
pub(super) async fn list(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
) -> Result<Json<PageView<JobView>>, Problem> {
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let before = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Jobs, "", text);
        let number = key.as_deref().and_then(cursor::read_sequence_key);
        number.ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let is_seen = |bulk: &Bulk| may_see(&identity.scope, bulk);
        let page = state.archive.bulks(before.map(|before| before.0), limit, is_seen)?;
        let next = page
            .next
            .map(|last| cursor::encode(List::Jobs, "", &cursor::sequence_key(Sequence(last))));
        Ok(Json(PageView { items: page.items.iter().map(JobView::new).collect(), next }))
    };
    state.read(read).await
}

/// `GET /api/v1/jobs/{id}`: where it stands, and what became of its messages.
pub(super) async fn one(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = job_id(&id)?;
    let question = id.to_string();
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Job, &question, text);
        let number = key.as_deref().and_then(cursor::read_sequence_key);
        number.ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let bulk = visible(state, id, &identity.scope)?;
        let page = state.archive.bulk_items(id, after.map(|after| after.0), limit)?;
        let next = page.next.map(|last| {
            cursor::encode(List::Job, &question, &cursor::sequence_key(Sequence(last)))
        });
        let items = page.items.iter().map(JobItemView::new).collect();
        Ok(Json(JobPageView { job: JobView::new(&bulk), items, next }).into_response())
    };
    state.read(read).await
}

/// `POST /api/v1/jobs/{id}/cancel`: what was done stays done.
pub(super) async fn cancel(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let id = job_id(&id)?;
    let scope = identity.scope.clone();
    state.read(move |state| visible(state, id, &scope).map(drop)).await?;
    let bulk = state.archive.cancel_bulk(id, super::now()).await?;
    let bulk = bulk.ok_or_else(|| Problem::not_found("job"))?;
    tracing::info!(job = id, by = %identity.actor, "a job was cancelled");
    Ok(Json(JobView::new(&bulk)).into_response())
}

/// Somebody who is limited to apps sees the jobs of those who are limited to the same or fewer.
fn visible(state: &AdminState, id: u64, scope: &AppScope) -> Result<Bulk, Problem> {
    let bulk = state.archive.bulk(id)?.filter(|bulk| may_see(scope, bulk));
    bulk.ok_or_else(|| Problem::not_found("job"))
}

fn may_see(scope: &AppScope, bulk: &Bulk) -> bool {
    match (scope, &bulk.what.apps) {
        (AppScope::All, _) => true,
        (AppScope::Only(_), None) => false,
        (AppScope::Only(_), Some(apps)) => apps.iter().all(|app| scope.contains(app)),
    }
}

fn job_id(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| Problem::not_found("job"))
}

fn read_action(text: &str) -> Result<ActionKind, Problem> {
    match text {
        "stop" => Ok(ActionKind::Stop),
        "restart" => Ok(ActionKind::Restart),
        "release" => Ok(ActionKind::Release),
        _ => {
            let detail = "action is stop, restart or release.";
            Err(Problem::of_field(ProblemKind::InvalidBody, "action", detail))
        }
    }
}

fn word(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Stop => "stop",
        ActionKind::Restart => "restart",
        ActionKind::Release => "release",
    }
}

/// The query as a URL has it, after a look whether the list would take it. One without any filter
/// is refused: everything is said by a filter too.
fn read_query(query: &Map<String, Value>, scope: &AppScope) -> Result<String, Problem> {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in query {
        match value {
            Value::String(value) => drop(text.append_pair(name, value)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                let detail = format!("{name} is a text, as in the URL of the list.");
                return Err(Problem::of_field(ProblemKind::InvalidBody, "query", detail));
            }
        }
    }
    let text = text.finish();
    if text.is_empty() {
        let detail = "query names no filter; for all messages say since: 1970-01-01.";
        return Err(Problem::of_field(ProblemKind::InvalidBody, "query", detail));
    }
    narrowing(&text, scope)?;
    Ok(text)
}

/// The list's own reading of it.
fn narrowing(query: &str, scope: &AppScope) -> Result<Narrowing, Problem> {
    let uri: Uri = format!("/?{query}").parse().map_err(|_| {
        let detail = "query is longer than a URL may be.";
        Problem::of_field(ProblemKind::InvalidBody, "query", detail)
    })?;
    let (narrowing, parameters) = query::narrowing(&uri, scope, &[]);
    parameters.finish()?;
    Ok(narrowing)
}

/// The ids. Whether there are such messages is found out when they are acted on.
fn read_ids(ids: &[String]) -> Result<String, Problem> {
    let wrong = |detail: String| Problem::of_field(ProblemKind::InvalidBody, "ids", detail);
    if ids.is_empty() || ids.len() > MAX_IDS {
        return Err(wrong(format!("ids names 1 to {MAX_IDS} messages.")));
    }
    let mut known = Vec::with_capacity(ids.len());
    for id in ids {
        let shown: String = id.chars().take(40).collect();
        let parsed = MessageId::parse(id);
        known.push(parsed.ok_or_else(|| wrong(format!("{shown:?} is not the id of a message.")))?);
    }
    known.sort_unstable();
    known.dedup();
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    Ok(format!("{IDS}{}", known.join(",")))
}

/// Takes at most so many steps of a job; gives it as it stands then.
async fn go_on(state: &AdminState, mut bulk: Bulk, steps: usize) -> Result<Bulk, Problem> {
    for _ in 0..steps {
        if bulk.state != BulkState::Running {
            break;
        }
        let of = bulk.clone();
        let step = state.read(move |state| next_step(state, &of)).await?;
        match state.archive.step_bulk(bulk.id, step).await? {
            Some(after) => bulk = after,
            // Somebody cancelled it.
            None => {
                let id = bulk.id;
                let read = move |state: &AdminState| Ok(state.archive.bulk(id)?);
                return state.read(read).await?.ok_or_else(|| Problem::not_found("job"));
            }
        }
    }
    Ok(bulk)
}

fn next_step(state: &AdminState, bulk: &Bulk) -> Result<BulkStep, Problem> {
    let at = super::now();
    let what = &bulk.what;
    let scope = what.apps.clone().map_or(AppScope::All, AppScope::Only);
    if let Some(ids) = what.query.strip_prefix(IDS) {
        let messages: Vec<MessageId> = ids.split(',').filter_map(MessageId::parse).collect();
        let mut unseen = Vec::new();
        for id in &messages {
            match state.message(*id, &scope) {
                Ok(_) => {}
                Err(problem) if problem.is_not_found() => unseen.push(*id),
                Err(problem) => return Err(problem),
            }
        }
        return Ok(BulkStep { after: bulk.after, messages, unseen, next: None, at });
    }
    let mut narrowing = narrowing(&what.query, &scope)?;
    // What came after the wish was not meant.
    let end = Timestamp::from_millis(what.at.as_millis().saturating_add(1));
    let until = &mut narrowing.filter.until;
    *until = Some(until.map_or(end, |until| until.min(end)));
    let page = state.archive.narrowed(&narrowing, Order::Oldest, bulk.after, STEP)?;
    let messages = page.items.iter().map(|message| message.id).collect();
    Ok(BulkStep { after: bulk.after, messages, unseen: Vec::new(), next: page.next, at })
}

/// Brings jobs to their end, some steps of each in turn so that a small one does not wait for a large
/// one, until the daemon stops. What goes wrong leaves its job where it is until the next one is
/// begun, or the next start.
pub(super) async fn run(state: AdminState) {
    let stop = state.stop.clone();
    let work = async {
        loop {
            let mut stuck = BTreeSet::new();
            while take_turns(&state, &mut stuck).await {}
            forget_old(&state).await;
            state.jobs.notified().await;
        }
    };
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

/// Makes room for the messages of new jobs.
async fn forget_old(state: &AdminState) {
    loop {
        match state.archive.forget_bulk_items().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return tracing::error!(%error, "old jobs could not be forgotten"),
        }
    }
}

/// Some steps of each job that is running; whether there was one that could go on.
async fn take_turns(state: &AdminState, stuck: &mut BTreeSet<u64>) -> bool {
    let (mut behind, mut is_any) = (0, false);
    while let Ok(Some(bulk)) =
        state.read(move |state| Ok(state.archive.running_bulk(behind)?)).await
    {
        let id = bulk.id;
        behind = id;
        if stuck.contains(&id) {
            continue;
        }
        match go_on(state, bulk, STEPS_AT_ONCE).await {
            Ok(after) if after.state != BulkState::Running => {
                let (done, refused) = (after.done, after.refused);
                tracing::info!(job = id, done, refused, "a job has ended");
            }
            Ok(_) => is_any = true,
            Err(problem) => {
                tracing::error!(job = id, ?problem, "a job can not go on");
                stuck.insert(id);
            }
        }
    }
    is_any
}
