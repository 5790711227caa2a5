//! `POST …/{id}/resend`: sends a message once more, as it was or with changes.
//!
//! What is made of it is the business of `intake`; the answer is the new message.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::{ConnectInfo, State};
use axum::http::header::LOCATION;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::{Index, Object, OptionalJsonBody};
use super::messages::message_id;
use super::parameters::{self, Segment};
use super::problem::{Problem, ProblemKind};
use super::state::AdminState;
use super::views::MessageView;
use crate::account::Identity;
use crate::intake::{ResendEdits, ResendRefusal, ResendWish};

/// Without any field, the message goes again as it is.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResendBody {
    to: Option<People>,
    cc: Option<People>,
    bcc: Option<People>,
    subject: Option<String>,
    text: Option<String>,
    html: Option<String>,
    #[schema(value_type = Option<AttachmentsBody>)]
    attachments: Option<Object<AttachmentsBody>>,
}

/// One address, or a list of them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
enum People {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AttachmentsBody {
    #[schema(value_type = Vec<u16>)]
    keep: Vec<Index>,
}

impl People {
    fn list(self) -> Vec<String> {
        match self {
            People::One(one) => vec![one],
            People::Many(many) => many,
        }
    }
}

pub(super) async fn resend(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    Segment(id): Segment<String>,
    uri: Uri,
    OptionalJsonBody(body): OptionalJsonBody<ResendBody>,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let id = message_id(&id)?;
    let scope = identity.scope.clone();
    let original = state.read(move |state| state.message(id, &scope)).await?;
    let Some(resender) = state.resender.clone() else {
        let detail = "This port can not send messages.";
        return Err(Problem::new(ProblemKind::Unavailable, detail));
    };
    let body = body.unwrap_or_default();
    let edits = ResendEdits {
        to: body.to.map(People::list),
        cc: body.cc.map(People::list),
        bcc: body.bcc.map(People::list),
        subject: body.subject,
        text: body.text,
        html: body.html,
        keep: body
            .attachments
            .map(|Object(kept)| kept.keep.into_iter().map(|Index(index)| index).collect()),
    };
    let by = identity.actor.to_string();
    let client = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.0.ip());
    let wish = ResendWish { original, edits, by: by.clone(), client, at: super::now() };
    let new = resender.resend(wish).await.map_err(refused)?;
    tracing::info!(%id, by, new = %new, "resent");
    let message = state.read(move |state| state.message(new, &identity.scope)).await?;
    let place = format!("/api/v1/messages/{new}");
    let view = Json(MessageView::new(&message));
    Ok((StatusCode::CREATED, [(LOCATION, place)], view).into_response())
}

fn refused(refusal: ResendRefusal) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        ResendRefusal::Field { name, .. } => {
            Problem::of_field(ProblemKind::InvalidBody, name, detail)
        }
        ResendRefusal::Inbound
        | ResendRefusal::Erased
        | ResendRefusal::NoApp(_)
        | ResendRefusal::Sealed
        | ResendRefusal::Refused(_) => {
            Problem::new(ProblemKind::Conflict, format!("It is not sent again: {detail}."))
        }
        // The form is good; what is there decides.
        ResendRefusal::Unfit { name, .. } => {
            let detail = format!("It is not sent again: {detail}");
            Problem::of_field(ProblemKind::Conflict, name, detail)
        }
        // As of a recipient that it has not.
        ResendRefusal::NoAttachment(_) => {
            let detail = format!("It is not sent again: {detail}.");
            Problem::of_field(ProblemKind::NotFound, "attachments", detail)
        }
        ResendRefusal::TooMany { retry_after, .. } => {
            let problem = Problem::new(ProblemKind::RateLimited, format!("Not now: {detail}."));
            problem.retry_after(retry_after.as_secs())
        }
        ResendRefusal::NotNow => Problem::new(ProblemKind::Unavailable, detail),
    }
}
