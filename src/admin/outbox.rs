//! `/api/v1/deliveries`: what applications are still to be told, and what was given up.
//!
//! A URL may hold an application's own secrets, so only its scheme and host are shown.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use serde::Serialize;
use url::Url;
use utoipa::ToSchema;

use super::cursor::{self, List};
use super::parameters::{self, Parameters, Segment};
use super::problem::Problem;
use super::state::AdminState;
use super::views::PageView;
use crate::account::Identity;
use crate::archive::{Delivery, DeliveryKind};
use crate::model::Sequence;

/// One delivery.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryView {
    id: u64,
    /// `receipt`, `inbound`, `webhook`.
    kind: &'static str,
    message: String,
    /// The number of the event that it tells of.
    event: u64,
    /// Scheme and host.
    to: String,
    /// `pending` or `given_up`.
    status: &'static str,
    attempts: u32,
    created_at: String,
    next_attempt_at: Option<String>,
    last_error: Option<String>,
}

impl DeliveryView {
    fn new(delivery: &Delivery) -> DeliveryView {
        DeliveryView {
            id: delivery.id,
            kind: match delivery.what.kind {
                DeliveryKind::Receipt => "receipt",
                DeliveryKind::Inbound => "inbound",
                DeliveryKind::Webhook => "webhook",
            },
            message: delivery.what.message.to_string(),
            event: delivery.what.event.0,
            to: origin(&delivery.what.url),
            status: if delivery.due_at.is_some() { "pending" } else { "given_up" },
            attempts: delivery.attempts,
            created_at: delivery.created_at.to_string(),
            next_attempt_at: delivery.due_at.map(|at| at.to_string()),
            last_error: delivery.last_error.clone(),
        }
    }
}

fn origin(url: &str) -> String {
    Url::parse(url).map(|url| url.origin().ascii_serialization()).unwrap_or_default()
}

/// Pending and given up, oldest first; `status` narrows it.
pub(super) async fn list(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Json<PageView<DeliveryView>>, Problem> {
    let mut parameters = Parameters::read(&uri, &["status", "limit", "cursor"]);
    let given_up = parameters.take("status", |text| match text {
        "pending" => Ok(false),
        "given_up" => Ok(true),
        _ => Err("status is pending or given_up.".to_owned()),
    });
    let question = format!("{given_up:?}");
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Deliveries, &question, text);
        let key = key.as_deref().and_then(cursor::read_sequence_key);
        key.map(|sequence| sequence.0).ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let page = state.archive.deliveries(given_up, after, limit)?;
        let key = |last| cursor::sequence_key(Sequence(last));
        let next = page.next.map(|last| cursor::encode(List::Deliveries, &question, &key(last)));
        Ok(Json(PageView { items: page.items.iter().map(DeliveryView::new).collect(), next }))
    };
    state.read(read).await
}

/// Tries one that was given up again.
pub(super) async fn again(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    parameters::none(&uri)?;
    let id: u64 = id.parse().map_err(|_| missing())?;
    if !state.archive.deliver_again(id, super::now()).await? {
        return Err(missing());
    }
    tracing::info!(delivery = id, by = %identity.actor, "a delivery is tried again");
    Ok(StatusCode::ACCEPTED)
}

/// Drops one for good.
pub(super) async fn drop_one(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    parameters::none(&uri)?;
    let id: u64 = id.parse().map_err(|_| missing())?;
    if !state.archive.drop_delivery(id).await? {
        return Err(missing());
    }
    tracing::info!(delivery = id, by = %identity.actor, "a delivery was dropped");
    Ok(StatusCode::NO_CONTENT)
}

fn missing() -> Problem {
    Problem::not_found("delivery")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_secrets() {
        assert_eq!(origin("https://erp.example.com/sms?key=hunter2"), "https://erp.example.com");
        assert_eq!(origin("http://u:hunter2@10.0.0.5:8080/x"), "http://10.0.0.5:8080");
        assert_eq!(origin("no url"), "");
    }
}
