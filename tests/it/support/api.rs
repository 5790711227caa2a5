//! The admin API as a script would use it: one request on one connection.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;

/// No request of these tests takes so long.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// How long something may take to become true before a test fails.
const AWAIT_LIMIT: Duration = Duration::from_secs(60);

/// A port, and the token that opens it.
#[derive(Clone, Debug)]
pub struct Api {
    port: u16,
    token: Option<String>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Response {
    /// The body as JSON; panics with the whole answer when it is none.
    pub fn json(&self) -> Value {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {} {}", self.status, text()))
    }
}

impl Api {
    pub fn new(port: u16, token: Option<String>) -> Api {
        Api { port, token }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    pub fn get(&self, path: &str) -> std::io::Result<Response> {
        self.request("GET", path, "")
    }

    /// Posts a JSON body.
    pub fn post(&self, path: &str, body: &str) -> std::io::Result<Response> {
        self.request("POST", path, body)
    }

    pub fn delete(&self, path: &str) -> std::io::Result<Response> {
        self.request("DELETE", path, "")
    }

    /// A GET that must succeed, as JSON.
    pub fn read(&self, path: &str) -> Value {
        let response = self.get(path).unwrap();
        assert_eq!(response.status, 200, "{path}: {}", String::from_utf8_lossy(&response.body));
        response.json()
    }

    /// One message by its id.
    pub fn message(&self, id: &str) -> Value {
        self.read(&format!("/api/v1/messages/{id}"))
    }

    /// The only message to this address.
    pub fn message_to(&self, address: &str) -> Value {
        let page =
            self.read(&format!("/api/v1/messages?recipient={}", address.replace('+', "%2B")));
        let items = page["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "messages to {address}: {page}");
        items[0].clone()
    }

    /// The bytes as they were submitted.
    pub fn raw(&self, id: &str) -> Vec<u8> {
        let response = self.get(&format!("/api/v1/messages/{id}/raw")).unwrap();
        assert_eq!(response.status, 200, "{id}");
        response.body
    }

    /// Every message of a list with these filters, page by page.
    pub fn all_messages(&self, filters: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.read(&format!("/api/v1/messages?limit=500&{filters}{cursor}"));
            all.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// The kinds of the events of a message, oldest first.
    pub fn events(&self, id: &str) -> Vec<Value> {
        self.read(&format!("/api/v1/messages/{id}/events"))["items"].as_array().unwrap().clone()
    }

    /// Waits until a message has this status.
    pub fn wait_for_status(&self, id: &str, status: &str) -> Value {
        let started = Instant::now();
        loop {
            let message = self.message(id);
            if message["status"] == status {
                return message;
            }
            assert!(started.elapsed() < AWAIT_LIMIT, "not {status}: {message}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until no message is pending.
    pub fn wait_until_nothing_is_pending(&self) {
        let started = Instant::now();
        loop {
            let page = self.read("/api/v1/messages?status=pending&limit=1");
            let Some(pending) = page["items"].as_array().unwrap().first() else { return };
            assert!(started.elapsed() < AWAIT_LIMIT, "still pending: {pending}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn request(&self, method: &str, path: &str, body: &str) -> std::io::Result<Response> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(REQUEST_LIMIT))?;
        socket.set_write_timeout(Some(REQUEST_LIMIT))?;
        let token = self.token.as_ref().map(|t| format!("Authorization: Bearer {t}\r\n"));
        let content = match method {
            "GET" => String::new(),
            _ => format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n{}{content}\r\n{body}",
            self.port,
            token.unwrap_or_default()
        );
        socket.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        parse(&answer).ok_or_else(|| {
            std::io::Error::other(format!("no HTTP: {:?}", String::from_utf8_lossy(&answer)))
        })
    }
}

fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?.to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = &answer[end + 4..];
    let chunked = head.contains("\r\ntransfer-encoding: chunked");
    let body = if chunked { joined_chunks(body)? } else { body.to_vec() };
    Some(Response { status, body })
}

fn joined_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut joined = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = std::str::from_utf8(&rest[..line]).ok()?.split(';').next()?;
        let length = usize::from_str_radix(length.trim(), 16).ok()?;
        if length == 0 {
            return Some(joined);
        }
        joined.extend_from_slice(rest.get(line + 2..line + 2 + length)?);
        rest = rest.get(line + 2 + length + 2..)?;
    }
}

#[test]
fn answers_are_read() {
    let check = |answer: &str, expected: Option<(u16, &str)>| {
        let found = parse(answer.as_bytes());
        let found = found.map(|r| (r.status, String::from_utf8(r.body).unwrap()));
        assert_eq!(found, expected.map(|(s, b)| (s, b.to_owned())), "{answer}");
    };
    check("HTTP/1.1 200 OK", None);
    check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc", None);
    check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", Some((200, "abc")));
    check(
        "HTTP/1.1 409 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        Some((409, "abcd")),
    );
}
