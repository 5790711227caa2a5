//! `GET /api/v1/messages.csv`: all messages that match, as a table (RFC 4180), written while it is
//! read.
//!
//! What it keeps: one page of the list and a few chunks in memory, however many rows there are; one
//! row for each message, newest first or as asked; cells that no spreadsheet takes for a formula. An
//! export that could not be finished is cut off, so that nobody takes it for the whole.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::cells;
use super::places::{Place, Places};
use super::problem::Problem;
use super::query;
use super::state::AdminState;
use super::streamed::{Cut, Feed, streamed};
use crate::account::Identity;
use crate::archive::{Narrowing, Order};
use crate::model::MessageId;

/// Exports at one time, and those of one user or token.
const MAX_EXPORTS: usize = 4;
const MAX_EXPORTS_OF_ONE: usize = 2;
/// How long a reader may take nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that are read in one look into the archive.
const ROWS_AT_ONCE: usize = 200;
/// Longest chunk; one row may be longer.
const CHUNK_BYTES: usize = 64 << 10;

/// The places of exports.
pub(super) fn places() -> Places {
    Places::new(MAX_EXPORTS, MAX_EXPORTS_OF_ONE)
}

pub(super) async fn csv(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
) -> Result<Response, Problem> {
    let (narrowing, mut parameters) = query::narrowing(&uri, &identity.scope, &["order"]);
    let order = parameters.take("order", query::read_order).unwrap_or_default();
    parameters.finish()?;
    let place = state.exports.take(identity.actor.to_string())?;
    let (feed, body) = streamed(PATIENCE);
    let tasks = state.tasks.clone();
    tasks.spawn(write(state, narrowing, order, feed, place));
    let fields = [
        (CONTENT_TYPE, "text/csv; charset=utf-8; header=present"),
        (CONTENT_DISPOSITION, "attachment; filename=\"messages.csv\""),
    ];
    Ok((fields, body).into_response())
}

async fn write(state: AdminState, narrowing: Narrowing, order: Order, feed: Feed, place: Place) {
    let stop = state.stop.clone();
    let written = tokio::select! {
        written = rows(&state, &narrowing, order, &feed) => written,
        () = feed.gone() => Err(Cut::Gone),
        () = stop.cancelled() => Err(Cut::Failed),
    };
    if let Err(cut @ (Cut::TooSlow | Cut::Failed)) = written {
        tracing::warn!(client = place.owner(), %cut, "an export was cut");
    }
    // In this order: when the reader sees the end, nothing here holds the archive open any more.
    drop((state, place));
    match written {
        Ok(()) => drop(feed),
        Err(_) => feed.fail().await,
    }
}

async fn rows(
    state: &AdminState,
    narrowing: &Narrowing,
    order: Order,
    feed: &Feed,
) -> Result<(), Cut> {
    feed.send(cells::head().into()).await?;
    let mut after = None;
    loop {
        let narrowing = narrowing.clone();
        let read = state.read(move |state| chunks(state, &narrowing, order, after)).await;
        let (chunks, next) = read.map_err(|_| Cut::Failed)?;
        for chunk in chunks {
            feed.send(chunk).await?;
        }
        match next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// One page, and where the next one begins.
fn chunks(
    state: &AdminState,
    narrowing: &Narrowing,
    order: Order,
    after: Option<MessageId>,
) -> Result<(Vec<Bytes>, Option<MessageId>), Problem> {
    let page = state.archive.narrowed(narrowing, order, after, ROWS_AT_ONCE)?;
    let (mut chunks, mut text) = (Vec::new(), String::new());
    for message in &page.items {
        cells::row(&mut text, message);
        if text.len() >= CHUNK_BYTES {
            chunks.push(std::mem::take(&mut text).into());
        }
    }
    if !text.is_empty() {
        chunks.push(text.into());
    }
    Ok((chunks, page.next))
}
