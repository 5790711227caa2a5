//! `/api/v1/suppressions`: who must not be written to.
//!
//! Lists, adds and removes entries; addresses are taken in their normal form only. That a
//! suppressed recipient gets nothing is `intake`'s and `dispatch`'s.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::{Extension, Json};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::JsonBody;
use super::cursor::{self, List};
use super::parameters::{self, Parameters, Segment};
use super::problem::{FieldError, Problem, ProblemKind};
use super::state::AdminState;
use super::views::PageView;
use crate::account::Identity;
use crate::archive::{Suppressed, Suppression};
use crate::model::{Channel, Destination, Mailbox, Originator, Timestamp};

/// Longest reason.
const MAX_REASON_CHARS: usize = 200;

/// One entry.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SuppressionView {
    /// Stands for channel, recipient and originator.
    id: String,
    channel: &'static str,
    /// Who is not written to: an address, or a number.
    recipient: String,
    /// `null`: whoever writes.
    originator: Option<String>,
    /// In words; of a bounce, what the other side said.
    reason: String,
    /// `bounce`, `complaint`, `opt-out`, or who entered it.
    by: String,
    created_at: String,
    /// From when on it does not count; `null` is never.
    expires_at: Option<String>,
}

/// `POST /suppressions`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSuppressionBody {
    channel: String,
    /// Who is not to be written to.
    recipient: String,
    /// By this sender alone; left out, by nobody.
    originator: Option<String>,
    reason: Option<String>,
    /// RFC 3339; left out, it holds until somebody takes it away.
    expires_at: Option<String>,
}

/// What an entry is found by.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Key(String, String, Option<String>);

impl SuppressionView {
    fn new(entry: &Suppression) -> SuppressionView {
        let channel = entry.channel.as_str();
        let key = Key(channel.to_owned(), entry.recipient.clone(), entry.originator.clone());
        SuppressionView {
            // Three texts are always JSON.
            id: BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&key).unwrap_or_default()),
            channel,
            recipient: entry.recipient.clone(),
            originator: entry.originator.clone(),
            reason: entry.reason.clone(),
            by: entry.by.clone(),
            created_at: entry.at.to_string(),
            expires_at: entry.expires_at.map(|at| at.to_string()),
        }
    }
}

pub(super) async fn list(
    State(state): State<AdminState>,
    uri: Uri,
) -> Result<Json<PageView<SuppressionView>>, Problem> {
    let mut parameters = Parameters::read(&uri, &["channel", "recipient", "limit", "cursor"]);
    let channel = parameters.take("channel", |text| {
        Channel::parse(text).ok_or_else(|| "channel is email or sms.".to_owned())
    });
    let recipient = parameters.take("recipient", |text| Ok(normal(text)));
    let question = format!("{channel:?} {recipient:?}");
    let limit = parameters.limit();
    let after = parameters.take("cursor", |text| {
        let key = cursor::decode(List::Suppressions, &question, text);
        let key = key.and_then(|key| String::from_utf8(key).ok());
        key.ok_or_else(|| cursor::NOT_OURS.to_owned())
    });
    parameters.finish()?;
    let read = move |state: &AdminState| {
        let page = state.archive.suppressions(channel, recipient.as_deref(), after, limit)?;
        let next =
            page.next.map(|key| cursor::encode(List::Suppressions, &question, key.as_bytes()));
        Ok(Json(PageView { items: page.items.iter().map(SuppressionView::new).collect(), next }))
    };
    state.read(read).await
}

/// 201 for a new entry, 200 where there was one already; answers the one that holds now.
pub(super) async fn add(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    uri: Uri,
    JsonBody(body): JsonBody<NewSuppressionBody>,
) -> Result<(StatusCode, Json<SuppressionView>), Problem> {
    parameters::none(&uri)?;
    let entry = entry(body, identity.actor.to_string())?;
    let (channel, by) = (entry.channel.as_str(), entry.by.clone());
    let (status, held) = match state.archive.suppress_longest(entry).await? {
        Suppressed::New(held) => (StatusCode::CREATED, held),
        Suppressed::Longer(held) | Suppressed::Already(held) => (StatusCode::OK, held),
    };
    tracing::info!(channel, by, is_new = status == StatusCode::CREATED, "suppressed");
    Ok((status, Json(SuppressionView::new(&held))))
}

pub(super) async fn remove(
    State(state): State<AdminState>,
    Extension(identity): Extension<Identity>,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    parameters::none(&uri)?;
    let missing = || Problem::not_found("suppression");
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(&id).map_err(|_| missing())?;
    let Key(channel, recipient, originator) =
        serde_json::from_slice(&bytes).map_err(|_| missing())?;
    let channel = Channel::parse(&channel).ok_or_else(missing)?;
    let originator = originator.as_deref();
    if !state.archive.unsuppress(channel, &recipient, originator).await? {
        return Err(missing());
    }
    let by = identity.actor.to_string();
    tracing::info!(channel = channel.as_str(), by, "a suppression was taken away");
    Ok(StatusCode::NO_CONTENT)
}

fn entry(body: NewSuppressionBody, by: String) -> Result<Suppression, Problem> {
    let mut errors = Vec::new();
    let mut wrong = |field: &str, detail: &str| {
        errors.push(FieldError { field: field.to_owned(), detail: detail.to_owned() });
    };
    let channel = Channel::parse(&body.channel);
    if channel.is_none() {
        wrong("channel", "channel is email or sms.");
    }
    let recipient = normal(&body.recipient);
    let is_address = match channel {
        Some(Channel::Sms) => Destination::parse(&recipient).is_some(),
        Some(Channel::Email) => Mailbox::parse(&recipient).is_ok(),
        None => true,
    };
    if !is_address {
        wrong("recipient", "recipient is a number such as +4512345678, or an e-mail address.");
    }
    let originator = body.originator.as_deref().map(normal);
    let is_originator = |text: &String| match channel {
        Some(Channel::Sms) => Originator::parse(text).is_some(),
        Some(Channel::Email) => Mailbox::parse(text).is_ok(),
        None => true,
    };
    if !originator.as_ref().is_none_or(is_originator) {
        wrong("originator", "originator is what the messages come from; leave it out for all.");
    }
    let reason = body.reason.unwrap_or_else(|| "asked for".to_owned());
    if reason.chars().count() > MAX_REASON_CHARS || reason.chars().any(char::is_control) {
        wrong("reason", "reason is one line of at most 200 characters.");
    }
    let expires_at = body.expires_at.as_deref().map(Timestamp::parse_rfc3339);
    if expires_at == Some(None) {
        wrong("expires_at", "expires_at is a time such as 2027-01-31T00:00:00Z.");
    }
    let expires_at = expires_at.flatten();
    match channel {
        Some(channel) if errors.is_empty() => Ok(Suppression {
            channel,
            recipient,
            originator,
            reason,
            by,
            at: super::now(),
            expires_at,
        }),
        Some(_) | None => Err(Problem::of_fields(ProblemKind::InvalidBody, errors)),
    }
}

/// An e-mail address in lower case; a number without what people write between its digits.
fn normal(text: &str) -> String {
    let text = text.trim();
    if text.contains('@') {
        return text.to_lowercase();
    }
    match text.strip_prefix('+') {
        Some(rest) => {
            let between = |c: &char| !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/' | '\u{a0}');
            format!("+{}", rest.chars().filter(between).collect::<String>())
        }
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(channel: &str, recipient: &str, originator: Option<&str>) -> NewSuppressionBody {
        NewSuppressionBody {
            channel: channel.into(),
            recipient: recipient.into(),
            originator: originator.map(str::to_owned),
            reason: None,
            expires_at: None,
        }
    }

    #[test]
    fn entries_are_checked_and_put_in_one_form() {
        let wrong = |body| format!("{:?}", entry(body, "user anna".into()).unwrap_err());
        assert!(wrong(body("fax", "+4512345678", None)).contains("email or sms"));
        assert!(wrong(body("sms", "kim@example.org", None)).contains("recipient is"));
        assert!(wrong(body("sms", "12345678", None)).contains("recipient is"));
        assert!(wrong(body("email", "+4512345678", None)).contains("recipient is"));
        assert!(wrong(body("sms", "+4512345678", Some("a name too long"))).contains("originator"));
        let good = entry(body("sms", "+45 12 34 56 78", Some("Example")), "user anna".into());
        assert_eq!(good.unwrap().recipient, "+4512345678");
        let good = entry(body("email", "Kim@Example.org", None), "user anna".into());
        assert_eq!(good.unwrap().recipient, "kim@example.org");
    }
}
