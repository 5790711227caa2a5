//! JSON bodies of requests: bounded, of the right type, without unknown fields.
//!
//! The content type is asked for because a browser can send other types to a foreign site without
//! asking it, and this one not.

use std::fmt;
use std::marker::PhantomData;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::problem::{Problem, ProblemKind};

/// Largest body of a request.
const MAX_BODY_BYTES: usize = 1 << 20;

/// The name of the body where no field of it is meant.
const WHOLE: &str = "body";
/// Longest text about a mistake.
const MAX_DETAIL_CHARS: usize = 200;

/// A body that must be there.
pub(crate) struct JsonBody<T>(pub T);

/// A body that may be left out.
pub(crate) struct OptionalJsonBody<T>(pub Option<T>);

/// The index of a recipient or an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Index(pub u16);

impl<'de> Deserialize<'de> for Index {
    /// JSON has one kind of number: `2.0` is the same as `2` (RFC 8259 §6).
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Index, D::Error> {
        let number = serde_json::Number::deserialize(deserializer)?;
        let whole = number.as_f64().filter(|value| value.fract() == 0.0);
        let in_range = whole.filter(|value| (0.0..=f64::from(u16::MAX)).contains(value));
        let wrong = || D::Error::custom(format!("{number} is no number from 0 to {}", u16::MAX));
        // In range and without a fraction, so nothing is cut off.
        in_range.map(|value| Index(value as u16)).ok_or_else(wrong)
    }
}

/// What is an object in JSON and nothing else: the derive also takes a list of the values, which
/// nobody means and no description knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object<T>, D::Error> {
        struct OfObject<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for OfObject<T> {
            type Value = T;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map))
            }
        }

        deserializer.deserialize_map(OfObject(PhantomData)).map(Object)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<JsonBody<T>, Problem> {
        let body = read(request).await?;
        let missing =
            || Problem::of_field(ProblemKind::InvalidBody, WHOLE, "A JSON body is needed.");
        body.map(JsonBody).ok_or_else(missing)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for OptionalJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<OptionalJsonBody<T>, Problem> {
        read(request).await.map(OptionalJsonBody)
    }
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<Option<T>, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = collect(body).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    if !is_json(&parts.headers) {
        let detail = "Send the field 'Content-Type: application/json'.";
        return Err(Problem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    parse(&bytes).map(|Object(body)| Some(body))
}

/// Reads the JSON; a mistake is told with the field that it stands in.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let parsed = serde_path_to_error::deserialize(&mut deserializer);
    let (path, error) = match parsed {
        Ok(parsed) => match deserializer.end() {
            Ok(()) => return Ok(parsed),
            Err(error) => (WHOLE.to_owned(), error),
        },
        Err(error) => (error.path().to_string(), error.into_inner()),
    };
    // It may quote what came in.
    let detail: String = error.to_string().chars().take(MAX_DETAIL_CHARS).collect();
    let field = field(&path, &detail);
    Err(Problem::of_field(ProblemKind::InvalidBody, &field, detail))
}

/// The field as `attachments.keep[0]`. One that is missing or not known is named by the error alone.
fn field(path: &str, detail: &str) -> String {
    // A `?` stands for what had not begun.
    let within = path.trim_matches(['.', '?']);
    let kinds = ["missing field `", "unknown field `", "duplicate field `"];
    let named = kinds.iter().find_map(|kind| detail.strip_prefix(kind));
    let name = named.and_then(|rest| rest.split('`').next());
    let field = match name {
        Some(name) if within == name || within.ends_with(&format!(".{name}")) => within.to_owned(),
        Some(name) if within.is_empty() => name.to_owned(),
        Some(name) => format!("{within}.{name}"),
        None if within.is_empty() => WHOLE.to_owned(),
        None => within.to_owned(),
    };
    field.chars().take(MAX_DETAIL_CHARS).collect()
}

async fn collect(body: Body) -> Result<Bytes, Problem> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let detail = format!("A body has at most {MAX_BODY_BYTES} bytes.");
            Err(Problem::new(ProblemKind::TooLarge, detail))
        }
        Err(_) => Err(Problem::new(ProblemKind::InvalidBody, "The body did not arrive whole.")),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let field = headers.get(CONTENT_TYPE).and_then(|field| field.to_str().ok());
    let kind = field.and_then(|field| field.split(';').next()).map(str::trim);
    kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::BTreeMap;

    async fn body(kind: Option<&str>, body: Vec<u8>) -> String {
        let mut request = Request::builder().method("POST").uri("/");
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        match read::<BTreeMap<String, u16>>(request.body(Body::from(body)).unwrap()).await {
            Ok(value) => format!("{value:?}"),
            Err(problem) => format!("{problem:?}"),
        }
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[allow(dead_code, reason = "only read for its mistakes")]
        name: String,
        #[allow(dead_code, reason = "only read for its mistakes")]
        inner: Option<Object<Inner>>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[allow(dead_code, reason = "only read for its mistakes")]
        keep: Vec<u16>,
    }

    #[test]
    fn an_index_is_a_whole_number() {
        let check = |text: &str, expected: Option<u16>| {
            let read = parse::<Index>(text.as_bytes()).ok();
            assert_eq!(read, expected.map(Index), "{text}");
        };
        check("-1", None);
        check("1.5", None);
        check("65536", None);
        check("1e99", None);
        check("\"1\"", None);
        check("0", Some(0));
        check("65535.0", Some(65535));
    }

    #[test]
    fn a_mistake_is_told_with_its_field() {
        let check = |body: &str, expected: &str| {
            let parsed = parse::<Object<Outer>>(body.as_bytes());
            let problem = format!("{:?}", parsed.unwrap_err());
            assert!(problem.contains(&format!("field: \"{expected}\"")), "{body}: {problem}");
        };
        check("{", "body");
        check("[]", "body");
        check("[\"a\", null]", "body");
        check("{\"name\": \"a\", \"inner\": [[]]}", "inner");
        check("{\"name\": \"a\"} {}", "body");
        check("{}", "name");
        check("{\"name\": 1}", "name");
        check("{\"name\": \"a\", \"name\": \"b\"}", "name");
        check("{\"name\": \"a\", \"nmae\": 1}", "nmae");
        check("{\"name\": \"a\", \"inner\": {}}", "inner.keep");
        check("{\"name\": \"a\", \"inner\": {\"keep\": [1, -1]}}", "inner.keep[1]");
        check("{\"name\": \"a\", \"inner\": {\"keep\": [], \"kept\": []}}", "inner.kept");
    }

    #[tokio::test]
    async fn bodies_are_bounded_json() {
        let json = Some("application/json; charset=utf-8");
        assert!(body(None, b"{}".to_vec()).await.contains("UnsupportedMediaType"));
        assert!(body(Some("text/plain"), b"{}".to_vec()).await.contains("UnsupportedMediaType"));
        assert!(body(json, b"{\"a\": 1".to_vec()).await.contains("InvalidBody"));
        assert!(body(json, b"{\"a\": -1}".to_vec()).await.contains("InvalidBody"));
        assert!(body(json, vec![b'['; MAX_BODY_BYTES + 1]).await.contains("TooLarge"));
        assert!(body(json, vec![b'['; 100_000]).await.contains("InvalidBody"));
        assert_eq!(body(None, Vec::new()).await, "None");
        assert_eq!(body(json, b"{\"a\": 1}".to_vec()).await, "Some({\"a\": 1})");
    }
}
