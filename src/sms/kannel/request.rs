//! A request in any of its forms as one set of fields with Kannel's CGI names, and the request as
//! it may be kept, without its secrets.
//!
//! GET has them in the query; POST in `X-Kannel-` headers with the text as its body, or in a
//! `text/xml` document. Forms and JSON, which Kannel refuses, are read as well. What is said in more than
//! one place counts as said in the body, then the headers, then the query.

use bytes::Bytes;
use http::{Request, header};

use super::super::basic;
use super::super::form::Fields;
use super::super::hex;
use super::charset::{self, Fault};
use super::xml;

/// Why a request has no fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    ContentType,
    Body,
}

/// What stands in the place of a secret.
const MASK: &str = "***";
const HEADER_PREFIX: &str = "x-kannel-";

/// Where the XML submission has its fields.
const ELEMENTS: [(&str, &str); 19] = [
    ("/message/submit/oa/number", "from"),
    ("/message/submit/from/user", "username"),
    ("/message/submit/from/username", "username"),
    ("/message/submit/from/pass", "password"),
    ("/message/submit/from/password", "password"),
    ("/message/submit/from/account", "account"),
    ("/message/submit/udh", "udh"),
    ("/message/submit/to", "smsc"),
    ("/message/submit/smsc", "smsc"),
    ("/message/submit/pid", "pid"),
    ("/message/submit/dcs/mclass", "mclass"),
    ("/message/submit/dcs/coding", "coding"),
    ("/message/submit/dcs/alt-dcs", "alt-dcs"),
    ("/message/submit/vp/delay", "validity"),
    ("/message/submit/timing/delay", "deferred"),
    ("/message/submit/priority", "priority"),
    ("/message/submit/meta-data", "meta-data"),
    ("/message/submit/statusrequest/dlr-mask", "dlr-mask"),
    ("/message/submit/statusrequest/dlr-url", "dlr-url"),
];
const DESTINATION: &str = "/message/submit/da/number";
const USER_DATA: &str = "/message/submit/ud";

/// How the body is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyKind {
    Nothing,
    Text,
    Html,
    Octets,
    Xml,
    Form,
    Json,
    Other,
}

/// Everything that is said, under the names of the CGI.
pub(super) fn fields(request: &Request<Bytes>) -> Result<Fields, Unreadable> {
    let mut fields = Fields::parse(request.uri().query().unwrap_or_default().as_bytes());
    for (name, value) in request.headers() {
        if let Some(name) = name.as_str().strip_prefix(HEADER_PREFIX) {
            fields.push_bytes(name, value.as_bytes());
        }
    }
    let (body, named) = (request.body(), charset_parameter(request));
    match body_kind(request) {
        BodyKind::Nothing => {}
        BodyKind::Form => fields = fields.and(Fields::parse(body)),
        BodyKind::Json => add_json(&mut fields, body).ok_or(Unreadable::Body)?,
        BodyKind::Xml => add_xml(&mut fields, body, named.as_deref()).ok_or(Unreadable::Body)?,
        BodyKind::Text => add_text(&mut fields, body, named.as_deref()),
        BodyKind::Octets => {
            if fields.get("coding").is_none() {
                fields.push("coding", "1");
            }
            add_text(&mut fields, body, named.as_deref());
        }
        BodyKind::Html => {
            let named = named.or_else(|| fields.get("charset").map(|c| c.into_owned()));
            let html = charset::decode(body, named.as_deref(), false, Fault::Refuse);
            let html = html.ok_or(Unreadable::Body)?;
            fields.push("text", mail_parser::decoders::html::html_to_text(&html).trim());
            fields.push("charset", "UTF-8");
        }
        BodyKind::Other => return Err(Unreadable::ContentType),
    }
    Ok(fields)
}

/// Name and password, from the fields or from HTTP Basic (RFC 7617).
pub(super) fn credentials(request: &Request<Bytes>, fields: &Fields) -> Option<(String, Vec<u8>)> {
    let first = |names: [&str; 2]| names.into_iter().find_map(|name| fields.bytes(name));
    if let Some(name) = first(["username", "user"]) {
        let password = first(["password", "pass"]).unwrap_or_default().to_vec();
        return Some((String::from_utf8_lossy(name).into_owned(), password));
    }
    let (name, password) = basic::pair(request.headers())?;
    Some((String::from_utf8_lossy(&name).into_owned(), password))
}

fn body_kind(request: &Request<Bytes>) -> BodyKind {
    let kind = content_type(request);
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        _ if request.body().is_empty() && kind != "text/plain" => BodyKind::Nothing,
        "" | "text/plain" => BodyKind::Text,
        "text/html" => BodyKind::Html,
        "application/octet-stream" => BodyKind::Octets,
        "text/xml" | "application/xml" => BodyKind::Xml,
        "application/x-www-form-urlencoded" => BodyKind::Form,
        "application/json" => BodyKind::Json,
        _ => BodyKind::Other,
    }
}

fn content_type(request: &Request<Bytes>) -> &str {
    let header = request.headers().get(header::CONTENT_TYPE);
    header.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn charset_parameter(request: &Request<Bytes>) -> Option<String> {
    charset_of(content_type(request))
}

/// The `charset` of a media type (RFC 9110 §8.3.1).
pub(super) fn charset_of(media_type: &str) -> Option<String> {
    media_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case("charset").then(|| value.to_owned())
    })
}

/// The body is the text. An empty one leaves what the query says.
fn add_text(fields: &mut Fields, body: &[u8], charset: Option<&str>) {
    if body.is_empty() && fields.bytes("text").is_some() {
        return;
    }
    fields.push_bytes("text", body);
    if let Some(charset) = charset {
        fields.push("charset", charset);
    }
}

/// One flat object. `null` is as good as absent; a list is several words, such as destinations.
fn add_json(fields: &mut Fields, body: &[u8]) -> Option<()> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    for (name, value) in value.as_object()? {
        let word = |value: &serde_json::Value| match value {
            serde_json::Value::String(text) => Some(text.clone()),
            serde_json::Value::Number(number) => Some(number.to_string()),
            serde_json::Value::Bool(flag) => Some(flag.to_string()),
            serde_json::Value::Null
            | serde_json::Value::Array(_)
            | serde_json::Value::Object(_) => None,
        };
        match value {
            serde_json::Value::Null => {}
            serde_json::Value::Array(list) => {
                let words: Option<Vec<String>> = list.iter().map(word).collect();
                fields.push(name, &words?.join(" "));
            }
            value => fields.push(name, &word(value)?),
        }
        if name == "text" {
            fields.push("charset", "UTF-8");
        }
    }
    Some(())
}

fn add_xml(fields: &mut Fields, body: &[u8], charset: Option<&str>) -> Option<()> {
    let document = xml_text(body, charset)?;
    let mut destinations = Vec::new();
    for element in xml::read(&document)? {
        let text = element.text.trim();
        match element.path.as_str() {
            DESTINATION => destinations.push(text.to_owned()),
            USER_DATA if element.attributes.contains("binary") => {
                fields.push_bytes("text", &hex::octets(text.as_bytes())?);
                if fields.get("coding").is_none() {
                    fields.push("coding", "1");
                }
            }
            USER_DATA => {
                fields.push("text", &element.text);
                fields.push("charset", "UTF-8");
            }
            path => {
                let known = ELEMENTS.iter().find(|(known, _)| *known == path);
                if let Some((_, name)) = known {
                    fields.push(name, text);
                }
            }
        }
    }
    if !destinations.is_empty() {
        fields.push("to", &destinations.join(" "));
    }
    Some(())
}

/// The document, by the charset of the media type or of its own declaration.
fn xml_text(body: &[u8], charset: Option<&str>) -> Option<String> {
    let head = String::from_utf8_lossy(body.get(..200.min(body.len()))?).into_owned();
    let declared = head.split_once("encoding=").and_then(|(before, rest)| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let value = rest.get(1..)?.split(quote).next()?;
        before.trim_start_matches('\u{feff}').starts_with("<?xml").then(|| value.to_owned())
    });
    charset::decode(body, charset.or(declared.as_deref()), false, Fault::Refuse)
}

/// The request as `message/http` (RFC 9112 §10.1) without its secrets.
pub(super) fn masked(request: &Request<Bytes>) -> Bytes {
    let uri = request.uri();
    let mut out = format!("{} {}", request.method(), uri.path());
    if let Some(query) = uri.query() {
        out.push('?');
        out.push_str(&masked_pairs(query));
    }
    out.push_str(&format!(" {:?}\r\n", request.version()));
    for (name, value) in request.headers() {
        let name = name.as_str();
        let own = name.strip_prefix(HEADER_PREFIX);
        if own.is_none() && name != "host" && name != "content-type" {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        let shown = match own {
            Some(own) => masked_value(own, &value).unwrap_or(value.into_owned()),
            None => value.into_owned(),
        };
        out.push_str(&format!("{name}: {shown}\r\n"));
    }
    out.push_str("\r\n");
    let mut out = out.into_bytes();
    let body = request.body();
    match body_kind(request) {
        BodyKind::Form => out.extend(masked_pairs(&String::from_utf8_lossy(body)).into_bytes()),
        BodyKind::Json => out.extend(masked_json(body).unwrap_or(MASK.into()).into_bytes()),
        BodyKind::Xml => {
            let shown = masked_xml(body, charset_parameter(request).as_deref());
            out.extend(shown.unwrap_or(MASK.into()).into_bytes());
        }
        BodyKind::Nothing | BodyKind::Text | BodyKind::Html | BodyKind::Octets => {
            out.extend_from_slice(body);
        }
        // Nobody has looked into it, so it may hold anything.
        BodyKind::Other => out.extend_from_slice(MASK.as_bytes()),
    }
    out.into()
}

/// The value as it may be kept, where it holds a secret: a password, or a receipt URL with one,
/// which another Kannel puts there.
fn masked_value(name: &str, value: &str) -> Option<String> {
    if ["password", "pass"].iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
        return Some(MASK.to_owned());
    }
    let is_url = name.eq_ignore_ascii_case("dlr-url");
    let shown = is_url.then(|| masked_pairs(value))?;
    (shown != value).then_some(shown)
}

/// `a=1&password=***`; also where a URL has more than one question mark.
fn masked_pairs(text: &str) -> String {
    let masked = |piece: &str| {
        let (pair, end) = match piece.strip_suffix(['&', '?']) {
            Some(pair) => (pair, &piece[pair.len()..]),
            None => (piece, ""),
        };
        let fields = Fields::parse(pair.as_bytes());
        let (name, value) = fields.iter().next()?;
        let shown = masked_value(name, &String::from_utf8_lossy(value))?;
        let raw_name = pair.split('=').next().unwrap_or_default();
        let shown: String = match shown == MASK {
            true => shown,
            false => url::form_urlencoded::byte_serialize(shown.as_bytes()).collect(),
        };
        Some(format!("{raw_name}={shown}{end}"))
    };
    let pieces = text.split_inclusive(['&', '?']);
    pieces.map(|piece| masked(piece).unwrap_or_else(|| piece.to_owned())).collect()
}

fn masked_json(body: &[u8]) -> Option<String> {
    let mut value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let mut is_changed = false;
    for (name, value) in value.as_object_mut()? {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if let Some(shown) = masked_value(name, &text) {
            *value = shown.into();
            is_changed = true;
        }
    }
    match is_changed {
        true => Some(value.to_string()),
        false => String::from_utf8(body.to_vec()).ok(),
    }
}

fn masked_xml(body: &[u8], charset: Option<&str>) -> Option<String> {
    let mut document = xml_text(body, charset)?;
    let mut elements = xml::read(&document)?;
    // From the end on, so that the places before stay where they are.
    elements.sort_by_key(|element| std::cmp::Reverse(element.span.start));
    for element in elements {
        let name = element.path.rsplit('/').next().unwrap_or_default();
        if let Some(shown) = masked_value(name, &element.text) {
            let escaped = shown.replace('&', "&amp;").replace('<', "&lt;");
            document.replace_range(element.span, &escaped);
        }
    }
    Some(document)
}
