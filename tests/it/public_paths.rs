//! Callbacks are answered below the path of their URL, links and pixels below that of theirs, and both without
//! one, for a proxy that takes it away.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

use super::support::api::Api;
use super::support::daemon::{Daemon, Setup};
use super::support::receiver::Receiver;
use super::support::submitter::Submitter;

const MAIL: &str = "From: Anna <anna@example.com>\r\nTo: kim@example.org\r\nSubject: Offer\r\nMIME-Version: 1.0\r\n\
    Content-Type: text/html\r\n\r\n<html><body><a href=\"https://shop.example.com/\">offer</a></body></html>\r\n";

/// The status of the answer.
fn fetch(daemon: &Daemon, path: &str) -> u16 {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, daemon.public())).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: t.test\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

fn tell(daemon: &Daemon, path: &str) -> u16 {
    let public = Api::new(daemon.public(), None);
    public.post(&format!("{path}?token=brevo-calls"), "[]").unwrap().status
}

#[test]
fn callbacks_and_links_may_have_paths_of_their_own() {
    let receiver = Receiver::start();
    let tables = format!(
        "[[app]]\nname = \"erp\"\nnetworks = [\"127.0.0.0/8\"]\ntrack = {{ opens = true, clicks = true }}\n\
         [[upstream]]\nname = \"a\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"off\"\n\
         events = {{ kind = \"brevo\", token = \"brevo-calls\" }}\n\
         [tracking]\npublic_url = \"https://t.example.com/hooks/a/\"\n",
        receiver.port()
    );
    let public = "url = \"https://gw.example.com/o/x\"\n".to_owned();
    let setup = Setup { upstream: None, tables, public, ..Setup::relaying_to(0) };
    let daemon = Daemon::start(&setup);
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    let answer = submitter.submit("anna@example.com", &["kim@example.org"], MAIL.as_bytes());
    assert!(answer.unwrap().is_ok());
    let arrival = receiver.wait_for("kim@example.org");
    let text = String::from_utf8_lossy(&arrival.data);
    for (kind, taken) in [("o", 200), ("c", 302)] {
        let before = format!("https://t.example.com/hooks/a/{kind}/");
        let (_, rest) = text.split_once(&before).unwrap_or_else(|| panic!("{kind}: {text}"));
        let is_token = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
        let token: String = rest.chars().take_while(is_token).collect();
        assert_eq!(fetch(&daemon, &format!("/o/x/{kind}/{token}")), 404);
        assert_eq!(fetch(&daemon, &format!("/{kind}/hooks/{token}")), 404);
        assert_eq!(fetch(&daemon, &format!("/hooks/a/{kind}/{token}")), taken);
        assert_eq!(fetch(&daemon, &format!("/{kind}/{token}")), taken);
    }
    // Also where the paths of both begin alike.
    assert_eq!(tell(&daemon, "/hooks/a/hooks/a/events"), 404);
    assert_eq!(tell(&daemon, "/o/x/hooks/b/events"), 404);
    assert_eq!(tell(&daemon, "/o/x/hooks/a/events"), 200);
    assert_eq!(tell(&daemon, "/hooks/a/events"), 200);
}
