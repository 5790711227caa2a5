//! `GET /api/v1/stream`: what happens to messages, as it happens, as server-sent events (WHATWG
//! HTML §9.2).
//!
//! Follows the journal: woken by each commit, it never polls. The id of an event is its number in the
//! journal, which has no gaps and only holds what is durable; so a client that comes back with
//! `Last-Event-ID` misses nothing and gets nothing twice, also after a kill of the daemon. The data is
//! the event with a short view of its message as that stands now, which is also what the filters
//! look at.
//!
//! What it keeps: a bounded number of streams in all and for one identity; no more than a few chunks
//! ahead of the reader, and one that does not read is cut; an end when the token is revoked, the
//! session is over or the rights are others; and an end after some minutes, so that no connection is
//! for ever (the client comes back by itself and is asked again).

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::time::Instant;

use super::auth::Proof;
use super::places::{Place, Places};
use super::problem::{Problem, ProblemKind};
use super::query;
use super::state::AdminState;
use super::streamed::{Cut, Feed, streamed};
use super::views::{EventView, StreamedView};
use crate::account::Identity;
use crate::archive::{Message, Narrowing};
use crate::model::{MessageId, Sequence};

/// Streams at one time.
const MAX_STREAMS: usize = 64;
/// Of one user or token: some browser tabs and a script.
const MAX_STREAMS_OF_ONE: usize = 8;
/// A comment goes out after so long a silence, so that nothing on the way takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader may take nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// How old the last look at the client's right may be when an event is told.
const RIGHT_TRUSTED: Duration = Duration::from_secs(1);
/// After so long a client has to ask again.
const MAX_LIFE: Duration = Duration::from_secs(10 * 60);
/// What a client waits before it comes back.
const RETRY_MS: u64 = 1_000;
/// Events that are read in one look into the archive.
const EVENTS_AT_ONCE: usize = 200;
/// Longest chunk; one event may be longer.
const CHUNK_BYTES: usize = 64 << 10;

/// The places of streams.
pub(super) fn places() -> Places {
    Places::new(MAX_STREAMS, MAX_STREAMS_OF_ONE)
}

pub(super) async fn stream(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let (narrowing, mut parameters) = query::narrowing(&uri, &identity.scope, &["last_event_id"]);
    let number = |text: &str| text.trim().parse().map(Sequence).map_err(|_| NO_NUMBER.to_owned());
    let asked = parameters.take("last_event_id", number);
    parameters.finish()?;
    // A client that comes back says so in the header, with its URL as it was at first.
    let resumed = headers.get("last-event-id").filter(|value| !value.is_empty());
    let resumed = resumed.map(|value| value.to_str().ok().and_then(|text| number(text).ok()));
    let asked = match resumed {
        Some(None) => {
            let kind = ProblemKind::InvalidParameter;
            return Err(Problem::of_field(kind, "Last-Event-ID", NO_NUMBER));
        }
        Some(sequence @ Some(_)) => sequence,
        None => asked,
    };
    let last = *state.archive.journal().borrow();
    let after = asked.unwrap_or(last);
    if after > last {
        let detail = format!("There is no event {} yet; the last one is {}.", after.0, last.0);
        return Err(Problem::new(ProblemKind::Conflict, detail));
    }
    let place = state.streams.take(identity.actor.to_string())?;
    let right = Right { proof: Proof::of(&headers), identity, looked_at: Instant::now() };
    let (feed, body) = streamed(PATIENCE);
    let tasks = state.tasks.clone();
    tasks.spawn(follow(state, right, narrowing, after, feed, place));
    Ok(([(CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response())
}

const NO_NUMBER: &str = "It is the number of an event: the id that the stream gave last.";

/// That the client may read this, and when that was looked at.
struct Right {
    proof: Option<Proof>,
    identity: Identity,
    looked_at: Instant,
}

impl Right {
    async fn check(&mut self, state: &AdminState) -> Result<(), Cut> {
        let Some(proof) = self.proof.clone() else { return Ok(()) };
        if self.looked_at.elapsed() < RIGHT_TRUSTED {
            return Ok(());
        }
        let (identity, now) = (self.identity.clone(), Instant::now());
        let holds = state.read(move |state| proof.holds(state, &identity)).await;
        self.looked_at = now;
        match holds.map_err(|_| Cut::Failed)? {
            true => Ok(()),
            false => Err(Cut::NotAllowed),
        }
    }
}

/// Writes until the reader is gone or may not read it any more, the daemon stops or the time is over.
async fn follow(
    state: AdminState,
    right: Right,
    narrowing: Narrowing,
    after: Sequence,
    feed: Feed,
    place: Place,
) {
    let end = Instant::now() + MAX_LIFE;
    let stop = state.stop.clone();
    let told = tokio::select! {
        told = tell(&state, right, &narrowing, after, &feed) => told,
        () = feed.gone() => Err(Cut::Gone),
        () = stop.cancelled() => Ok(()),
        () = tokio::time::sleep_until(end) => Ok(()),
    };
    if let Err(cut @ (Cut::TooSlow | Cut::Failed | Cut::NotAllowed)) = told {
        tracing::warn!(client = place.owner(), %cut, "a live stream was cut");
    }
    // In this order: when the reader sees the end, nothing here holds the archive open any more.
    drop((state, place));
    drop(feed);
}

async fn tell(
    state: &AdminState,
    mut right: Right,
    narrowing: &Narrowing,
    mut after: Sequence,
    feed: &Feed,
) -> Result<(), Cut> {
    let mut journal = state.archive.journal();
    // An id alone is no event, but the client keeps it: it can come back before the first event.
    feed.send(format!("retry: {RETRY_MS}\nid: {}\n\n", after.0).into()).await?;
    let mut silent_since = Instant::now();
    loop {
        // Much may happen of which nothing is told: the silence counts, not what is passed over.
        if silent_since.elapsed() >= KEEP_ALIVE {
            right.check(state).await?;
            feed.send(format!(": \nid: {}\n\n", after.0).into()).await?;
            silent_since = Instant::now();
        }
        // Marked as seen before the look, so that a commit in between wakes it again.
        let known = *journal.borrow_and_update();
        if known <= after {
            let until = silent_since + KEEP_ALIVE;
            match tokio::time::timeout_at(until, journal.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => return Ok(()),
            }
            continue;
        }
        right.check(state).await?;
        let narrowing = narrowing.clone();
        let read = state.read(move |state| chunks(state, &narrowing, after)).await;
        let (chunks, last) = read.map_err(|_| Cut::Failed)?;
        for chunk in chunks {
            feed.send(chunk).await?;
            silent_since = Instant::now();
        }
        // What can not be read is passed over.
        after = last.unwrap_or(known);
    }
}

/// The next events that match, as chunks, and the last one that was looked at.
fn chunks(
    state: &AdminState,
    narrowing: &Narrowing,
    after: Sequence,
) -> Result<(Vec<Bytes>, Option<Sequence>), Problem> {
    let events = state.archive.journal_after(after, EVENTS_AT_ONCE)?;
    let last = events.last().map(|event| event.sequence);
    let mut known: HashMap<MessageId, Option<Message>> = HashMap::new();
    let (mut chunks, mut text) = (Vec::new(), String::new());
    for event in &events {
        let message = known.entry(event.message).or_insert_with(|| {
            state.archive.narrowed_one(narrowing, event.message).unwrap_or_else(|error| {
                tracing::error!(id = %event.message, %error, "a message can not be read");
                None
            })
        });
        let Some(message) = message else { continue };
        let view = StreamedView::new(EventView::new(event), message);
        let data = serde_json::to_string(&view)
            .map_err(|error| Problem::internal("write an event", &error))?;
        let (id, kind) = (event.sequence.0, event.kind.as_str());
        // JSON has no line breaks in it.
        let _ = write!(text, "id: {id}\nevent: {kind}\ndata: {data}\n\n");
        if text.len() >= CHUNK_BYTES {
            chunks.push(std::mem::take(&mut text).into());
        }
    }
    // Where nothing matches for long, the place is told all the same: who comes back then does not
    // begin far behind.
    if let Some(last) = last.filter(|_| text.is_empty() && events.len() >= EVENTS_AT_ONCE) {
        let _ = write!(text, "id: {}\n\n", last.0);
    }
    if !text.is_empty() {
        chunks.push(text.into());
    }
    Ok((chunks, last))
}
