//! A random life: a provider and an application that lie, callbacks in any order, people who write and say
//! STOP, and `kill -9` in between. At the end everything that was acknowledged is accounted for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use waybill::archive::{Delivery, Message};
use waybill::flow::{Flow, FlowAction, FlowMatcher};
use waybill::model::{Channel, EventKind, RecipientState, Status};

use super::support::daemon::{Daemon, Setup};
use super::support::gateway::{Gateway, app, calling_home};
use super::support::queue::kinds;
use super::support::sms_app::{TOKEN, called, signed, tables};
use super::support::sms_provider::{AUTH_TOKEN, Answer, Record, SmsProvider};

const CLIENTS: u32 = 3;
const KILLS: u32 = 3;
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// xorshift64; one for each thread, so that a seed says what each of them does.
struct Random(u64);

impl Random {
    fn new(seed: u64, place: u64) -> Random {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (place + 1));
        random.below(2);
        random
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }
}

/// What the provider does with one request; more often good than bad, or nothing would be sent.
fn provider_answer(random: &mut Random) -> Answer {
    let slow = |answer| Answer::After(Duration::from_millis(20), Box::new(answer));
    match random.below(40) {
        0 => Answer::Refuse(21211, "Invalid 'To' Phone Number"),
        1 => Answer::Say(503, "busy"),
        2 => Answer::Say(201, "no JSON at all"),
        3 => Answer::CloseBeforeReading,
        4 => Answer::CloseAfterReading,
        5 => Answer::Raw(b"HTTP/1.1 2"),
        6 => Answer::TooFast(Some(0)),
        7..10 => Answer::AcceptAndClose,
        10..20 => slow(Answer::Accept),
        _ => Answer::Accept,
    }
}

/// Whether somebody who gave this answer may have taken the message.
fn may_be_taken(answer: &Answer) -> bool {
    match answer {
        Answer::Accept | Answer::AcceptAndClose => true,
        Answer::CloseAfterReading | Answer::Raw(_) | Answer::Hang => true,
        Answer::Say(status, _) => *status < 300,
        Answer::After(_, then) | Answer::When(_, then) => may_be_taken(then),
        Answer::Refuse(..)
        | Answer::Unauthorised
        | Answer::TooFast(_)
        | Answer::CloseBeforeReading => false,
    }
}

/// What was acknowledged, as it is found again.
#[derive(Default)]
struct Acknowledged {
    /// Id of each message, by its number.
    messages: BTreeMap<String, String>,
    /// Final receipts that got their 200: message, and the word of its event.
    receipts: BTreeMap<String, &'static str>,
    /// Provider ids of inbound messages that got their 200.
    inbound: BTreeSet<String>,
}

/// The world around one daemon.
struct World<'a> {
    daemon_sms: u16,
    public: String,
    provider: &'a SmsProvider,
    application: String,
    stop: AtomicBool,
    serial: AtomicU32,
    acknowledged: Mutex<Acknowledged>,
}

impl World<'_> {
    fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// An application that repeats a call with its key until it has an answer.
    fn send(&self, mut random: Random) {
        while !self.is_over() {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed);
            let number = format!("+45{:08}", 10_000_000 + serial);
            let hold = if random.below(10) == 0 { r#", "hold": "manual""# } else { "" };
            let body = format!(
                r#"{{"to": "{number}", "from": "+4521000000", "text": "Hello", "callback": "{}status"{hold}}}"#,
                self.application
            );
            let id = loop {
                match self.call(&number, &body) {
                    Some((201, answer)) => break answer["id"].as_str().unwrap().to_owned(),
                    Some((503, _)) | None => std::thread::sleep(Duration::from_millis(5)),
                    Some((status, answer)) => panic!("{status} {answer}"),
                }
            };
            self.acknowledged.lock().unwrap().messages.insert(number.clone(), id);
            // All of them are to fit into one page of the archive.
            std::thread::sleep(Duration::from_millis(20));
            if !hold.is_empty() && random.below(2) == 0 {
                self.comes_in(&number, serial, "STOP");
            } else if random.below(5) == 0 {
                self.comes_in(&number, serial, "Thank you");
            }
        }
    }

    fn call(&self, key: &str, body: &str) -> Option<(u16, Value)> {
        use std::io::{Read, Write};
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", self.daemon_sms)).ok()?;
        socket.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        let length = body.len();
        let request = format!(
            "POST /v1/sms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
             Idempotency-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// The provider calls until it is heard, and sometimes once more.
    fn calls_back(&self, path: &str, fields: &[(&str, &str)]) -> Option<u16> {
        let port = self.public.rsplit(':').next().unwrap().parse().unwrap();
        let request = signed(&self.public, path, fields, AUTH_TOKEN);
        called(port, &request)
    }

    fn comes_in(&self, from: &str, serial: u32, text: &str) {
        let sid = format!("SM{serial:031x}f");
        let fields = [("MessageSid", &*sid), ("From", from), ("To", "+4521000000"), ("Body", text)];
        for attempt in 0.. {
            match self.calls_back("/hooks/provider/inbound", &fields) {
                Some(200) => break,
                Some(503) | None => std::thread::sleep(Duration::from_millis(10)),
                Some(other) => panic!("{other}"),
            }
            assert!(attempt < 2_000, "nobody hears {sid}");
        }
        self.acknowledged.lock().unwrap().inbound.insert(sid.clone());
        if serial.is_multiple_of(3) {
            let again = self.calls_back("/hooks/provider/inbound", &fields);
            assert!(matches!(again, Some(200 | 503) | None), "{again:?}");
        }
    }

    /// Receipts for what the provider took, or may have taken: in any order, some of them twice.
    fn report(&self, mut random: Random) {
        let mut seen = 0;
        loop {
            let was_over = self.is_over();
            let Record { requests, answers, .. } = self.provider.record();
            for (asked, answer) in requests.iter().zip(&answers).skip(seen) {
                if may_be_taken(answer) && random.below(3) > 0 {
                    let url = asked.field("StatusCallback").unwrap();
                    let path = url.strip_prefix(&self.public).unwrap();
                    self.tells(path, &mut random);
                }
            }
            seen = requests.len();
            if was_over {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn tells(&self, path: &str, random: &mut Random) {
        let id = path.split_once("message=").unwrap().1.split('&').next().unwrap();
        let is_delivered = id.as_bytes().last().is_some_and(|byte| byte % 2 == 0);
        let (end, event) =
            if is_delivered { ("delivered", "delivered") } else { ("undelivered", "failed") };
        let steps: &[&str] = match random.below(4) {
            0 => &[end],
            1 => &["sent", end],
            2 => &[end, "sent", end],
            _ => &["queued", "sent", end, end],
        };
        for step in steps {
            let fields = [("MessageSid", "SMdeadbeef"), ("MessageStatus", step), ("ErrorCode", "")];
            let told = self.calls_back(path, &fields);
            assert!(matches!(told, Some(200 | 503) | None), "{told:?}");
            if told == Some(200) && *step == end {
                self.acknowledged.lock().unwrap().receipts.insert(id.to_owned(), event);
            }
        }
    }
}

/// Nothing is about to happen to it any more.
fn is_settled(message: &Value) -> bool {
    message["status"] != "pending" || message["held"] == true
}

fn live(
    seed: u64,
    provider: &SmsProvider,
    application: &SmsProvider,
    daemon: &mut Daemon,
) -> Acknowledged {
    let mut random = Random::new(seed, 0);
    let world = World {
        daemon_sms: daemon.sms(),
        public: format!("http://127.0.0.1:{}", daemon.public()),
        provider,
        application: application.url().to_string(),
        stop: AtomicBool::new(false),
        serial: AtomicU32::new(0),
        acknowledged: Mutex::default(),
    };
    std::thread::scope(|scope| {
        for place in 0..CLIENTS {
            let world = &world;
            scope.spawn(move || world.send(Random::new(seed, u64::from(place) + 10)));
        }
        scope.spawn(|| world.report(Random::new(seed, 1)));
        for _ in 0..KILLS {
            std::thread::sleep(Duration::from_millis(300 + random.below(900)));
            daemon.kill();
            daemon.start_again();
        }
        std::thread::sleep(Duration::from_millis(500));
        world.stop.store(true, Ordering::Relaxed);
    });
    world.acknowledged.into_inner().unwrap()
}

/// Every message that was acknowledged is sent, failed, stopped, or waits for a person.
fn all_settle(daemon: &Daemon, acknowledged: &Acknowledged) {
    let api = daemon.api("operator");
    let began = Instant::now();
    loop {
        let open: Vec<Value> = api
            .all_messages("direction=outbound&status=pending")
            .into_iter()
            .filter(|message| !is_settled(message))
            .collect();
        if open.is_empty() {
            break;
        }
        assert!(began.elapsed() < SETTLED_WITHIN, "still open: {open:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
    let all = api.all_messages("direction=outbound");
    let ids: BTreeSet<&str> = all.iter().map(|message| message["id"].as_str().unwrap()).collect();
    for (number, id) in &acknowledged.messages {
        assert!(ids.contains(id.as_str()), "{number} was lost");
    }
    let numbers: Vec<&str> =
        all.iter().map(|message| message["recipients"][0]["address"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&&str> = numbers.iter().collect();
    assert_eq!(distinct.len(), numbers.len(), "a call that was repeated became two messages");
}

/// Nothing is asked twice of a provider that may have taken it, but with the mark.
fn nothing_twice(gateway: &Gateway, record: &Record) {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for (request, answer) in record.requests.iter().zip(&record.answers) {
        let number = request.field("To").unwrap();
        *taken.entry(number.clone()).or_default() += usize::from(may_be_taken(answer));
        *asked.entry(number).or_default() += 1;
    }
    for message in gateway.outbound() {
        let [number] = &message.medium.recipients()[..] else { panic!("{message:?}") };
        let taken = taken.get(number).copied().unwrap_or(0);
        let is_marked = message.recipients[0].possible_duplicate;
        assert!(taken <= 1 || is_marked, "{number} was taken {taken} times: {message:?}");
        match message.status() {
            Status::Sent => assert!(taken >= 1, "{number} was never taken: {message:?}"),
            Status::Stopped => assert_eq!(asked.get(number), None, "{number} was stopped"),
            Status::Failed => assert!(asked.contains_key(number), "{message:?}"),
            Status::Pending => {
                let is_held = matches!(message.recipients[0].state, RecipientState::Held { .. });
                assert!(is_held, "{message:?}");
                assert!(is_marked || !asked.contains_key(number), "{message:?}");
            }
            status => panic!("{number} is {status:?}"),
        }
    }
}

/// Every receipt and every inbound message that got its 200 is in the archive.
fn nothing_forgotten(gateway: &Gateway, acknowledged: &Acknowledged) {
    for message in gateway.outbound() {
        let Some(event) = acknowledged.receipts.get(&message.id.to_string()) else { continue };
        let kinds = kinds(&gateway.archive, message.id);
        assert!(kinds.contains(event), "the receipt {event} is lost: {kinds:?} {message:?}");
    }
    let inbound = gateway.inbound();
    let ids: Vec<String> = inbound
        .iter()
        .map(|message| message.medium.sms().unwrap().provider_id.clone().unwrap())
        .collect();
    for sid in &acknowledged.inbound {
        let times = ids.iter().filter(|id| *id == sid).count();
        assert_eq!(times, 1, "{sid}");
    }
}

/// Goes down the ladder of every delivery to its end; gives what was given up.
async fn all_told(gateway: &Gateway, application: &SmsProvider) -> Vec<Delivery> {
    let hook = Flow {
        channel: Some(Channel::Sms),
        event: EventKind::Received,
        matcher: FlowMatcher::default(),
        action: FlowAction::Webhook { url: application.url().join("flow").unwrap(), secret: None },
    };
    let news = gateway.flows(vec![hook]);
    let began = Instant::now();
    while !gateway.archive.deliveries(Some(false), None, 1).unwrap().items.is_empty() {
        assert!(began.elapsed() < SETTLED_WITHIN, "it is never told");
        gateway.clock.by(60);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    news.stop().await;
    gateway.archive.deliveries(Some(true), None, 10_000).unwrap().items
}

/// What the application took: the path, the kind, and the id of the message that it speaks of.
fn told(record: &Record) -> BTreeSet<(String, String, String)> {
    let taken = record.requests.iter().zip(&record.answers);
    let taken = taken.filter(|(_, answer)| matches!(answer, Answer::Say(200, _)));
    taken
        .map(|(asked, _)| {
            let body: Value = serde_json::from_slice(&asked.body).unwrap();
            let said = &body["data"];
            let id = said["message"]["id"].as_str().or(said["id"].as_str()).unwrap();
            (asked.line().to_owned(), body["type"].as_str().unwrap().to_owned(), id.to_owned())
        })
        .collect()
}

#[test]
fn whatever_happens_nothing_is_lost_doubled_or_kept_quiet() {
    let seed = std::env::var("WAYBILL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("WAYBILL_SEED={seed}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = || runtime.block_on(SmsProvider::start());
    let (provider, application) = (start(), start());
    let mut random = Random::new(seed, 2);
    provider.answers((0..100_000).map(|_| provider_answer(&mut random)));
    application.answers((0..200).map(|_| match random.below(3) {
        0 => Answer::Say(500, ""),
        1 => Answer::CloseAfterReading,
        _ => Answer::Say(200, ""),
    }));
    application.always(Answer::Say(200, ""));
    let url = application.url();
    let tables = tables(&provider)
        .replace("name = \"erp\"\n", &format!("name = \"erp\"\ncallbacks = [\"{url}*\"]\n"))
        + &format!("[[flow]]\non = \"sms.received\"\nwebhook = {{ url = \"{url}flow\" }}\n");
    let dir = tempfile::tempdir().unwrap();
    let data = Some(dir.path().to_owned());
    let mut daemon = Daemon::start(&Setup { data, ..Setup::for_sms(tables) });
    let acknowledged = live(seed, &provider, &application, &mut daemon);
    all_settle(&daemon, &acknowledged);
    assert!(daemon.stop().success());

    runtime.block_on(async {
        let gateway = Gateway::start(&dir, vec![calling_home(app("erp", None))]).await;
        nothing_twice(&gateway, &provider.record());
        nothing_forgotten(&gateway, &acknowledged);
        let given_up = all_told(&gateway, &application).await;
        let record = application.record();
        let told = told(&record);
        let was_told = |path: &str, message: &Message, kind: &str| {
            let is_given_up = given_up.iter().any(|one| one.what.message == message.id);
            let what = (path.to_owned(), kind.to_owned(), message.id.to_string());
            told.contains(&what) || is_given_up
        };
        for message in gateway.outbound() {
            for kind in ["sent", "delivered"] {
                let happened = kinds(&gateway.archive, message.id).contains(&kind);
                let told = was_told("POST /status", &message, &format!("sms.{kind}"));
                assert!(!happened || told, "{kind}: {message:?}");
            }
        }
        for message in gateway.inbound() {
            assert!(was_told("POST /flow", &message, "sms.received"), "{message:?}");
        }
        println!(
            "{} messages, {} receipts, {} inbound, {} requests, {} news, {} given up",
            acknowledged.messages.len(),
            acknowledged.receipts.len(),
            acknowledged.inbound.len(),
            provider.requests().len(),
            record.requests.len(),
            given_up.len()
        );
        assert!(acknowledged.messages.len() > 20, "too little load to mean anything");
        assert!(gateway.outbound().len() < 1_000, "not all of them were looked at");
        gateway.stop().await;
    });
}
