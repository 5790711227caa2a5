//! Whose dialect a request is: by the path's prefix, the host name, or what only one dialect has.
//!
//! `/d/<dialect>/…` works wherever a client lets its base URL be set; the prefix is taken off, so
//! that the dialect sees its own path. A provider's own host name, or one that the configuration
//! gives a dialect, works where only the name can be led here. What is left must be a path or a
//! header that no two dialects share.

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Uri, header};

use crate::model::Dialect;
use crate::sms;

/// The providers' own names, and what stands before them in regions and products.
const PROVIDER_HOSTS: [(&str, Dialect); 4] = [
    ("twilio.com", Dialect::Twilio),
    ("nexmo.com", Dialect::Vonage),
    ("gatewayapi.com", Dialect::GatewayApi),
    ("gatewayapi.eu", Dialect::GatewayApi),
];

/// What stands before the name of a dialect.
const PREFIX: &str = "/d/";

/// The dialect of a request, with the prefix taken off its path; `None` when it is nobody's.
pub(super) fn dispatch(
    mut request: Request<Bytes>,
    hosts: &[(String, Dialect)],
) -> Option<(Dialect, Request<Bytes>)> {
    if let Some((dialect, uri)) = without_prefix(request.uri()) {
        *request.uri_mut() = uri;
        return Some((dialect, request));
    }
    if let Some(dialect) = host(&request).and_then(|host| of_host(&host, hosts)) {
        return Some((dialect, request));
    }
    let dialect = Dialect::ALL.into_iter().find(|d| sms::port(*d).recognises(&request))?;
    Some((dialect, request))
}

/// All prefixes, for those who ask for what is not there.
pub(super) fn prefixes() -> Vec<String> {
    Dialect::ALL.iter().map(|dialect| format!("{PREFIX}{}/", dialect.as_str())).collect()
}

fn without_prefix(uri: &Uri) -> Option<(Dialect, Uri)> {
    let rest = uri.path().strip_prefix(PREFIX)?;
    let (name, rest) = rest.split_once('/').unwrap_or((rest, ""));
    let dialect = Dialect::parse(name)?;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    // A part of a path and query that was read is one again.
    parts.path_and_query = Some(PathAndQuery::try_from(format!("/{rest}{query}")).ok()?);
    Some((dialect, Uri::from_parts(parts).ok()?))
}

/// The host that the client named, without port, in lower case.
fn host(request: &Request<Bytes>) -> Option<String> {
    let field = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let named = field.or(request.uri().authority().map(|authority| authority.as_str()))?;
    let host = named.rsplit_once(':').map_or(named, |(host, _)| host);
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}

fn of_host(host: &str, hosts: &[(String, Dialect)]) -> Option<Dialect> {
    if let Some((_, dialect)) = hosts.iter().find(|(name, _)| name == host) {
        return Some(*dialect);
    }
    let is_under = |name: &str| {
        host.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    PROVIDER_HOSTS.iter().find(|(name, _)| is_under(name)).map(|(_, dialect)| *dialect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, path: &str, expected: Option<(Dialect, &str)>) {
        let aliases = [("sms.example.com".to_owned(), Dialect::Kannel)];
        let request = Request::get(path).header("host", host).body(Bytes::new()).unwrap();
        let found = dispatch(request, &aliases);
        let found = found.map(|(dialect, request)| (dialect, request.uri().to_string()));
        let expected = expected.map(|(dialect, path)| (dialect, path.to_owned()));
        assert_eq!(found, expected, "{host} {path}");
    }

    #[test]
    fn a_prefix_or_a_host_names_the_dialect() {
        check("x", "/d/nobody/a", None);
        check("eviltwilio.com", "/nothing", None);
        check("twilio.com.evil.example", "/nothing", None);
        check("x", "/d/twilio/2010/a.json?b=%2F", Some((Dialect::Twilio, "/2010/a.json?b=%2F")));
        check("x", "/d/kannel", Some((Dialect::Kannel, "/")));
        check("x", "/d/kannel?a=1", Some((Dialect::Kannel, "/?a=1")));
        check("api.twilio.com", "/a", Some((Dialect::Twilio, "/a")));
        check("API.dublin.ie1.Twilio.com.:8443", "/a", Some((Dialect::Twilio, "/a")));
        check("rest.nexmo.com", "/sms/json", Some((Dialect::Vonage, "/sms/json")));
        check("gatewayapi.com", "/rest/mtsms", Some((Dialect::GatewayApi, "/rest/mtsms")));
        check("messaging.gatewayapi.eu", "/x", Some((Dialect::GatewayApi, "/x")));
        check("sms.example.com:80", "/anything", Some((Dialect::Kannel, "/anything")));
        check("sms.example.com", "/d/vonage/sms/xml", Some((Dialect::Vonage, "/sms/xml")));
    }
}
