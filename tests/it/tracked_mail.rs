//! Mail with links through a real daemon: each recipient gets links of its own, and what each got is shown to the byte
//! afterwards, also when the settings and the keys of the day are gone.

use std::time::{Duration, Instant};

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup};
use crate::support::receiver::{Arrival, Receiver};
use crate::support::submitter::Submitter;

/// How long hits may take to be recorded.
const AWAIT_LIMIT: Duration = Duration::from_secs(60);
const PUBLIC: &str = "https://t.example.com";
const MAIL: &[u8] =
    b"From: Anna <anna@example.com>\r\nTo: a@example.org, b@example.org\r\nSubject: Offer\r\n\
    MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
    <html><body><p>See <a href=\"https://shop.example.com/offer?a=1&amp;b=%20x\">our offer</a>, or \
    <a href=\"mailto:anna@example.com\">write</a>.</p></body></html>\r\n";

fn setup(port: u16, tracking: &str) -> Setup {
    let tables = format!(
        "[[app]]\nname = \"erp\"\nnetworks = [\"127.0.0.0/8\"]\n{}\n{tracking}",
        if tracking.is_empty() { "" } else { "track = { opens = true, clicks = true }" },
    );
    Setup { tables, ..Setup::relaying_to(port) }
}

fn submit(daemon: &Daemon, recipients: &[&str], mail: &[u8]) -> String {
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    let answer = submitter.submit("anna@example.com", recipients, mail).unwrap();
    answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

/// The token of the first link or pixel of this kind.
fn token(arrival: &Arrival, kind: &str) -> String {
    let text = String::from_utf8_lossy(&arrival.data);
    let (_, rest) =
        text.split_once(&format!("{PUBLIC}/{kind}/")).unwrap_or_else(|| panic!("{text}"));
    rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
}

fn sent_to(api: &Api, id: &str, recipient: u16) -> Vec<u8> {
    let response = api.get(&format!("/api/v1/messages/{id}/raw?sent_to={recipient}")).unwrap();
    assert_eq!(response.status, 200, "{}", String::from_utf8_lossy(&response.body));
    response.body
}

#[test]
fn each_recipient_of_a_tracked_mail_has_links_of_its_own() {
    let receiver = Receiver::start();
    let tracking = format!("[tracking]\npublic_url = \"{PUBLIC}\"\n");
    let mut daemon = Daemon::start(&setup(receiver.port(), &tracking));
    let api = daemon.api("admin");
    let id = submit(&daemon, &["a@example.org", "b@example.org"], MAIL);
    let arrivals = [receiver.wait_for("a@example.org"), receiver.wait_for("b@example.org")];
    api.wait_for_status(&id, "sent");
    assert_eq!(receiver.count(), 2);
    assert_ne!(token(&arrivals[0], "c"), token(&arrivals[1], "c"));
    assert_ne!(token(&arrivals[0], "o"), token(&arrivals[1], "o"));
    for (recipient, arrival) in (0..).zip(&arrivals) {
        assert_eq!(sent_to(&api, &id, recipient), arrival.data);
    }
    // The second one clicks: it is known who did, and where to.
    let public = Api::new(daemon.public(), None);
    assert_eq!(public.get(&format!("/c/{}", token(&arrivals[1], "c"))).unwrap().status, 302);
    assert_eq!(public.get(&format!("/o/{}", token(&arrivals[1], "o"))).unwrap().status, 200);
    let deadline = Instant::now() + AWAIT_LIMIT;
    let clicked = loop {
        assert!(Instant::now() < deadline, "the hits are not recorded");
        let message = api.message(&id);
        let recipient = message["recipients"][1].clone();
        let hits = |name: &str| {
            recipient[name].as_u64().unwrap_or(0)
                + recipient[format!("automated_{name}")].as_u64().unwrap_or(0)
        };
        if hits("clicks") == 1 && hits("opens") == 1 {
            break message;
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(clicked["recipients"][0]["clicks"], 0);
    let report = &clicked["recipients"][1]["tracking"];
    assert_eq!((&report["links"], &report["rewritten"]), (&2.into(), &1.into()), "{report}");
    assert_eq!((&report["pixel"], &report["skipped"]["mailto"]), (&true.into(), &1.into()));
    // Later, without tracking: what they got is still shown as it was.
    daemon.stop();
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    let text = text.replace(&tracking, "").replace("track = { opens = true, clicks = true }", "");
    std::fs::write(daemon.config(), text).unwrap();
    daemon.start_again();
    for (recipient, arrival) in (0..).zip(&arrivals) {
        assert_eq!(sent_to(&daemon.api("admin"), &id, recipient), arrival.data);
    }
}

#[test]
fn recipients_of_an_untracked_mail_share_a_transaction() {
    let receiver = Receiver::start();
    let tracking = format!("[tracking]\npublic_url = \"{PUBLIC}\"\n");
    let daemon = Daemon::start(&setup(receiver.port(), &tracking));
    let mail = [b"X-Waybill-Track: none\r\n", MAIL].concat();
    let id = submit(&daemon, &["a@example.org", "b@example.org"], &mail);
    daemon.api("admin").wait_for_status(&id, "sent");
    let arrival = receiver.wait_for("a@example.org");
    assert_eq!((receiver.count(), arrival.recipients.len()), (1, 2));
    assert!(!String::from_utf8_lossy(&arrival.data).contains(PUBLIC));
}

#[test]
fn a_stopped_recipient_of_a_tracked_mail_gets_nothing() {
    let receiver = Receiver::start();
    let tracking = format!("[tracking]\npublic_url = \"{PUBLIC}\"\n");
    let daemon = Daemon::start(&setup(receiver.port(), &tracking));
    let api = daemon.api("admin");
    let mail = [b"X-Waybill-Hold: manual\r\n", MAIL].concat();
    let id = submit(&daemon, &["a@example.org", "b@example.org", "c@example.org"], &mail);
    let act = |verb: &str, body: &str| {
        let answer = api.post(&format!("/api/v1/messages/{id}/{verb}"), body).unwrap();
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    };
    act("stop", "{\"recipients\": [1]}");
    act("release", "");
    receiver.wait_for("c@example.org");
    api.wait_until_nothing_is_pending();
    assert_eq!(receiver.count(), 2);
    assert!(receiver.arrivals().iter().all(|arrival| arrival.recipients.len() == 1));
}
