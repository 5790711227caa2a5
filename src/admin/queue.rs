//! `GET /api/v1/queue`, and pausing and resuming upstreams.

use axum::extract::State;
use axum::http::Uri;
use axum::{Extension, Json};

use super::parameters::{self, Segment};
use super::problem::Problem;
use super::state::AdminState;
use super::views::{QueueBody, UpstreamView};
use crate::account::Identity;
use crate::model::UpstreamName;

/// Depth by status, oldest, next attempts, upstreams.
pub(super) async fn show(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Json<QueueBody>, Problem> {
    parameters::none(&uri)?;
    let read = |state: &AdminState| {
        let queue = state.archive.queue()?;
        Ok(Json(QueueBody::new(&queue, &(state.upstreams)(), super::now())))
    };
    state.read(read).await
}

pub(super) async fn pause(
    state: State<AdminState>,
    identity: Extension<Identity>,
    name: Segment<String>,
    uri: Uri,
) -> Result<Json<UpstreamView>, Problem> {
    set_paused(state, identity, name, uri, true).await
}

pub(super) async fn resume(
    state: State<AdminState>,
    identity: Extension<Identity>,
    name: Segment<String>,
    uri: Uri,
) -> Result<Json<UpstreamView>, Problem> {
    set_paused(state, identity, name, uri, false).await
}

async fn set_paused(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(name): Segment<String>,
    uri: Uri,
    paused: bool,
) -> Result<Json<UpstreamView>, Problem> {
    parameters::none(&uri)?;
    let missing = || Problem::not_found("upstream");
    let name = UpstreamName::parse(&name).ok_or_else(missing)?;
    let health = (state.upstreams)().into_iter().find(|upstream| upstream.name == name);
    // One that was paused and then left the configuration can still be resumed.
    if health.is_none() && !state.read(|state| Ok(state.archive.paused()?)).await?.contains(&name) {
        return Err(missing());
    }
    let by = identity.actor.to_string();
    state.archive.set_paused(name.clone(), paused, by.clone(), super::now()).await?;
    tracing::info!(upstream = %name, by, "the upstream was {}", if paused { "paused" } else { "resumed" });
    Ok(Json(UpstreamView::new(&name, paused, health.as_ref())))
}
