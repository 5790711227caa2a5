//! A provider whose HTTP API is described in the configuration.

mod provider;

use regex::Regex;
use url::Url;

use crate::model::Secret;
pub use provider::HttpUpstream;

/// The description.
#[derive(Clone, Debug)]
pub struct HttpProvider {
    pub url: Url,
    pub method: HttpMethod,
    /// Names in the spelling of the file; the values may hold tokens.
    pub headers: Vec<(String, Secret)>,
    /// Template of the request's body.
    pub body: Option<String>,
    /// What a good answer looks like; `None` is any 2xx.
    pub success: Option<Regex>,
    pub permanent: Option<Regex>,
    pub temporary: Option<Regex>,
}

/// The method of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpMethod {
    Get,
    Post,
    Put,
}
