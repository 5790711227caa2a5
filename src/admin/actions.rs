//! `POST …/stop`, `…/restart`, `…/release`, `DELETE`: what a person does to a message.
//!
//! The archive's one writer decides, so a stop and a sending never both win; this file only carries
//! the wish there and the answer back.

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::{Index, OptionalJsonBody};
use super::messages::message_id;
use super::parameters::{self, Segment};
use super::problem::{Problem, ProblemKind};
use super::state::AdminState;
use super::views::MessageView;
use crate::account::Identity;
use crate::archive::{Action, ActionKind, ActionRefusal, Erasure, ErasureKind};

/// `{"recipients": [0, 2], "reason": "asked for by telephone"}`; without recipients, all of them for
/// which the action is possible. A restart with a reason goes past the suppression list.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActionBody {
    #[schema(value_type = Option<Vec<u16>>)]
    recipients: Option<Vec<Index>>,
    reason: Option<String>,
}

/// Everything of an action's request but its kind.
type Wish =
    (State<AdminState>, Extension<Identity>, Segment<String>, Uri, OptionalJsonBody<ActionBody>);

pub(super) async fn stop(
    state: State<AdminState>,
    identity: Extension<Identity>,
    id: Segment<String>,
    uri: Uri,
    body: OptionalJsonBody<ActionBody>,
) -> Result<Json<MessageView>, Problem> {
    act(ActionKind::Stop, (state, identity, id, uri, body)).await
}

pub(super) async fn restart(
    state: State<AdminState>,
    identity: Extension<Identity>,
    id: Segment<String>,
    uri: Uri,
    body: OptionalJsonBody<ActionBody>,
) -> Result<Json<MessageView>, Problem> {
    act(ActionKind::Restart, (state, identity, id, uri, body)).await
}

pub(super) async fn release(
    state: State<AdminState>,
    identity: Extension<Identity>,
    id: Segment<String>,
    uri: Uri,
    body: OptionalJsonBody<ActionBody>,
) -> Result<Json<MessageView>, Problem> {
    act(ActionKind::Release, (state, identity, id, uri, body)).await
}

async fn act(kind: ActionKind, wish: Wish) -> Result<Json<MessageView>, Problem> {
    let (State(state), Extension(identity), Segment(id), uri, OptionalJsonBody(body)) = wish;
    parameters::none(&uri)?;
    let message = message_id(&id)?;
    let (recipients, reason) = body.map_or((None, None), |body| (body.recipients, body.reason));
    check_reason(reason.as_deref())?;
    let recipients: Option<Vec<u16>> =
        recipients.map(|list| list.into_iter().map(|Index(index)| index).collect());
    if recipients.as_ref().is_some_and(Vec::is_empty) {
        let detail = "recipients names no recipient; leave it out for all of them.";
        return Err(Problem::of_field(ProblemKind::InvalidBody, "recipients", detail));
    }
    // The app of a message never changes, so what may be seen now may be acted on afterwards.
    let scope = identity.scope.clone();
    state.read(move |state| state.message(message, &scope).map(drop)).await?;
    let by = identity.actor.to_string();
    let (wanted, at) = (recipients.clone(), super::now());
    let action = Action { kind, message, recipients: wanted, by: by.clone(), reason, at };
    match state.archive.act(action).await? {
        Ok(changed) => {
            let recipients = recipients.as_ref().map(tracing::field::debug);
            tracing::info!(id = %message, by, recipients, "{}", word(kind));
            Ok(Json(MessageView::new(&changed)))
        }
        Err(refusal) => Err(refused(&refusal)),
    }
}

/// Longest reason for an action; the archive keeps no more.
const MAX_REASON_CHARS: usize = 500;

/// `{"reason": "…"}`
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteBody {
    reason: String,
}

/// `DELETE …/{id}`: the content goes; what proves that it was there stays.
pub(super) async fn delete(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
    OptionalJsonBody(body): OptionalJsonBody<DeleteBody>,
) -> Result<Json<MessageView>, Problem> {
    parameters::none(&uri)?;
    let message = message_id(&id)?;
    // First of all whether there is such a message, as everywhere.
    let scope = identity.scope.clone();
    state.read(move |state| state.message(message, &scope).map(drop)).await?;
    let reason = body.map(|body| body.reason).unwrap_or_default();
    if reason.trim().is_empty()
        || reason.chars().any(char::is_control)
        || reason.chars().count() > MAX_REASON_CHARS
    {
        let detail = format!("reason says why, in one line of 1 to {MAX_REASON_CHARS} characters.");
        return Err(Problem::of_field(ProblemKind::InvalidBody, "reason", detail));
    }
    let (by, at) = (identity.actor.to_string(), super::now());
    let erasure =
        Erasure { message, kind: ErasureKind::Delete, by: by.clone(), reason: Some(reason), at };
    match state.archive.erase(erasure).await? {
        Ok(left) => {
            tracing::info!(id = %message, by, "deleted");
            Ok(Json(MessageView::new(&left)))
        }
        Err(refusal) => Err(refused(&refusal)),
    }
}

fn check_reason(reason: Option<&str>) -> Result<(), Problem> {
    let is_bad = |reason: &str| {
        reason.chars().any(char::is_control) || reason.chars().count() > MAX_REASON_CHARS
    };
    if reason.is_some_and(is_bad) {
        let detail = format!("reason is one line of at most {MAX_REASON_CHARS} characters.");
        return Err(Problem::of_field(ProblemKind::InvalidBody, "reason", detail));
    }
    Ok(())
}

fn refused(refusal: &ActionRefusal) -> Problem {
    match refusal {
        ActionRefusal::NoSuchMessage => Problem::not_found("message"),
        ActionRefusal::NoSuchRecipient(_) => {
            Problem::of_field(ProblemKind::NotFound, "recipients", refusal.to_string())
        }
        ActionRefusal::TooLate(_) => Problem::new(ProblemKind::Conflict, refusal.to_string()),
    }
}

/// The milestone in the log.
fn word(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Stop => "stopped",
        ActionKind::Restart => "restarted",
        ActionKind::Release => "released",
    }
}
