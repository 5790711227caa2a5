//! Who read a mail, who only had it scanned, and what bounced: found by search from every source, in the real daemon,
//! also after a restart and after the index was built anew; and the hidden link that gives machines away.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::daemon::{Daemon, Setup, free_port};
use crate::support::receiver::{Arrival, Receiver};
use crate::support::submitter::Submitter;

const PUBLIC: &str = "https://t.example.com";
const BASE: &str = "bounce@bounces.example.com";
const PERSON: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36";
const SCANNER: &str = "curl/8.5.0";
/// How long something may take to become true before a test fails.
const AWAIT_LIMIT: Duration = Duration::from_secs(60);

struct House {
    receiver: Receiver,
    daemon: Daemon,
    feedback: u16,
}

impl House {
    fn start(honeypot: bool) -> House {
        let receiver = Receiver::start();
        let feedback = free_port();
        let tables = format!(
            "[[app]]\nname = \"erp\"\nnetworks = [\"127.0.0.0/8\"]\ntrack = {{ opens = true, clicks = true }}\n\
             [[upstream]]\nname = \"provider\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"off\"\n\
             events = {{ kind = \"brevo\", token = \"brevo-calls\" }}\n\
             [tracking]\npublic_url = \"{PUBLIC}\"\nhoneypot = {honeypot}\n\
             [feedback]\nreturn_path = \"{BASE}\"\n\
             [[feedback.listener]]\nlisten = \"127.0.0.1:{feedback}\"\ntls = \"off\"\n",
            receiver.port()
        );
        let setup = Setup { upstream: None, tables, ..Setup::relaying_to(0) };
        House { daemon: Daemon::start(&setup), receiver, feedback }
    }

    /// Sends a mail with one link, and gives its id and what arrived.
    fn send(&self, to: &str) -> (String, Arrival) {
        let mail = format!(
            "From: Anna <anna@example.com>\r\nTo: {to}\r\nSubject: Offer\r\nMessage-ID: <{to}>\r\n\
             X-Waybill-Reference: ORD-777\r\nX-Waybill-Tag: offer\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/html; charset=utf-8\r\n\r\n\
             <html><body><p>See <a href=\"https://shop.example.com/offer\">our offer</a>.</p>\r\n\
             </body></html>\r\n"
        );
        let mut submitter = Submitter::connect(self.daemon.smtp()).unwrap();
        let answer = submitter.submit("anna@example.com", &[to], mail.as_bytes()).unwrap();
        let id = answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        let arrival = self.receiver.wait_for(to);
        self.daemon.api("viewer").wait_for_status(&id, "sent");
        (id, arrival)
    }

    /// What a provider tells.
    fn tell(&self, event: &str, to: &str) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let body = json!({
            "event": event, "email": to, "message-id": format!("<{to}>"), "ts_event": now,
            "link": "https://shop.example.com/offer", "user_agent": PERSON,
            "reason": "550 5.1.1 no such user",
        });
        let public = Api::new(self.daemon.public(), None);
        let answer = public.post("/hooks/provider/events?token=brevo-calls", &body.to_string());
        assert_eq!(answer.unwrap().status, 200);
    }

    /// Brings a report by mail to the return path.
    fn report(&self, kind: &str, part: &str, fields: &str, to: &str) {
        let mail = format!(
            "From: <postmaster@example.org>\r\nTo: {BASE}\r\nSubject: Report\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type={kind}; boundary=b\r\n\r\n\
             --b\r\n\r\nA report.\r\n\r\n--b\r\nContent-Type: message/{part}\r\n\r\n{fields}\r\n\
             --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{to}>\r\n\r\n--b--\r\n"
        );
        let mut submitter = Submitter::connect(self.feedback).unwrap();
        let answer = submitter.submit("", &[BASE], mail.as_bytes()).unwrap();
        assert!(answer.is_ok(), "{answer:?}");
    }

    /// Fetches a place of a mail as a program that names itself so.
    fn fetch(&self, place: &str, agent: &str) {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.daemon.public())).unwrap();
        let request = format!(
            "GET {place} HTTP/1.1\r\nHost: t.example.com\r\nUser-Agent: {agent}\r\nConnection: close\r\n\r\n"
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        socket.read_to_end(&mut bytes).unwrap();
        let answer = String::from_utf8_lossy(&bytes);
        let is_taken = answer.starts_with("HTTP/1.1 200 ") || answer.starts_with("HTTP/1.1 302 ");
        assert!(is_taken, "{answer}");
    }
}

/// The paths of the links or pixels in a mail.
fn places(arrival: &Arrival, kind: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&arrival.data);
    let is_token = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    let before = format!("{PUBLIC}/{kind}/");
    let after = text.split(&before).skip(1);
    after
        .map(|rest| format!("/{kind}/{}", rest.chars().take_while(is_token).collect::<String>()))
        .collect()
}

/// Does `act` again and again until the first recipient of a message is as wanted.
fn until(api: &Api, id: &str, act: impl Fn(), is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        act();
        let recipient = api.message(id)["recipients"][0].clone();
        if is_so(&recipient) {
            return recipient;
        }
        assert!(started.elapsed() < AWAIT_LIMIT, "it does not come to that: {recipient}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Who the mails that fit are to; what senders are told by mail is not among them.
fn found(api: &Api, filters: &str) -> Vec<String> {
    let messages = api.all_messages(&format!("tag=offer&{filters}"));
    let to = |message: &Value| message["recipients"][0]["address"].as_str().unwrap().to_owned();
    let mut all: Vec<String> = messages.iter().map(to).collect();
    all.sort();
    all
}

#[test]
fn what_persons_did_is_found_from_every_source_also_after_a_restart_and_a_reindex() {
    let mut house = House::start(false);
    let api = house.daemon.api("admin");
    for (event, to) in [
        ("opened", "opened.provider@example.org"),
        ("click", "clicked.provider@example.org"),
        ("proxy_open", "proxy.provider@example.org"),
        ("hard_bounce", "bounced.provider@example.org"),
    ] {
        house.send(to);
        house.tell(event, to);
    }
    let to = "bounced.mail@example.org";
    house.send(to);
    let fields = format!(
        "Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; {to}\r\nAction: failed\r\n\
         Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
    );
    house.report("delivery-status", "delivery-status", &fields, to);
    let to = "confirmed@example.org";
    let (confirmed, _) = house.send(to);
    let fields = format!(
        "Final-Recipient: rfc822; {to}\r\nOriginal-Message-ID: <{to}>\r\n\
         Disposition: manual-action/MDN-sent-manually; displayed\r\n"
    );
    house.report("disposition-notification", "disposition-notification", &fields, to);
    assert!(api.message(&confirmed)["recipients"][0]["read_at"].is_string());
    let (scanned, arrival) = house.send("scanned@example.org");
    house.fetch(&places(&arrival, "o")[0], SCANNER);
    house.fetch(&places(&arrival, "c")[0], SCANNER);
    until(&api, &scanned, || (), |r| r["automated_opens"] == 1 && r["automated_clicks"] == 1);
    // Who comes within two seconds is taken for a machine; then the same is a person.
    let (opened, arrival) = house.send("opened@example.org");
    let open = || house.fetch(&places(&arrival, "o")[0], PERSON);
    until(&api, &opened, open, |r| r["opens"].as_u64() > Some(0));
    let (clicked, arrival) = house.send("clicked@example.org");
    let click = || house.fetch(&places(&arrival, "c")[0], PERSON);
    until(&api, &clicked, click, |r| r["clicks"].as_u64() > Some(0));

    persons_are_found(&api);
    house.daemon.kill();
    house.daemon.start_again();
    persons_are_found(&api);
    let reindex = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["reindex", "--config"])
        .arg(house.daemon.config())
        .output()
        .unwrap();
    assert!(reindex.status.success(), "{}", String::from_utf8_lossy(&reindex.stderr));
    persons_are_found(&api);
}

/// What persons did at the nine mails above.
fn persons_are_found(api: &Api) {
    let opened = ["confirmed@example.org", "opened.provider@example.org", "opened@example.org"];
    let clicked = ["clicked.provider@example.org", "clicked@example.org"];
    let bounced = ["bounced.mail@example.org", "bounced.provider@example.org"];
    let machines = ["proxy.provider@example.org", "scanned@example.org"];
    for words in ["q=is:", "read="] {
        assert_eq!(found(api, &format!("{words}opened")), opened, "{words}");
        assert_eq!(found(api, &format!("{words}clicked")), clicked, "{words}");
        let unread = found(api, &format!("{words}unread"));
        assert_eq!(unread, [&bounced[..], &machines].concat(), "{words}");
    }
    assert_eq!(found(api, "q=is:bounced"), bounced);
    assert_eq!(found(api, "q=is:clicked+OR+is:bounced"), [&bounced[..], &clicked].concat());
    assert_eq!(found(api, "q=offer+-is:unread"), {
        let mut all = [&opened[..], &clicked].concat();
        all.sort_unstable();
        all
    });
    let numbers = api.read("/api/v1/statistics?by=app&tag=offer")["total"].clone();
    let of = |name: &str| numbers[name].as_u64().unwrap();
    assert_eq!((of("recipients"), of("opened"), of("clicked")), (9, 3, 2), "{numbers}");
    assert!(of("opened_by_machines") >= 2 && of("clicked_by_machines") >= 1, "{numbers}");
}

#[test]
fn thread_and_export_tell_persons_from_machines() {
    let house = House::start(false);
    let api = house.daemon.api("admin");
    let (id, arrival) = house.send("kim@example.org");
    house.fetch(&places(&arrival, "o")[0], SCANNER);
    until(&api, &id, || (), |recipient| recipient["automated_opens"] == 1);
    house.tell("opened", "kim@example.org");
    house.tell("click", "kim@example.org");
    let metrics = String::from_utf8(house.daemon.metrics().get("/metrics").unwrap().body).unwrap();
    for line in [
        "waybill_opens_total{automated=\"false\"} 1",
        "waybill_opens_total{automated=\"true\"} 1",
        "waybill_clicks_total{automated=\"false\"} 1",
        "waybill_clicks_total{automated=\"true\"} 0",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
    let automated: Vec<Value> =
        api.events(&id).iter().map(|event| event["automated"].clone()).collect();
    assert_eq!(automated[automated.len() - 3..], [json!(true), json!(false), json!(false)]);
    assert_eq!(automated[0], Value::Null);
    let thread = api.read("/api/v1/threads/ORD-777");
    let recipient = &thread["items"][0]["recipients"][0];
    for (name, count) in
        [("opens", 1), ("automated_opens", 1), ("clicks", 1), ("automated_clicks", 0)]
    {
        assert_eq!(recipient[name], count, "{name}: {recipient}");
    }
    let of_thread = api.read("/api/v1/statistics?by=sender&reference=ORD-777")["total"].clone();
    assert_eq!((&of_thread["opened"], &of_thread["opened_by_machines"]), (&1.into(), &1.into()));
    let print = api.get("/api/v1/threads/ORD-777/print").unwrap();
    let print = String::from_utf8(print.body).unwrap();
    let words =
        "Opened by 1 and clicked by 1 of 1 recipients; by machines: opened for 1, clicked for 0";
    assert!(print.contains(words), "{print}");
    let csv = String::from_utf8(api.get("/api/v1/messages.csv").unwrap().body).unwrap();
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split("\",\"").collect()).collect();
    let cell = |name: &str| {
        let column = rows[0].iter().position(|cell| cell.trim_matches('"') == name).unwrap();
        rows[1][column].trim_matches('"')
    };
    let counts = ["opened_count", "opens", "automated_opens", "clicked_count", "clicks"];
    assert_eq!(counts.map(cell), ["1"; 5]);
    let none = ["bounced_count", "read_count", "automated_clicks", "delivered_count"];
    assert_eq!(none.map(cell), ["0"; 4]);
    let recipient = &api.message(&id)["recipients"][0];
    assert_eq!(recipient["opened_at"], cell("opened_at"));
    assert_eq!(recipient["clicked_at"], cell("clicked_at"));
}

#[test]
fn who_follows_the_hidden_link_was_a_machine_all_along() {
    let house = House::start(true);
    let api = house.daemon.api("viewer");
    let (id, arrival) = house.send("kim@example.org");
    let links = places(&arrival, "c");
    let [link, hidden] = &links[..] else { panic!("{links:?}") };
    let text = String::from_utf8_lossy(&arrival.data);
    assert_eq!(text.matches("display:none").count(), 1, "{text}");
    // Slow and with the name of a browser, it passes for a person…
    let open = || house.fetch(&places(&arrival, "o")[0], PERSON);
    until(&api, &id, open, |recipient| recipient["opens"].as_u64() > Some(0));
    house.fetch(link, PERSON);
    until(&api, &id, || (), |recipient| recipient["clicks"] == 1);
    // …until it follows what no person sees.
    house.fetch(hidden, PERSON);
    let recipient = until(&api, &id, || (), |r| r["clicks"] == 0 && r["opens"] == 0);
    assert!(recipient["automated_clicks"].as_u64() > Some(1), "{recipient}");
    assert_eq!((&recipient["opened_at"], &recipient["clicked_at"]), (&Value::Null, &Value::Null));
    let events = api.events(&id);
    let detail = |event: &Value| event["detail"].as_str().unwrap_or_default().to_owned();
    assert!(events.iter().any(|e| detail(e).contains("followed a hidden link")), "{events:?}");
    assert_eq!(found(&api, "q=is:clicked"), Vec::<String>::new());
    assert_eq!(found(&api, "q=is:opened"), Vec::<String>::new());
    // Somebody else with another program is still a person.
    let person = PERSON.replace("Windows NT 10.0; Win64; x64", "X11; Linux x86_64");
    // Two links at once are a machine's, whoever follows them.
    std::thread::sleep(Duration::from_secs(1));
    house.fetch(link, &person);
    until(&api, &id, || (), |recipient| recipient["clicks"] == 1);
    assert_eq!(found(&api, "q=is:clicked"), ["kim@example.org"]);
}

#[test]
fn without_being_asked_for_there_is_no_hidden_link() {
    let house = House::start(false);
    let (_, arrival) = house.send("kim@example.org");
    assert_eq!(places(&arrival, "c").len(), 1);
    assert!(!String::from_utf8_lossy(&arrival.data).contains("display:none"));
}
