//! A message's content: the bytes, a safe preview, the text, an attachment.
//!
//! All of it was written by strangers. Bytes and attachments go out as downloads with a type that no
//! browser runs; the preview is cleaned HTML that a strict policy keeps from loading or running
//! anything; nothing is ever guessed from the content by the browser.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;

use super::disposition;
use super::messages::message_id;
use super::parameters::{self, Parameters, Segment};
use super::problem::{Problem, ProblemKind};
use super::state::{AdminState, content_is_gone};
use crate::account::Identity;
use crate::archive::Message;
use crate::evidence::{self, Proof};
use crate::mime;
use crate::model::{Channel, MessageId};

/// What a preview may do: show itself, with the images that it brings along.
const PREVIEW_POLICY: &str =
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";
/// What a download may do, should a browser show it after all.
const DOWNLOAD_POLICY: &str = "sandbox; default-src 'none'";
/// The type of everything that is not known to be harmless.
const OCTETS: &str = "application/octet-stream";

/// `GET …/raw`: as submitted; with `sent_to`, exactly as relayed to that recipient.
pub(super) async fn raw(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let id = message_id(&id)?;
    let mut parameters = Parameters::read(&uri, &["sent_to"]);
    let index = |text: &str| text.parse::<u16>().ok();
    let sent_to = parameters.take("sent_to", |text| {
        index(text).ok_or_else(|| String::from("sent_to is the index of a recipient."))
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let message = state.message(id, &identity.scope)?;
        let bytes = match sent_to {
            None => state.raw(&message),
            Some(recipient) => relayed(state, &message, recipient),
        };
        Ok((bytes?, message.channel()))
    };
    let (bytes, channel) = state.read(read).await?;
    let (kind, ending) = match (channel, sent_to) {
        (Channel::Email, _) => ("message/rfc822", "eml"),
        // The request that brought it (RFC 9112 §10.1), and the text that left.
        (Channel::Sms, None) => ("message/http", "http"),
        (Channel::Sms, Some(_)) => ("text/plain; charset=utf-8", "txt"),
    };
    let name = match sent_to {
        None => format!("{id}.{ending}"),
        Some(recipient) => format!("{id}-{recipient}.{ending}"),
    };
    Ok(download(bytes.into(), kind, disposition::attachment(None, &name)))
}

/// The bytes as relayed: made again from the record, and only shown when they are what the digest
/// of the attempt proves.
fn relayed(state: &AdminState, message: &Message, recipient: u16) -> Result<Bytes, Problem> {
    if message.redacted_at.is_some() {
        return Err(content_is_gone(message.redacted_at));
    }
    let Some((outgoing, proof)) = evidence::sent_to(&state.archive, message, recipient)? else {
        let detail = format!("The message has no recipient {recipient}.");
        return Err(Problem::of_field(ProblemKind::NotFound, "sent_to", detail));
    };
    match proof {
        Proof::Proven(_) => Ok(outgoing.segments.concat().into()),
        Proof::NotSentYet => {
            let detail = format!("The message was not sent to recipient {recipient}.");
            Err(Problem::of_field(ProblemKind::Conflict, "sent_to", detail))
        }
        Proof::Unproven => {
            let detail = format!(
                "Nobody saw the end of the attempt for recipient {recipient}: a receipt shows that the provider took the message, and nothing proves its bytes."
            );
            Err(Problem::of_field(ProblemKind::Conflict, "sent_to", detail))
        }
        Proof::Differs { recorded, recomputed } => {
            let id = message.id;
            tracing::error!(%id, recipient, %recorded, %recomputed, "what was relayed can not be made again");
            let detail = "What was relayed can not be made again; the log of the server says why.";
            Err(Problem::new(ProblemKind::Internal, detail))
        }
    }
}

/// `GET …/html`: the message as its recipient would see it, and harmless.
pub(super) async fn html(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let id = message_id(&id)?;
    let preview = |message: &Message, raw: &[u8]| match message.medium.sms() {
        Some(sms) => mime::preview_text(sms.text()),
        None => mime::preview_html(raw),
    };
    let preview = read_raw(&state, identity, id, preview).await?;
    Ok(shown(preview, "text/html; charset=utf-8", PREVIEW_POLICY))
}

/// `GET …/text`: its text.
pub(super) async fn text(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let id = message_id(&id)?;
    let text = |message: &Message, raw: &[u8]| match message.medium.sms() {
        Some(sms) => Some(sms.text().to_owned()),
        None => mime::text(raw),
    };
    let text = read_raw(&state, identity, id, text).await?;
    let text = text.ok_or_else(|| Problem::not_found("text in this message"))?;
    Ok(shown(text, "text/plain; charset=utf-8", DOWNLOAD_POLICY))
}

/// `GET …/attachments/{n}`: one attachment, decoded.
pub(super) async fn attachment(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment((id, index)): Segment<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    parameters::none(&uri)?;
    let id = message_id(&id)?;
    let missing = || Problem::not_found("attachment");
    let index: u16 = index.parse().map_err(|_| missing())?;
    let read = move |message: &Message, raw: &[u8]| {
        message.medium.mail().and_then(|_| mime::attachment(raw, usize::from(index)))
    };
    let content = read_raw(&state, identity, id, read).await?.ok_or_else(missing)?;
    let fallback = format!("attachment-{index}");
    let name = disposition::attachment(content.filename.as_deref(), &fallback);
    let kind = inert_type(&content.content_type, &content.bytes);
    Ok(download(content.bytes.into(), kind, name))
}

/// Reads a message that may be seen, and makes something of its bytes.
async fn read_raw<T: Send + 'static>(
    state: &AdminState,
    identity: Identity,
    id: MessageId,
    make: impl FnOnce(&Message, &[u8]) -> T + Send + 'static,
) -> Result<T, Problem> {
    state
        .read(move |state| {
            let message = state.message(id, &identity.scope)?;
            Ok(make(&message, &state.raw(&message)?))
        })
        .await
}

/// A picture that begins like one keeps its type; everything else is octets, whatever it claims.
fn inert_type(claimed: &str, bytes: &[u8]) -> &'static str {
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    match claimed {
        "image/png" if bytes.starts_with(b"\x89PNG\r\n\x1a\n") => "image/png",
        "image/jpeg" if bytes.starts_with(b"\xff\xd8\xff") => "image/jpeg",
        "image/gif" if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") => "image/gif",
        "image/webp" if webp => "image/webp",
        _ => OCTETS,
    }
}

fn download(body: Body, kind: &'static str, name: HeaderValue) -> Response {
    let mut response = shown(body, kind, DOWNLOAD_POLICY);
    response.headers_mut().insert(CONTENT_DISPOSITION, name);
    response
}

fn shown(body: impl Into<Body>, kind: &'static str, policy: &'static str) -> Response {
    let fields = [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, policy)];
    (fields, body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_that_are_pictures_keep_their_type() {
        let check = |claimed: &str, bytes: &[u8], expected| {
            assert_eq!(inert_type(claimed, bytes), expected, "{claimed}");
        };
        check("text/html", b"<script>", OCTETS);
        check("image/svg+xml", b"<svg onload='x'>", OCTETS);
        check("image/png", b"<html>", OCTETS);
        check("image/png", b"", OCTETS);
        check("image/webp", b"RIFF", OCTETS);
        check("application/pdf", b"%PDF-1.7", OCTETS);
        check("image/png", b"\x89PNG\r\n\x1a\nrest", "image/png");
        check("image/webp", b"RIFF\0\0\0\0WEBPVP8 ", "image/webp");
    }
}
