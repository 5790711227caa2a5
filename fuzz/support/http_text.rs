//! An HTTP message from readable text: `POST /path?query` or a status on the first line, fields, an
//! empty line, and a body.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};

/// `None` for what an HTTP server would not hand on either.
pub fn request(octets: &[u8]) -> Option<Request<Bytes>> {
    let (first, headers, body) = parts(octets)?;
    let (method, target) = first.split_once(' ')?;
    let uri: Uri = target.parse().ok().filter(|uri: &Uri| uri.path().starts_with('/'))?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(method.as_bytes()).ok()?;
    *request.uri_mut() = uri.into_parts().path_and_query?.into();
    *request.headers_mut() = headers;
    Some(request)
}

/// `None` where the first line is no status.
#[allow(dead_code, reason = "only one of the targets reads responses")]
pub fn response(octets: &[u8]) -> Option<Response<Bytes>> {
    let (first, headers, body) = parts(octets)?;
    let mut response = Response::new(body);
    *response.status_mut() = first.parse().ok()?;
    *response.headers_mut() = headers;
    Some(response)
}

fn parts(octets: &[u8]) -> Option<(&str, HeaderMap, Bytes)> {
    let cut = octets.windows(2).position(|two| two == b"\n\n");
    let (head, body) = cut.map_or((octets, &b""[..]), |at| (&octets[..at], &octets[at + 2..]));
    let end = head.iter().position(|byte| *byte == b'\n').unwrap_or(head.len());
    let mut headers = HeaderMap::new();
    for line in head[end..].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        headers.append(name, value);
    }
    Some((std::str::from_utf8(&head[..end]).ok()?, headers, Bytes::copy_from_slice(body)))
}
