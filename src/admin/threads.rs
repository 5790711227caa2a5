//! Threads: what was said about one reference code, by mail and SMS, in and out, and the calls and
//! notes that people added.
//!
//! A thread has no record of its own: it is the messages that carry the reference, and the entries. An
//! entry is seen by those who may see its app, or, without one, by those who may see all apps.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::cursor::{self, List};
use super::parameters::{self, Parameters, Segment};
use super::problem::{FieldError, Problem, ProblemKind};
use super::state::AdminState;
use super::views::{MessageView, PageView};
use crate::account::{AppScope, Identity};
use crate::archive::{
    EntriesOf, Filter, MAX_ENTRIES_OF_ONE, Message, NewThreadEntry, Order, Thread, ThreadEntry,
};
use crate::model::{AppName, MessageId, Reference, Timestamp};

/// Longest text of an entry.
const MAX_TEXT_CHARS: usize = 8_000;
/// Longest word for a kind, and longest name of who it was.
const MAX_KIND_CHARS: usize = 32;
const MAX_BY_CHARS: usize = 200;
/// Longest address.
const MAX_ADDRESS_CHARS: usize = 320;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ThreadView {
    /// As it was written first.
    reference: String,
    messages: u64,
    entries: u64,
    first_at: String,
    last_at: String,
}

/// One thing of a thread or a contact.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ItemView {
    Message(Box<MessageView>),
    Entry(Box<EntryView>),
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EntryView {
    id: u64,
    reference: String,
    address: Option<String>,
    app: Option<String>,
    kind: String,
    text: String,
    at: String,
    by: String,
    added_by: String,
    added_at: String,
}

impl EntryView {
    pub(super) fn new(entry: &ThreadEntry) -> EntryView {
        let what = &entry.what;
        EntryView {
            id: entry.id,
            reference: what.reference.to_string(),
            address: what.address.clone(),
            app: what.app.as_ref().map(ToString::to_string),
            kind: what.kind.clone(),
            text: what.text.clone(),
            at: what.at.to_string(),
            by: what.by.clone(),
            added_by: what.added_by.clone(),
            added_at: what.added_at.to_string(),
        }
    }
}

impl ThreadView {
    fn new(thread: &Thread) -> ThreadView {
        ThreadView {
            reference: thread.reference.clone(),
            messages: thread.messages,
            entries: thread.entries,
            first_at: thread.first_at.to_string(),
            last_at: thread.last_at.to_string(),
        }
    }
}

/// `GET /api/v1/threads`: the newest activity first.
pub(super) async fn list(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
) -> Result<Json<PageView<ThreadView>>, Problem> {
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Threads, "", text);
        key.as_deref().and_then(read_place).ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let threads = state.archive.threads(identity.scope.names(), after, limit)?;
        let last = threads.last().filter(|_| threads.len() == limit);
        let next = last.map(|last| {
            let mut key = last.last_at.as_millis().to_be_bytes().to_vec();
            key.extend_from_slice(last.canonical.as_bytes());
            cursor::encode(List::Threads, "", &key)
        });
        Ok(Json(PageView { items: threads.iter().map(ThreadView::new).collect(), next }))
    };
    state.read(read).await
}

fn read_place(key: &[u8]) -> Option<(Timestamp, String)> {
    let (at, name) = key.split_first_chunk()?;
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some((Timestamp::from_millis(i64::from_be_bytes(*at)), name))
}

/// `GET /api/v1/threads/{reference}`: in the order in which it happened.
pub(super) async fn one(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(reference): Segment<String>,
    uri: Uri,
) -> Result<Json<PageView<ItemView>>, Problem> {
    let reference = read_reference(&reference)?;
    let question = reference.canonical();
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Thread, &question, text);
        key.as_deref().and_then(Spot::read).ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let page = page(state, &identity.scope, &reference, after, limit)?;
        if page.items.is_empty() && page.next.is_none() && after.is_none() {
            return Err(Problem::not_found("thread"));
        }
        let items = page.items.iter().map(ItemView::new).collect();
        let next = page.next.map(|last| cursor::encode(List::Thread, &question, &last.key()));
        Ok(Json(PageView { items, next }))
    };
    state.read(read).await
}

/// One thing, before it is shown.
pub(super) enum Item {
    Message(Box<Message>),
    Entry(Box<ThreadEntry>),
}

impl ItemView {
    pub(super) fn new(item: &Item) -> ItemView {
        match item {
            Item::Message(message) => ItemView::Message(Box::new(MessageView::new(message))),
            Item::Entry(entry) => ItemView::Entry(Box::new(EntryView::new(entry))),
        }
    }
}

/// Where a thing stands among the others: by its time; entries of one time by their numbers, and
/// before the messages of that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    at: MessageId,
    entry: u64,
}

impl Spot {
    pub(super) fn of_message(id: MessageId) -> Spot {
        Spot { at: id, entry: u64::MAX }
    }

    pub(super) fn of_entry(entry: &ThreadEntry) -> Spot {
        Spot { at: MessageId::first_at(entry.what.at), entry: entry.id }
    }

    /// The messages behind this spot are those behind this one, the newest or oldest first.
    pub(super) fn message(self) -> MessageId {
        self.at
    }

    /// For a cursor.
    pub(super) fn key(self) -> Vec<u8> {
        [&cursor::message_key(self.at)[..], &self.entry.to_be_bytes()].concat()
    }

    pub(super) fn read(key: &[u8]) -> Option<Spot> {
        let (at, entry) = key.split_last_chunk()?;
        Some(Spot { at: cursor::read_message_key(at)?, entry: u64::from_be_bytes(*entry) })
    }
}

impl Item {
    pub(super) fn spot(&self) -> Spot {
        match self {
            Item::Message(message) => Spot::of_message(message.id),
            Item::Entry(entry) => Spot::of_entry(entry),
        }
    }
}

/// Part of a thread.
pub(super) struct ThreadPage {
    pub items: Vec<Item>,
    pub next: Option<Spot>,
}

/// The messages and entries behind `after`, at most so many.
pub(super) fn page(
    state: &AdminState,
    scope: &AppScope,
    reference: &Reference,
    after: Option<Spot>,
    limit: usize,
) -> Result<ThreadPage, Problem> {
    let apps = scope.names().map(<[AppName]>::to_vec);
    let filter = Filter { reference: Some(reference.clone()), apps, ..Filter::default() };
    let found = state.archive.list(&filter, Order::Oldest, after.map(Spot::message), limit)?;
    // The list may end before its end; what happened behind that place is of another page.
    let mut next = found.next.map(Spot::of_message);
    let mut entries = state.archive.entries(EntriesOf::Reference(reference))?;
    entries.retain(|entry| {
        let spot = Spot::of_entry(entry);
        may_see(scope, entry)
            && after.is_none_or(|after| spot > after)
            && next.is_none_or(|last| spot <= last)
    });
    let messages = found.items.into_iter().map(|message| Item::Message(Box::new(message)));
    let mut items: Vec<Item> =
        messages.chain(entries.into_iter().map(|entry| Item::Entry(Box::new(entry)))).collect();
    items.sort_by_key(Item::spot);
    if items.len() > limit {
        items.truncate(limit);
        next = items.last().map(Item::spot);
    }
    Ok(ThreadPage { items, next })
}

pub(super) fn may_see(scope: &AppScope, entry: &ThreadEntry) -> bool {
    match (&entry.what.app, scope) {
        (_, AppScope::All) => true,
        (Some(app), AppScope::Only(_)) => scope.contains(app),
        (None, AppScope::Only(_)) => false,
    }
}

pub(super) fn read_reference(text: &str) -> Result<Reference, Problem> {
    let reference = Reference::parse(text).filter(|reference| !reference.canonical().is_empty());
    reference.ok_or_else(|| Problem::not_found("thread"))
}

/// `{kind, text, by?, at?, address?, app?}`; `by` is who asks, where it says nobody else.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EntryBody {
    kind: String,
    text: String,
    by: Option<String>,
    at: Option<String>,
    address: Option<String>,
    app: Option<String>,
}

/// `POST /api/v1/threads/{reference}/entries`: something that happened elsewhere.
pub(super) async fn add_entry(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(reference): Segment<String>,
    uri: Uri,
    JsonBody(body): JsonBody<EntryBody>,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let reference = read_reference(&reference)?;
    let entry = read_entry(body, reference, &identity)?;
    match state.archive.add_entry(entry).await? {
        Some(entry) => {
            tracing::info!(id = entry.id, by = entry.what.added_by, "an entry was added");
            Ok((StatusCode::CREATED, Json(EntryView::new(&entry))).into_response())
        }
        None => {
            let detail = format!("A thread or contact has at most {MAX_ENTRIES_OF_ONE} entries.");
            Err(Problem::new(ProblemKind::Conflict, detail))
        }
    }
}

fn read_entry(
    body: EntryBody,
    reference: Reference,
    identity: &Identity,
) -> Result<NewThreadEntry, Problem> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, detail: String| {
        errors.push(FieldError { field: field.to_owned(), detail });
    };
    let is_line = |text: &str, most: usize| {
        !text.trim().is_empty()
            && text.chars().count() <= most
            && !text.chars().any(char::is_control)
    };
    let is_kind_char =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if !is_line(&body.kind, MAX_KIND_CHARS) || !body.kind.chars().all(is_kind_char) {
        let detail = format!(
            "kind is a word such as call or note: at most {MAX_KIND_CHARS} of a-z, 0-9, - and _."
        );
        wrong("kind", detail);
    }
    let is_bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if body.text.trim().is_empty()
        || body.text.chars().count() > MAX_TEXT_CHARS
        || body.text.chars().any(is_bad)
    {
        let detail = format!("text is 1 to {MAX_TEXT_CHARS} characters, none of control.");
        wrong("text", detail);
    }
    let by = body.by.unwrap_or_else(|| identity.actor.to_string());
    if !is_line(&by, MAX_BY_CHARS) {
        wrong(
            "by",
            format!("by says who it was, in one line of at most {MAX_BY_CHARS} characters."),
        );
    }
    if body.address.as_deref().is_some_and(|address| !is_line(address, MAX_ADDRESS_CHARS)) {
        wrong("address", format!("address is 1 to {MAX_ADDRESS_CHARS} characters of text."));
    }
    let now = super::now();
    let at = match body.at.as_deref().map(Timestamp::parse_rfc3339) {
        None => now,
        Some(Some(at)) if at <= now => at,
        Some(Some(_) | None) => {
            wrong("at", "at is a time in the past such as 2026-01-31T08:00:00Z.".into());
            now
        }
    };
    let app = read_app(body.app.as_deref(), &identity.scope).unwrap_or_else(|detail| {
        wrong("app", detail.to_owned());
        None
    });
    if !errors.is_empty() {
        return Err(Problem::of_fields(ProblemKind::InvalidBody, errors));
    }
    let address = body.address.map(|address| super::contacts::normal(&address));
    let added_by = identity.actor.to_string();
    let EntryBody { kind, text, .. } = body;
    Ok(NewThreadEntry { reference, address, app, kind, text, at, by, added_by, added_at: now })
}

/// The app that an entry belongs to.
fn read_app(given: Option<&str>, scope: &AppScope) -> Result<Option<AppName>, &'static str> {
    match (given.map(AppName::parse), scope) {
        (Some(Some(app)), scope) if scope.contains(&app) => Ok(Some(app)),
        (Some(_), _) => Err("app is the name of an app that you may see."),
        (None, AppScope::All) => Ok(None),
        // There is only one that it can be.
        (None, AppScope::Only(apps)) if apps.len() == 1 => Ok(apps.first().cloned()),
        (None, AppScope::Only(_)) => Err("app says which of your apps it belongs to."),
    }
}
