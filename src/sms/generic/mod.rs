//! A provider whose HTTP API is described in the configuration.
//!
//! URL, headers and body are templates in which `{to}` and the other names of [`Place`] stand for
//! values. The encoder follows from where a value stands, so no value can become more than that. Patterns
//! judge the answer. Its callbacks are simple ones: `state=delivered`, or `from`, `to` and `text`.
//!
//! In reading order: `template`, `encode`, `provider`.

mod encode;
mod provider;
mod template;

use regex::Regex;
use url::Url;

use crate::model::Secret;
pub use provider::{HttpUpstream, check};

/// The description.
#[derive(Clone, Debug)]
pub struct HttpProvider {
    /// Placeholders may stand in its path and its query.
    pub url: Url,
    pub method: HttpMethod,
    /// Names in the spelling of the file; the values may hold tokens and placeholders.
    pub headers: Vec<(String, Secret)>,
    /// Template of the request's body. Its form is that of the `Content-Type` among the headers:
    /// form, JSON, XML or plain text. Without one it is JSON when it begins with `{` or `[`, XML
    /// when it begins with `<`, and otherwise a form.
    pub body: Option<String>,
    /// What a good answer looks like; `None` is any 2xx. Its group `id`, or else its first one, is
    /// the provider's id. All patterns see the line `HTTP 200`, a line break, and the body.
    pub success: Option<Regex>,
    /// Refused for good. It is looked for first, and in answers of every status.
    pub permanent: Option<Regex>,
    /// Refused for now. It is looked for second.
    pub temporary: Option<Regex>,
}

/// The method of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Post,
    Put,
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `+4512345678`
    To,
    /// `4512345678`
    ToDigits,
    /// Number with its plus sign, or name; empty when the provider picks one.
    From,
    Text,
    /// The message's id here.
    Id,
    /// The application's own reference, or nothing.
    Reference,
    Segments,
    /// `gsm7` or `ucs2`.
    Encoding,
    /// Where the provider is to report, or nothing.
    StatusUrl,
}

impl Place {
    const ALL: [(Place, &'static str); 9] = [
        (Place::To, "to"),
        (Place::ToDigits, "to_digits"),
        (Place::From, "from"),
        (Place::Text, "text"),
        (Place::Id, "id"),
        (Place::Reference, "reference"),
        (Place::Segments, "segments"),
        (Place::Encoding, "encoding"),
        (Place::StatusUrl, "status_url"),
    ];

    /// By the name between the braces.
    fn parse(name: &str) -> Option<Place> {
        Place::ALL.into_iter().find(|(_, known)| *known == name).map(|(place, _)| place)
    }
}

#[cfg(test)]
mod tests;
