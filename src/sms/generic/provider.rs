//! The described protocol: a request from the templates, a judgement from the patterns, and the
//! simple callbacks.
//!
//! A status callback says `state=delivered`, `failed`, `expired`, `rejected` or `sent`, and may say `id`,
//! `code` and `reason`; an inbound one says `from`, `to` and `text`, and may say `id`. Query, form
//! and JSON are the same.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use url::Url;

use super::super::form::Fields;
use super::super::number::{self, Country, NumberStyle};
use super::super::provider::{
    Callback, CallbackRefusal, Inbound, Judgement, Outbound, Provider, Receipt, retry_after, words,
};
use super::super::response;
use super::encode::{self, BodyForm};
use super::template::Template;
use super::{HttpMethod, HttpProvider, Place};
use crate::model::{FailureReason, ReceiptState, SmsBody};

/// Headers that belong to the connection, not to the description.
const OUR_HEADERS: [&str; 5] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade"];
/// The fields of our own URL, which are no part of what is said.
const OUR_FIELDS: [&str; 3] = ["token", "proof", "message"];
/// A message without an id is the same as another one only within this.
const SAME_WITHIN_MS: i64 = 10 * 60 * 1_000;

/// One upstream.
pub struct HttpUpstream {
    pub settings: HttpProvider,
}

/// Checks a description, for the configuration. The error says what to change.
pub fn check(settings: &HttpProvider) -> Result<(), String> {
    let form = body_form(settings)?;
    let used = std::cell::RefCell::new(Vec::new());
    let probe = |place: Place| {
        used.borrow_mut().push(place);
        match place {
            Place::ToDigits | Place::Segments => "1",
            Place::To
            | Place::From
            | Place::Text
            | Place::Id
            | Place::Reference
            | Place::Encoding
            | Place::StatusUrl => "a\"b",
        }
    };
    build(settings, form, |place| Ok(probe(place).to_owned()))?;
    let used = used.into_inner();
    if !used.contains(&Place::Text) {
        return Err("no {text} in url, headers or body".to_owned());
    }
    if !used.contains(&Place::To) && !used.contains(&Place::ToDigits) {
        return Err("neither {to} nor {to_digits} in url, headers or body".to_owned());
    }
    Ok(())
}

impl Provider for HttpUpstream {
    fn request(&self, outbound: &Outbound<'_>) -> Result<Request<Bytes>, String> {
        let form = body_form(&self.settings)?;
        if !outbound.sms.udh.is_empty() {
            return Err("this provider carries no user data header".to_owned());
        }
        if matches!(outbound.sms.body, SmsBody::Binary(_)) {
            return Err("this provider carries texts only".to_owned());
        }
        build(&self.settings, form, |place| value(place, outbound))
    }

    fn judge(&self, response: &Response<Bytes>) -> Judgement {
        let status = response.status();
        let body = String::from_utf8_lossy(response.body());
        let seen = format!("HTTP {}\n{body}", status.as_u16());
        let text = words(&format!("{} {}", status.as_u16(), body.trim()));
        let matches = |pattern: &Option<regex::Regex>| {
            pattern.as_ref().is_some_and(|pattern| pattern.is_match(&seen))
        };
        if matches(&self.settings.permanent) {
            return Judgement::Permanent { reason: FailureReason::Unknown, text };
        }
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Judgement::Throttled { retry_after: retry_after(response), text };
        }
        if matches(&self.settings.temporary) {
            return Judgement::Temporary { text };
        }
        if status.is_success() {
            return match &self.settings.success {
                None => Judgement::Accepted { ids: Vec::new(), text },
                Some(pattern) => match pattern.captures(&seen) {
                    Some(found) => Judgement::Accepted { ids: id(&found), text },
                    // It was taken or refused in words that nobody described.
                    None => Judgement::Unclear { text },
                },
            };
        }
        by_status(status, text)
    }

    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        let fields = proven_fields(callback)?;
        let state = fields.get("state").unwrap_or_default().trim().to_ascii_lowercase();
        let (state, reason) = match state.as_str() {
            "delivered" => (ReceiptState::Delivered, None),
            "failed" => (ReceiptState::Undelivered, Some(FailureReason::Unknown)),
            "expired" => (ReceiptState::Expired, Some(FailureReason::Expired)),
            "rejected" => (ReceiptState::Rejected, Some(FailureReason::Unknown)),
            "sent" => (ReceiptState::Underway, None),
            _ => return Err(CallbackRefusal::Malformed),
        };
        let named = fields.get("reason").and_then(|word| FailureReason::parse(&word));
        Ok(vec![Receipt {
            provider_id: said(&fields, "id"),
            message: None,
            state,
            reason: reason.map(|reason| named.unwrap_or(reason)),
            code: said(&fields, "code"),
            at: None,
        }])
    }

    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        let fields = proven_fields(callback)?;
        let read = || {
            let (style, country) = (NumberStyle::International, Country::NONE);
            Some((
                number::originator(&fields.get("from")?, style, &country)?,
                number::destination(&fields.get("to")?, style, &country)?,
                fields.get("text")?.into_owned(),
            ))
        };
        let (originator, destination, text) = read().ok_or(CallbackRefusal::Malformed)?;
        let arrival = (callback.now.as_millis() / SAME_WITHIN_MS).to_le_bytes();
        Ok(vec![Inbound {
            provider_id: said(&fields, "id")
                .unwrap_or_else(|| fields.digest(&OUR_FIELDS, &arrival)),
            originator,
            destination,
            body: SmsBody::Text(text),
            udh: Vec::new(),
            concatenation: None,
            sent_at: None,
        }])
    }

    fn taken(&self) -> Response<Bytes> {
        response::document(StatusCode::OK, "text/plain", Bytes::new())
    }
}

/// How the body is written, if it can be.
fn body_form(settings: &HttpProvider) -> Result<BodyForm, String> {
    let mut named = settings.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case("content-type"));
    match (named.next(), &settings.body) {
        (Some((_, kind)), _) => BodyForm::of(kind.expose()).ok_or_else(|| {
            "Content-Type must be a form, JSON, XML or text/plain: nothing else can be written \
             safely"
                .to_owned()
        }),
        (None, Some(body)) => Ok(BodyForm::guess(body)),
        (None, None) => Ok(BodyForm::Form),
    }
}

/// The request, with each value through the encoder of its place. Its errors quote no value.
fn build(
    settings: &HttpProvider,
    form: BodyForm,
    value: impl Fn(Place) -> Result<String, String>,
) -> Result<Request<Bytes>, String> {
    let method = match settings.method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
    };
    if method == Method::GET && settings.body.is_some() {
        return Err("a GET request has no body".to_owned());
    }
    let uri = uri(&settings.url, &value)?;
    let body = match &settings.body {
        Some(body) => write_body(body, form, &value)?,
        None => String::new(),
    };
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().map_err(|_| "the URL is too long".to_owned())?;
    let headers = request.headers_mut();
    for (name, template) in &settings.headers {
        let bad = || format!("the header {name} can not be written");
        let template = Template::parse(template.expose())?;
        let filled = template.fill(|place| value(place).map(|value| encode::header(&value)))?;
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        if OUR_HEADERS.contains(&key.as_str()) {
            return Err(format!("the header {name} is not for a description to set"));
        }
        let mut filled = HeaderValue::from_str(&filled).map_err(|_| bad())?;
        filled.set_sensitive(key != header::CONTENT_TYPE);
        headers.append(key, filled);
    }
    if settings.body.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
        let kind = HeaderValue::from_static(form.media_type());
        headers.insert(header::CONTENT_TYPE, kind);
    }
    Ok(request)
}

/// Only the path and the query are templates: no value can choose another host.
fn uri(url: &Url, value: &impl Fn(Place) -> Result<String, String>) -> Result<String, String> {
    let in_path = |place: Place| match place {
        Place::To | Place::ToDigits | Place::Id | Place::Segments | Place::Encoding => {
            value(place).map(|value| encode::url(&value))
        }
        // It could be `..`, or nothing.
        Place::From | Place::Text | Place::Reference | Place::StatusUrl => {
            Err("only {to}, {to_digits}, {id}, {segments} and {encoding} may stand in the path \
                 of the URL"
                .to_owned())
        }
    };
    let mut out = url.clone();
    out.set_fragment(None);
    out.set_query(None);
    out.set_path("");
    let mut out = out.as_str().trim_end_matches('/').to_owned();
    out.push_str(&Template::parse_url(url.path())?.fill(in_path)?);
    if let Some(query) = url.query() {
        let template = Template::parse_url(query)?;
        out.push('?');
        out.push_str(&template.fill(|place| value(place).map(|value| encode::url(&value)))?);
    }
    Ok(out)
}

fn write_body(
    body: &str,
    form: BodyForm,
    value: &impl Fn(Place) -> Result<String, String>,
) -> Result<String, String> {
    let template = Template::parse(body)?;
    let is_alone = template.is_lone_place();
    let written = template.fill(|place| {
        let value = value(place)?;
        Ok(match form {
            BodyForm::Form => encode::form(&value),
            BodyForm::Json => encode::json(&value),
            BodyForm::Xml => encode::xml(&value)?,
            BodyForm::Plain if is_alone => encode::plain_alone(&value),
            BodyForm::Plain => encode::plain(&value),
        })
    })?;
    if form == BodyForm::Json && serde_json::from_str::<serde::de::IgnoredAny>(&written).is_err() {
        return Err(
            "the body is no JSON; a placeholder stands within quotes: \"{text}\"".to_owned()
        );
    }
    Ok(written)
}

fn value(place: Place, outbound: &Outbound<'_>) -> Result<String, String> {
    let sms = outbound.sms;
    Ok(match place {
        Place::To => sms.destination.to_string(),
        Place::ToDigits => {
            let to = sms.destination.to_string();
            let digits: String = to.chars().filter(char::is_ascii_digit).collect();
            if digits.is_empty() {
                return Err("this provider sends to numbers only".to_owned());
            }
            digits
        }
        Place::From => sms.originator.as_ref().map(ToString::to_string).unwrap_or_default(),
        Place::Text => sms.text().to_owned(),
        Place::Id => outbound.id.to_string(),
        Place::Reference => sms.client_reference.clone().unwrap_or_default(),
        Place::Segments => sms.segments.to_string(),
        Place::Encoding => sms.encoding.as_str().to_owned(),
        Place::StatusUrl => outbound.status_url.unwrap_or_default().to_owned(),
    })
}

/// What a status means that no pattern explains.
fn by_status(status: StatusCode, text: String) -> Judgement {
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::GONE
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => {
            Judgement::Permanent { reason: FailureReason::Unknown, text }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::SERVICE_UNAVAILABLE => {
            Judgement::Temporary { text }
        }
        // Credentials, money, a wrong URL: the next message would fare no better.
        _ if status.is_client_error() || status.is_redirection() => Judgement::Upstream { text },
        // It broke while it worked on it.
        _ => Judgement::Unclear { text },
    }
}

/// The group `id`, or the first one.
fn id(found: &regex::Captures<'_>) -> Vec<String> {
    let group = found.name("id").or_else(|| found.get(1));
    let id = group.map(|group| words(group.as_str())).filter(|id| !id.is_empty());
    id.into_iter().collect()
}

/// What a callback says, if it comes from whom we gave the URL.
fn proven_fields(callback: &Callback<'_>) -> Result<Fields, CallbackRefusal> {
    if !callback.is_proven {
        return Err(CallbackRefusal::Forged);
    }
    let request = callback.request;
    let fields = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    let body = request.body();
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.and_then(BodyForm::of) == Some(BodyForm::Json);
    match is_json {
        false => Ok(fields.and(Fields::parse(body))),
        true => json_fields(body).map(|said| fields.and(said)).ok_or(CallbackRefusal::Malformed),
    }
}

/// One flat object; what is no text, number or truth value is left out.
fn json_fields(body: &[u8]) -> Option<Fields> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let mut fields = Fields::default();
    for (name, value) in value.as_object()? {
        match value {
            serde_json::Value::String(text) => fields.push(name, text),
            serde_json::Value::Number(_) | serde_json::Value::Bool(_) => {
                fields.push(name, &value.to_string());
            }
            serde_json::Value::Null
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => {}
        }
    }
    Some(fields)
}

fn said(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name).map(|value| words(&value)).filter(|value| !value.is_empty())
}
