//! The whole way of a bounce through the real daemon: out to an upstream, back by swaks, onto the suppression
//! list, and past it when a person says so.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use super::support::api::Api;
use super::support::daemon::{Daemon, Setup, free_port};
use super::support::receiver::Receiver;
use super::support::submitter::Submitter;
use super::support::tools;

const BASE: &str = "bounce@bounces.example.com";

fn with_return_path(upstream: u16, tls: &str) -> (Daemon, u16) {
    with_tables(upstream, tls, "")
}

fn with_tables(upstream: u16, tls: &str, more: &str) -> (Daemon, u16) {
    let port = free_port();
    let listeners = match tls {
        "off" => vec![("off", "off")],
        _ => vec![("off", "off"), ("starttls", "off")],
    };
    let tables = format!(
        "\n[feedback]\nreturn_path = \"{BASE}\"\n[[feedback.listener]]\nlisten = \"127.0.0.1:{port}\"\n\
         tls = \"{tls}\"\n{more}"
    );
    let setup = Setup::relaying_to(upstream);
    let queue = format!("{}\nfailure_reports = \"always\"", setup.queue);
    let setup = Setup { listeners, tables, queue, ..setup };
    (Daemon::start(&setup), port)
}

fn submit(daemon: &Daemon, message_id: &str, recipient: &str) -> String {
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    let text = format!(
        "From: anna@example.com\r\nTo: {recipient}\r\nSubject: Invoice\r\nMessage-ID: <{message_id}>\r\n\r\nHello\r\n"
    );
    let answer = submitter.submit("anna@example.com", &[recipient], text.as_bytes()).unwrap();
    answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
}

fn report(message_id: &str, recipient: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.org\r\nTo: {BASE}\r\nSubject: Undelivered Mail Returned to Sender\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
         --b\r\n\r\nIt could not be delivered.\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; {recipient}\r\n\
         Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n\
         --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{message_id}>\r\n\r\n--b--\r\n"
    )
}

fn kinds(api: &Api, id: &str) -> Vec<String> {
    let events = api.events(id);
    events.iter().map(|event| event["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_bounce_that_swaks_brings_over_tls_fails_the_message_and_survives_a_kill() {
    let Some(swaks) = tools::find("swaks") else { return };
    let receiver = Receiver::start();
    let (mut daemon, port) = with_return_path(receiver.port(), "starttls");
    let api = daemon.api("admin");
    let id = submit(&daemon, "one@example.com", "kim@example.org");
    api.wait_for_status(&id, "sent");
    let file = daemon.folder().join("report");
    std::fs::write(&file, report("one@example.com", "kim@example.org")).unwrap();
    let bring = |to: &str| {
        let mut command = Command::new(&swaks);
        command.args(["--server", "127.0.0.1", "--port", &port.to_string(), "--tls"]);
        command.args(["--from", "<>", "--to", to, "--data"]).arg(format!("@{}", file.display()));
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (is_taken, dialog) = bring("kim@example.org");
    assert!(!is_taken && dialog.contains("550 5.7.1"), "{dialog}");
    let (is_taken, dialog) = bring(BASE);
    assert!(is_taken && dialog.contains("250 2.0.0"), "{dialog}");
    daemon.kill();
    daemon.start_again();
    let message = api.message(&id);
    assert_eq!(message["status"], "failed", "{message}");
    let recipient = &message["recipients"][0];
    assert!(recipient["bounced_at"].is_string(), "{recipient}");
    assert!(recipient["sent_at"].is_string(), "an upstream had taken it: {recipient}");
    assert!(recipient["reason"].as_str().unwrap().contains("no such user"), "{recipient}");
    assert_eq!(kinds(&api, &id), ["accepted", "sent", "bounced"]);
    let found = api.read("/api/v1/messages?q=is:bounced");
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1), "{found}");
    let inbound = api.all_messages("direction=inbound&tag=bounce");
    assert_eq!(inbound.len(), 1, "{inbound:?}");
}

#[test]
fn who_is_on_the_list_gets_nothing_until_a_person_says_why() {
    let receiver = Receiver::start();
    let (daemon, _) = with_return_path(receiver.port(), "off");
    let api = daemon.api("admin");
    let entry = json!({
        "channel": "email", "recipient": "Kim@example.org", "reason": "bounce: no such user",
        "expires_at": "2999-01-01T00:00:00Z",
    });
    assert_eq!(api.post("/api/v1/suppressions", &entry.to_string()).unwrap().status, 201);
    let over = json!({
        "channel": "email", "recipient": "lee@example.org", "expires_at": "2020-01-01T00:00:00Z",
    });
    assert_eq!(api.post("/api/v1/suppressions", &over.to_string()).unwrap().status, 201);
    let never = json!({ "channel": "email", "recipient": "x@example.org", "expires_at": "soon" });
    assert_eq!(api.post("/api/v1/suppressions", &never.to_string()).unwrap().status / 100, 4);

    let free = submit(&daemon, "two@example.com", "lee@example.org");
    api.wait_for_status(&free, "sent");
    let id = submit(&daemon, "one@example.com", "kim@example.org");
    let message = api.message(&id);
    assert_eq!(message["status"], "not_sent", "{message}");
    let reason = message["recipients"][0]["reason"].as_str().unwrap_or_default().to_owned();
    assert!(reason.contains("bounce: no such user"), "{message}");
    assert_eq!(kinds(&api, &id), ["accepted", "suppressed"]);
    // Its sender is told, as of every recipient that gets nothing.
    let told = receiver.wait_for("anna@example.com");
    assert_eq!(told.reverse_path, "");
    let told = String::from_utf8(told.data).unwrap();
    assert!(told.contains("Final-Recipient: rfc822; kim@example.org"), "{told}");
    assert!(told.contains("Status: 5.7.1") && !told.contains("no such user"), "{told}");

    let act = |body: Value| {
        let path = format!("/api/v1/messages/{id}/restart");
        api.post(&path, &body.to_string()).unwrap().status
    };
    assert_eq!(act(json!({})), 200);
    receiver.wait_for_count(3);
    let message = api.message(&id);
    assert_eq!(message["status"], "not_sent", "{message}");
    assert_eq!(message["recipients"][0]["reason"], reason, "{message}");
    assert_eq!(kinds(&api, &id), ["accepted", "suppressed", "restarted", "suppressed"]);
    assert_eq!(act(json!({ "reason": "two\nlines" })) / 100, 4);
    assert_eq!(act(json!({ "reason": "she has a new mailbox" })), 200);
    api.wait_for_status(&id, "sent");
    assert_eq!(receiver.wait_for("kim@example.org").recipients, ["kim@example.org"]);
    receiver.wait_for_count(4);
}

/// Brings a message to the return path, as another mail system does.
fn bring(port: u16, from: &str, to: &str, text: &str) -> String {
    let mut client = Submitter::connect(port).unwrap();
    let answer = client.submit(from, &[to], text.as_bytes()).unwrap();
    assert_eq!(answer.code, 250, "{answer:?}");
    answer.text
}

#[test]
fn what_comes_to_a_return_path_of_ours_goes_on_to_the_senders_own_once() {
    let receiver = Receiver::start();
    let (mut daemon, port) = with_return_path(receiver.port(), "off");
    let api = daemon.api("admin");
    let id = submit(&daemon, "one@example.com", "kim@example.org");
    let path = receiver.wait_for("kim@example.org").reverse_path;
    assert!(path.starts_with("bounce+") && path.ends_with("@bounces.example.com"), "{path}");
    api.wait_for_status(&id, "sent");

    let away = "From: kim@example.org\r\nTo: anna@example.com\r\nSubject: Away\r\nAuto-Submitted: auto-replied\r\n\r\nI am away.\r\n";
    bring(port, "", &path, away);
    let bounce = report("one@example.com", "kim@example.org");
    let first = bring(port, "", &path, &bounce);
    // Their system did not hear our answer, and neither did it hear the one before the kill.
    assert_eq!(bring(port, "", &path, &bounce), first);
    daemon.kill();
    daemon.start_again();
    assert_eq!(bring(port, "", &path, &bounce), first);
    // Who only knows a Message-ID reaches nobody.
    let stranger = bounce.replace("It could not", "Buy this, it could not");
    bring(port, "", BASE, &stranger);
    api.wait_for_status(&id, "failed");
    api.wait_until_nothing_is_pending();

    let to_anna = |arrival: &super::support::receiver::Arrival| {
        arrival.recipients == ["anna@example.com"] && arrival.reverse_path.is_empty()
    };
    // A kill between an upstream's answer and its record may send twice; it is the same message then.
    let mut passed: Vec<Vec<u8>> =
        receiver.arrivals().iter().filter(|a| to_anna(a)).map(|a| a.without_received()).collect();
    passed.sort();
    passed.dedup();
    let mut expected = vec![away.as_bytes().to_vec(), bounce.clone().into_bytes()];
    expected.sort();
    assert_eq!(passed, expected);
    let archived = api.all_messages("tag=passed-on");
    assert_eq!(archived.len(), 2, "{archived:?}");
    assert_eq!(api.all_messages("direction=inbound").len(), 3);
    assert_eq!(kinds(&api, &id), ["accepted", "sent", "bounced"]);
    assert!(api.all_messages("tag=delivery-report").is_empty());
}

#[test]
fn who_did_not_want_to_know_of_failures_is_passed_none_and_nobody_is_flooded() {
    let receiver = Receiver::start();
    let (daemon, port) = with_return_path(receiver.port(), "off");
    let api = daemon.api("admin");
    let mut client = Submitter::connect(daemon.smtp()).unwrap();
    client.command("MAIL FROM:<anna@example.com>").unwrap();
    client.command("RCPT TO:<kim@example.org> NOTIFY=NEVER").unwrap();
    client.command("DATA").unwrap();
    let text = "Subject: quiet\r\nMessage-ID: <one@example.com>\r\n\r\nHello\r\n.";
    let id = client.command(text).unwrap().id().unwrap().to_owned();
    let path = receiver.wait_for("kim@example.org").reverse_path;
    bring(port, "", &path, &report("one@example.com", "kim@example.org"));
    api.wait_for_status(&id, "failed");
    for number in 0..25 {
        let text = format!("From: kim@example.org\r\nSubject: Re: {number}\r\n\r\nHello\r\n");
        bring(port, "kim@example.org", &path, &text);
    }
    api.wait_until_nothing_is_pending();
    assert_eq!(api.all_messages("tag=passed-on").len(), 20);
    assert_eq!(api.all_messages("direction=inbound").len(), 26);
    // Mail of a sender that is our own return path goes nowhere further.
    let mut client = Submitter::connect(daemon.smtp()).unwrap();
    client.submit(BASE, &["lee@example.org"], b"Subject: loop\r\n\r\nHello\r\n").unwrap();
    let path = receiver.wait_for("lee@example.org").reverse_path;
    bring(port, "", &path, &report("two@example.com", "lee@example.org"));
    api.wait_until_nothing_is_pending();
    assert_eq!(api.all_messages("tag=passed-on").len(), 20);
}

#[test]
fn nobody_outside_gets_our_signature_by_writing_to_a_return_path() {
    let receiver = Receiver::start();
    let keys = tempfile::tempdir().unwrap();
    let file = keys.path().join("key.pem");
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    std::fs::write(&file, ed25519.serialize_pem()).unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    let dkim = format!(
        "[[dkim.key]]\ndomain = 'example.com'\nselector = 's1'\nprivate_key = {{ file = '{}' }}\n",
        file.display()
    );
    let (daemon, port) = with_tables(receiver.port(), "off", &dkim);
    let api = daemon.api("admin");
    let id = submit(&daemon, "one@example.com", "kim@example.org");
    let ours = receiver.wait_for("kim@example.org");
    assert!(String::from_utf8(ours.data).unwrap().contains("d=example.com"));
    api.wait_for_status(&id, "sent");

    let forged = "From: ceo@example.com\r\nX-Waybill-Tag: x\r\nSubject: Pay this\r\n\r\nNow.\r\n";
    bring(port, "ceo@example.com", &ours.reverse_path, forged);
    receiver.wait_for("anna@example.com");
    let passed = api.all_messages("tag=passed-on")[0]["id"].as_str().unwrap().to_owned();
    api.wait_for_status(&passed, "sent");
    // Nor when a person of ours sends it again.
    let again = api.post(&format!("/api/v1/messages/{passed}/resend"), "{}").unwrap();
    assert_eq!(again.status / 100, 2);
    receiver.wait_for_count(3);
    api.wait_until_nothing_is_pending();
    for arrival in receiver.arrivals().iter().filter(|one| one.recipients == ["anna@example.com"]) {
        let text = String::from_utf8(arrival.data.clone()).unwrap();
        assert!(text.contains("ceo@example.com") && !text.contains("DKIM-Signature"), "{text}");
    }
    // Whoever sets the tag of a message of ours takes nothing away.
    let mut client = Submitter::connect(daemon.smtp()).unwrap();
    let text = "From: anna@example.com\r\nX-Waybill-Tag: passed-on\r\nSubject: x\r\n\r\nx\r\n";
    client.submit("anna@example.com", &["lee@example.org"], text.as_bytes()).unwrap();
    let tagged = String::from_utf8(receiver.wait_for("lee@example.org").data).unwrap();
    assert!(tagged.contains("DKIM-Signature"), "{tagged}");
}
