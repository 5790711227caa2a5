//! The live stream tells everything that happens, once, in order, also across a kill of the daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use waybill::account::Role;

use crate::support::admin::{Gateway, MAIL};
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::Receiver;
use crate::support::submitter::Submitter;

/// How long something may take to arrive before a test fails.
const AWAIT_LIMIT: Duration = Duration::from_secs(60);

/// One event as it came over the wire.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    id: u64,
    kind: String,
    pub(crate) data: Value,
}

/// A client of the stream: reads in a thread of its own until the connection ends.
pub(crate) struct Client {
    events: mpsc::Receiver<Told>,
    socket: TcpStream,
    /// The id that the stream gave first.
    first_id: u64,
}

impl Client {
    pub(crate) fn connect(
        address: SocketAddr,
        token: &str,
        query: &str,
        last: Option<u64>,
    ) -> Client {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(AWAIT_LIMIT)).unwrap();
        let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
        let request = format!(
            "GET /api/v1/stream{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{last}\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("HTTP/1.1 200 "), "{line}");
        while line != "\r\n" {
            line.clear();
            reader.read_line(&mut line).unwrap();
        }
        let (sender, events) = mpsc::channel();
        let (first, first_id) = mpsc::channel();
        std::thread::spawn(move || {
            let mut body = BufReader::new(Chunked { inner: reader, left: 0 });
            let (mut id, mut kind, mut data) = (0, String::new(), String::new());
            let mut line = String::new();
            while body.read_line(&mut line).is_ok_and(|length| length > 0) {
                let text = line.trim_end();
                match text.split_once(": ") {
                    Some(("id", value)) => {
                        id = value.parse().unwrap();
                        let _ = first.send(id);
                    }
                    Some(("event", value)) => value.clone_into(&mut kind),
                    Some(("data", value)) => value.clone_into(&mut data),
                    Some(_) => {}
                    None if text.is_empty() && !data.is_empty() => {
                        let data = serde_json::from_str(&std::mem::take(&mut data)).unwrap();
                        let told = Told { id, kind: std::mem::take(&mut kind), data };
                        if sender.send(told).is_err() {
                            return;
                        }
                    }
                    None => {}
                }
                line.clear();
            }
        });
        let first_id = first_id.recv_timeout(AWAIT_LIMIT).unwrap();
        Client { events, socket, first_id }
    }

    pub(crate) fn next(&self) -> Told {
        self.events.recv_timeout(AWAIT_LIMIT).expect("an event")
    }

    /// Everything up to the event with this number.
    fn until(&self, last: u64, told: &mut Vec<Told>) {
        while told.last().is_none_or(|event| event.id < last) {
            told.push(self.next());
        }
    }

    /// Everything that is still to come before the connection ends.
    fn rest(&self, told: &mut Vec<Told>) {
        while let Ok(event) = self.events.recv_timeout(AWAIT_LIMIT) {
            told.push(event);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

/// The body of a chunked answer; ends where the connection ends.
struct Chunked<R> {
    inner: R,
    left: usize,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let mut line = String::new();
            if self.inner.read_line(&mut line)? == 0 {
                return Ok(0);
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            self.left = usize::from_str_radix(line, 16).map_err(std::io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = self.left.min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read;
        Ok(read)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_places_and_filters_are_told() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    for (query, problem) in [
        ("?last_event_id=x", "invalid-parameter"),
        ("?last_event_id=-1", "invalid-parameter"),
        ("?last_event_id=9999", "conflict"),
        ("?status=sended", "invalid-parameter"),
        ("?limit=5", "invalid-parameter"),
        ("?order=oldest", "invalid-parameter"),
    ] {
        let answer = gateway.get(&token, &format!("/api/v1/stream{query}")).await;
        assert_eq!(answer.problem(), problem, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_takes_all_places() {
    let gateway = Gateway::start().await;
    let (ours, theirs) =
        (gateway.token(Role::Viewer, &[]).await, gateway.token(Role::Viewer, &[]).await);
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::connect(gateway.address, &ours, "", None));
    }
    let answer = gateway.get(&ours, "/api/v1/stream").await;
    assert_eq!((answer.status, answer.problem().as_str()), (429, "busy"));
    let _other = Client::connect(gateway.address, &theirs, "", None);
    clients.pop();
    // The place is free again when the server has seen that its client is gone.
    while gateway.get(&ours, "/api/v1/stream").await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_read_any_more_is_told_nothing_more() {
    let gateway = Gateway::start().await;
    let admin = gateway.token(Role::Admin, &[]).await;
    let token = gateway.token(Role::Viewer, &["erp"]).await;
    let client = Client::connect(gateway.address, &token, "", None);
    gateway.submit("erp", &["kim@example.org"], MAIL, false).await;
    assert_eq!(client.next().kind, "accepted");
    let tokens = gateway.get(&admin, "/api/v1/tokens").await.json();
    let of_erp = |one: &&Value| one["apps"] == serde_json::json!(["erp"]);
    let id = tokens["items"].as_array().unwrap().iter().find(of_erp).unwrap()["id"].clone();
    let path = format!("/api/v1/tokens/{}", id.as_str().unwrap());
    let revoked = gateway.ask(axum::http::Method::DELETE, &path, Some(&admin), None).await;
    assert_eq!(revoked.status, 200);
    // A right that was looked at a moment ago is trusted for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    gateway.submit("erp", &["bo@example.org"], MAIL, false).await;
    let mut told = Vec::new();
    client.rest(&mut told);
    assert_eq!(told, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_may_be_seen_and_matches_is_told() {
    let gateway = Gateway::start().await;
    let limited = gateway.token(Role::Viewer, &["erp"]).await;
    let all = gateway.token(Role::Viewer, &[]).await;
    let of_erp = Client::connect(gateway.address, &limited, "", None);
    let to_bo = Client::connect(gateway.address, &all, "?recipient=bo@example.org", None);
    let everything = Client::connect(gateway.address, &all, "", None);
    gateway.submit("crm", &["kim@example.org"], MAIL, true).await;
    let erp = gateway.submit("erp", &["kim@example.org"], MAIL, true).await.id.to_string();
    let bo = gateway.submit("crm", &["bo@example.org"], MAIL, false).await.id.to_string();
    let told = of_erp.next();
    assert_eq!((told.kind.as_str(), &told.data["message"]["id"]), ("accepted", &erp.into()));
    assert_eq!(of_erp.next().kind, "held");
    let told = to_bo.next();
    assert_eq!(told.data["message"]["id"], bo);
    assert_eq!(told.data["message"]["recipients"], serde_json::json!(["bo@example.org"]));
    assert_eq!(told.data["event"], "accepted");
    let mut all_told = Vec::new();
    everything.until(told.id, &mut all_told);
    let ids: Vec<u64> = all_told.iter().map(|event| event.id).collect();
    assert_eq!(ids, (everything.first_id + 1..=told.id).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_gets_what_was_missed_and_nothing_twice() {
    let gateway = Gateway::start().await;
    let token = gateway.token(Role::Viewer, &[]).await;
    let client = Client::connect(gateway.address, &token, "", None);
    let begin = client.first_id;
    drop(client);
    for _ in 0..300 {
        gateway.submit("erp", &["kim@example.org"], MAIL, true).await;
    }
    let last = begin + 600;
    let (by_header, by_parameter) = (
        Client::connect(gateway.address, &token, "?last_event_id=0", Some(begin)),
        Client::connect(gateway.address, &token, &format!("?last_event_id={begin}"), None),
    );
    for client in [by_header, by_parameter] {
        let mut told = Vec::new();
        client.until(last, &mut told);
        let ids: Vec<u64> = told.iter().map(|event| event.id).collect();
        assert_eq!(ids, (begin + 1..=last).collect::<Vec<_>>());
    }
}

/// Two clients follow while mail flows; the daemon is killed and started again under them.
#[test]
fn a_kill_of_the_daemon_loses_no_event_and_repeats_none() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let api = daemon.api("viewer");
    let token = api.token().unwrap().to_owned();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, api.port()));
    let (mut told, mut lasts) = ([Vec::new(), Vec::new()], [0, 0]);
    let mut clients: Vec<Client> =
        (0..2).map(|_| Client::connect(address, &token, "", Some(0))).collect();
    for round in 0..3 {
        let mut session = Submitter::connect(daemon.smtp()).unwrap();
        for number in 0..20 {
            let to = format!("{round}.{number}@example.org");
            let text = format!("From: a@example.com\r\nSubject: {to}\r\n\r\nx\r\n");
            session.submit("a@example.com", &[&to], text.as_bytes()).unwrap();
        }
        // In the middle of whatever is going on.
        daemon.kill();
        for (client, told) in clients.iter().zip(&mut told) {
            client.rest(told);
        }
        for (last, told) in lasts.iter_mut().zip(&told) {
            *last = told.last().map_or(0, |event: &Told| event.id);
        }
        daemon.start_again();
        clients =
            lasts.iter().map(|last| Client::connect(address, &token, "", Some(*last))).collect();
    }
    api.wait_until_nothing_is_pending();
    let mut known = std::collections::BTreeMap::new();
    for message in api.all_messages("") {
        let id = message["id"].as_str().unwrap();
        for event in api.events(id) {
            let number = event["sequence"].as_u64().unwrap();
            known.insert(number, (id.to_owned(), event["event"].as_str().unwrap().to_owned()));
        }
    }
    let last = *known.keys().next_back().unwrap();
    for (client, told) in clients.iter().zip(&mut told) {
        client.until(last, told);
        let told: Vec<(u64, (String, String))> = told
            .iter()
            .map(|event| {
                let id = event.data["message"]["id"].as_str().unwrap().to_owned();
                (event.id, (id, event.kind.clone()))
            })
            .collect();
        let expected: Vec<_> = known.clone().into_iter().collect();
        assert_eq!(told.len(), expected.len());
        assert!(told == expected, "the stream and the histories tell different stories");
    }
}

#[test]
fn an_orderly_stop_does_not_wait_for_readers() {
    let receiver = Receiver::start();
    let mut daemon = Daemon::start(&Setup::relaying_to(receiver.port()));
    let api = daemon.api("viewer");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, api.port()));
    let client = Client::connect(address, api.token().unwrap(), "", None);
    let began = std::time::Instant::now();
    assert!(daemon.stop().success());
    // Connections that do not end by themselves have ten seconds.
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    let mut told = Vec::new();
    client.rest(&mut told);
    assert_eq!(told, []);
}
