//! `GET /api/v1/messages`, one message, and its history.

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};

use super::absence::AbsenceView;
use super::cursor::{self, List};
use super::parameters::{self, Parameters, Segment};
use super::problem::Problem;
use super::query::MessageQuery;
use super::state::AdminState;
use super::views::{EventView, FoundView, MessageView, PageView};
use crate::account::Identity;
use crate::model::MessageId;

/// Messages that match the parameters and may be seen.
pub(super) async fn list(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
) -> Result<Json<FoundView>, Problem> {
    let query = MessageQuery::read(&uri, &identity.scope)?;
    state
        .read(move |state| {
            let page = query.page(&state.archive)?;
            let items = page.items.iter().map(MessageView::new).collect();
            let absence = page.absence.as_ref().map(AbsenceView::new);
            Ok(Json(FoundView { items, next: page.next, note: page.note, absence }))
        })
        .await
}

/// One message.
pub(super) async fn one(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<MessageView>, Problem> {
    parameters::none(&uri)?;
    let id = message_id(&id)?;
    let read = move |state: &AdminState| {
        let message = state.message(id, &identity.scope)?;
        let touches = state.archive.touches(id)?;
        Ok(Json(MessageView::new(&message).with_touches(&touches)))
    };
    state.read(read).await
}

/// What happened to it, oldest first.
pub(super) async fn events(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<PageView<EventView>>, Problem> {
    let id = message_id(&id)?;
    let question = id.to_string();
    let mut parameters = Parameters::read(&uri, &["limit", "cursor"]);
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Events, &question, text);
        let sequence = key.as_deref().and_then(cursor::read_sequence_key);
        sequence.ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        state.message(id, &identity.scope)?;
        let page = state.archive.events(id, after, limit)?;
        let cursor = |last| cursor::encode(List::Events, &question, &cursor::sequence_key(last));
        let items = page.items.iter().map(EventView::new).collect();
        Ok(Json(PageView { items, next: page.next.map(cursor) }))
    };
    state.read(read).await
}

/// A text that is no id names no message.
pub(super) fn message_id(text: &str) -> Result<MessageId, Problem> {
    MessageId::parse(text).ok_or_else(|| Problem::not_found("message"))
}
