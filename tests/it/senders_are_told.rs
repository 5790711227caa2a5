//! A sender is told by mail what became of a message, as RFC 3461 says: once, whatever dies, and only of what
//! nobody else tells.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use waybill::archive::{Archive, ClaimRequest, Filter, Judgement, Message, Order};
use waybill::flow::{FailureReports, Notifier};
use waybill::intake::Intake;
use waybill::lifecycle::RetrySchedule;
use waybill::model::envelope::{Notify, OriginalRecipient};
use waybill::model::{
    Channel, EnhancedCode, Mailbox, Medium, MessageId, Outcome, RecipientState, Reply, ReversePath,
    Scope, Tag, Timestamp,
};
use waybill::policy::{Apps, Routes};
use waybill::report::{Action, Class, Finding, PerRecipient, Report, read};

use super::support::daemon::{Daemon, Setup};
use super::support::gateway::app;
use super::support::queue::{accept, get, message, name, now, open};
use super::support::sink::{Received, Script, Sink};
use super::support::submitter::Submitter;

const ANNA: &str = "anna@example.com";

/// An upstream that does what a script says, and the daemon before it.
struct House {
    runtime: Runtime,
    sink: Sink,
    daemon: Daemon,
}

impl House {
    fn start(script: Script, tables: &str) -> House {
        let runtime = Runtime::new().unwrap();
        let sink = runtime.block_on(Sink::start(script));
        let setup = Setup::relaying_to(sink.address.port());
        let queue = format!("{}\nfailure_reports = \"always\"", setup.queue);
        let daemon = Daemon::start(&Setup { tables: tables.to_owned(), queue, ..setup });
        House { runtime, sink, daemon }
    }

    /// Waits for so many messages to this address, and gives them.
    fn wait_for(&self, address: &str, count: usize) -> Vec<Received> {
        let to = format!("RCPT TO:<{address}>");
        let is_to = |message: &&Received| message.rcpts.iter().any(|rcpt| rcpt.starts_with(&to));
        let seen = self.sink.wait_for(|seen| seen.messages.iter().filter(is_to).count() >= count);
        let record = self.runtime.block_on(seen);
        record.messages.iter().filter(is_to).cloned().collect()
    }

    /// Submits a message; `mail` and each recipient may have parameters behind the address.
    fn submit(&self, mail: &str, recipients: &[&str]) -> String {
        let mut client = Submitter::connect(self.daemon.smtp()).unwrap();
        assert!(client.command(&format!("MAIL FROM:{mail}")).unwrap().is_ok());
        for recipient in recipients {
            let answer = client.command(&format!("RCPT TO:{recipient}")).unwrap();
            assert!(answer.is_ok(), "{answer:?}");
        }
        assert_eq!(client.command("DATA").unwrap().code, 354);
        let text = "From: anna@example.com\r\nSubject: Invoice INV-12345\r\nMessage-ID: <m1@example.com>\r\n\r\nthe body\r\n.";
        client.command(text).unwrap().id().unwrap().to_owned()
    }
}

fn recipients(report: &Report) -> &[PerRecipient] {
    let Finding::Delivery(recipients) = &report.finding else { panic!("{report:?}") };
    recipients
}

#[test]
fn a_failure_is_told_once_to_the_sender_although_the_daemon_is_killed() {
    let script = Script::new().without("DSN").say("RCPT TO:<bad", "550 5.1.1 no such user");
    let mut house = House::start(script, "");
    let api = house.daemon.api("admin");
    let parameters = "<anna@example.com> RET=HDRS ENVID=order+2B7";
    let named = "<bad1@example.org> ORCPT=rfc822;robert@example.org";
    let id = house.submit(parameters, &[named, "<bad2@example.org>", "<kim@example.org>"]);
    // Who does not want to know is not told, and neither is nobody.
    let quiet = house.submit("<anna@example.com>", &["<bad3@example.org> NOTIFY=NEVER"]);
    let wanted = house.submit("<anna@example.com>", &["<bad4@example.org> NOTIFY=SUCCESS,DELAY"]);
    let null = house.submit("<>", &["<bad5@example.org>"]);
    for id in [&id, &quiet, &wanted, &null] {
        api.wait_for_status(id, "failed");
    }
    let told = house.wait_for(ANNA, 1).remove(0);
    assert!(told.mail.starts_with("MAIL FROM:<>"), "{}", told.mail);
    let report = read(&told.bytes).unwrap();
    let [one, two] = recipients(&report) else { panic!("{report:?}") };
    assert_eq!(
        (one.action, one.class, one.status),
        (Action::Failed, Class::Hard, EnhancedCode::parse("5.1.1"))
    );
    assert_eq!(one.original.as_ref().unwrap().to_string(), "robert@example.org");
    assert!(one.diagnostic.contains("no such user"), "{one:?}");
    assert_eq!(two.address.as_ref().unwrap().to_string(), "bad2@example.org");
    assert_eq!(report.clues.envelope_id.as_deref(), Some("order+7"));
    assert_eq!(report.clues.message_ids, ["m1@example.com"]);
    let text = String::from_utf8(told.bytes).unwrap();
    assert!(!text.contains("the body") && !text.contains("kim@example.org"), "{text}");

    house.daemon.kill();
    house.daemon.start_again();
    let later = house.submit("<eve@example.com>", &["<bad6@example.org>"]);
    api.wait_for_status(&later, "failed");
    house.wait_for("eve@example.com", 1);
    assert_eq!(house.wait_for(ANNA, 1).len(), 1);
    let archived = api.all_messages("tag=delivery-report");
    assert_eq!(archived.len(), 2, "{archived:?}");
    assert_eq!(archived[0]["references"], serde_json::json!(["INV-12345"]));
    assert_eq!(archived[0]["direction"], "outbound");
}

#[test]
fn who_does_not_ask_is_told_nothing_by_mail_unless_the_administrator_wants_it() {
    let runtime = Runtime::new().unwrap();
    let script = Script::new().say("RCPT TO:<bad", "550 5.1.1 no such user");
    let sink = runtime.block_on(Sink::start(script));
    let daemon = Daemon::start(&Setup::relaying_to(sink.address.port()));
    let house = House { runtime, sink, daemon };
    let api = house.daemon.api("admin");
    let silent = house.submit("<eve@example.com>", &["<bad1@example.org>"]);
    api.wait_for_status(&silent, "failed");
    let asked = house.submit("<anna@example.com>", &["<bad2@example.org> NOTIFY=FAILURE"]);
    api.wait_for_status(&asked, "failed");
    house.wait_for(ANNA, 1);
    assert_eq!(api.all_messages("tag=delivery-report").len(), 1);
}

#[test]
fn every_failure_is_told_exactly_once_however_often_the_daemon_is_killed() {
    let script = Script::new().say("RCPT TO:<bad", "550 not for you");
    let mut house = House::start(script, "");
    let api = house.daemon.api("admin");
    let mut ids = Vec::new();
    for round in 0..4 {
        for _ in 0..6 {
            ids.push(house.submit("<anna@example.com>", &["<bad@example.org>"]));
        }
        // In the middle of it, each time somewhere else.
        std::thread::sleep(Duration::from_millis(15 * round));
        house.daemon.kill();
        house.daemon.start_again();
    }
    for id in &ids {
        api.wait_for_status(id, "failed");
    }
    house.wait_for(ANNA, ids.len());
    api.wait_until_nothing_is_pending();
    assert_eq!(api.all_messages("tag=delivery-report").len(), ids.len());
}

#[test]
fn success_is_told_by_waybill_where_the_upstream_can_not_be_asked_for_it() {
    let house = House::start(Script::new().without("DSN"), "");
    house.submit("<anna@example.com>", &["<kim@example.org> NOTIFY=SUCCESS", "<lee@example.org>"]);
    let told = house.wait_for(ANNA, 1).remove(0);
    assert!(!told.rcpts[0].contains("NOTIFY") && told.mail.starts_with("MAIL FROM:<>"));
    let report = read(&told.bytes).unwrap();
    let [one] = recipients(&report) else { panic!("{report:?}") };
    assert_eq!((one.action, one.class), (Action::Relayed, Class::Delivered));
    assert_eq!(one.address.as_ref().unwrap().to_string(), "kim@example.org");
}

#[test]
fn what_an_upstream_can_be_asked_for_it_is_asked_for_and_waybill_tells_nothing() {
    let port = super::support::daemon::free_port();
    let tables = format!(
        "\n[feedback]\nreturn_path = \"bounce@bounces.example.com\"\n[[feedback.listener]]\nlisten = \"127.0.0.1:{port}\"\n"
    );
    let script = Script::new().say("RCPT TO:<bad", "550 5.1.1 no such user");
    let house = House::start(script, &tables);
    let api = house.daemon.api("admin");
    let mail = "<anna@example.com> RET=FULL ENVID=7";
    let kim = "<kim@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;k@example.org";
    let id = house.submit(mail, &[kim]);
    api.wait_for_status(&id, "sent");
    let sent = house.wait_for("kim@example.org", 1).remove(0);
    assert!(sent.mail.starts_with("MAIL FROM:<bounce+"), "{}", sent.mail);
    assert!(sent.mail.contains(" RET=FULL") && sent.mail.contains(" ENVID=7"), "{}", sent.mail);
    assert!(sent.rcpts[0].ends_with(" NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;k@example.org"));
    // What Waybill tells goes to the sender's own return path, and asks for nothing back.
    let bad = house.submit(mail, &["<bad@example.org>"]);
    api.wait_for_status(&bad, "failed");
    let told = house.wait_for(ANNA, 1).remove(0);
    assert!(told.mail.starts_with("MAIL FROM:<>") && !told.mail.contains("RET="), "{}", told.mail);
    assert!(told.rcpts[0].ends_with("NOTIFY=NEVER"), "{:?}", told.rcpts);
    assert!(String::from_utf8_lossy(&told.bytes).contains("the body"));
    api.wait_until_nothing_is_pending();
    assert_eq!(api.all_messages("tag=delivery-report").len(), 1);
}

/// An archive with a notifier behind it, and nothing that sends.
struct Desk {
    archive: Archive,
    intake: Intake,
    stop: CancellationToken,
}

impl Desk {
    async fn open(dir: &tempfile::TempDir) -> Desk {
        let archive = open(dir);
        let apps = Apps(vec![Arc::new(app("erp", None))]);
        let upstreams = vec![(Channel::Email, name("smarthost"))];
        let routes = Arc::new(ArcSwap::from_pointee(Routes { routes: vec![], upstreams }));
        let intake = Intake::new(archive.clone(), routes, &apps);
        let desk = Desk { archive, intake, stop: CancellationToken::new() };
        desk.archive.notified_until().await.unwrap();
        tokio::spawn(desk.notifier().run(desk.stop.clone()));
        desk
    }

    fn notifier(&self) -> Notifier {
        Notifier {
            archive: self.archive.clone(),
            intake: self.intake.clone(),
            hostname: "gateway.test".into(),
            author: Mailbox::parse("postmaster@gateway.test").unwrap(),
            expire: Duration::from_secs(5 * 86_400),
            failure_reports: FailureReports::Always,
            clock: Arc::new(now),
        }
    }

    async fn accept(&self, notify: Option<Notify>) -> MessageId {
        let mut one = message("one", &["kim@example.org"]);
        let Medium::Mail(envelope) = &mut one.medium else { panic!() };
        envelope.reverse_path = ReversePath::parse(ANNA).unwrap();
        envelope.recipients[0].notify = notify;
        envelope.recipients[0].original =
            Some(OriginalRecipient { address_type: "rfc822".into(), address: "k@x.test".into() });
        accept(&self.archive, one).await
    }

    /// An attempt of which nothing came, so long after the acceptance.
    async fn defer(&self, id: MessageId, after: Duration) {
        let at = get(&self.archive, id).late_by(after);
        let upstream = name("smarthost");
        let claim = ClaimRequest { message: id, recipients: vec![0], upstream, rank: 0, now: at };
        assert_eq!(self.archive.claim(claim).await.unwrap(), [0]);
        let outcome = Outcome::Temporary {
            scope: Scope::Recipient,
            reply: Some(Reply::new(450, EnhancedCode::parse("4.2.2"), "mailbox full")),
            detail: String::new(),
        };
        let judgement = Judgement {
            message: id,
            outcomes: vec![(0, outcome)],
            touch: None,
            is_last_upstream: true,
            hold_unknown: false,
            now: at,
        };
        let waits = vec![Duration::from_secs(60)];
        let schedule = RetrySchedule { waits, expire: Duration::from_secs(4 * 3600) };
        self.archive.judge(judgement, Arc::new(schedule)).await.unwrap();
    }

    /// Waits until so many reports were written; gives them, the oldest first.
    async fn reports(&self, count: usize) -> Vec<(Message, Report)> {
        let filter = Filter { tag: Tag::parse("delivery-report"), ..Filter::default() };
        let mut journal = self.archive.journal();
        loop {
            journal.borrow_and_update();
            let found = self.archive.list(&filter, Order::Oldest, None, 100).unwrap().items;
            if found.len() >= count {
                let read = |message: Message| {
                    let raw = self.archive.raw(message.id).unwrap().unwrap();
                    (message, read(&raw).unwrap())
                };
                return found.into_iter().map(read).collect();
            }
            let changed = tokio::time::timeout(Duration::from_secs(60), journal.changed()).await;
            changed.expect("nothing is told").unwrap();
        }
    }
}

trait Since {
    fn late_by(&self, after: Duration) -> Timestamp;
}

impl Since for Message {
    fn late_by(&self, after: Duration) -> Timestamp {
        self.accepted_at.plus(after)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_is_told_once_after_an_hour_to_who_asked_and_the_end_to_who_did_not_say() {
    let dir = tempfile::tempdir().unwrap();
    let desk = Desk::open(&dir).await;
    let on = Notify::On { success: false, failure: true, delay: true };
    let (patient, curious) = (desk.accept(None).await, desk.accept(Some(on)).await);
    for minutes in [0, 59, 61, 70, 3 * 60] {
        desk.defer(patient, Duration::from_secs(minutes * 60)).await;
        desk.defer(curious, Duration::from_secs(minutes * 60)).await;
    }
    let (message, report) = desk.reports(1).await.remove(0);
    let [one] = recipients(&report) else { panic!("{report:?}") };
    assert_eq!((one.action, one.status), (Action::Delayed, EnhancedCode::parse("4.2.2")));
    let Medium::Mail(envelope) = &message.medium else { panic!() };
    assert_eq!(envelope.reverse_path, ReversePath::Null);
    assert_eq!(message.app.as_str(), "erp");
    assert!(matches!(message.recipients[0].state, RecipientState::Due { .. }));
    desk.defer(patient, Duration::from_secs(5 * 3600)).await;
    desk.defer(curious, Duration::from_secs(5 * 3600)).await;
    let all = desk.reports(3).await;
    assert_eq!(all.len(), 3);
    for (_, report) in &all[1..] {
        let [one] = recipients(report) else { panic!("{report:?}") };
        assert_eq!((one.action, one.status), (Action::Failed, EnhancedCode::parse("4.4.7")));
        assert_eq!(one.original.as_ref().unwrap().to_string(), "k@x.test");
    }
    // A report that can not be delivered is not reported, to nobody.
    for (report, _) in all {
        let claim = ClaimRequest {
            message: report.id,
            recipients: vec![0],
            upstream: name("smarthost"),
            rank: 0,
            now: now(),
        };
        assert_eq!(desk.archive.claim(claim).await.unwrap(), [0]);
        let reply = Some(Reply::new(550, None, "no"));
        let outcome = Outcome::Permanent { scope: Scope::Message, reply, detail: String::new() };
        let judgement = Judgement {
            message: report.id,
            outcomes: vec![(0, outcome)],
            touch: None,
            is_last_upstream: true,
            hold_unknown: false,
            now: now(),
        };
        let schedule = Arc::new(RetrySchedule::default());
        desk.archive.judge(judgement, schedule).await.unwrap();
    }
    let last = desk.accept(Some(on)).await;
    desk.defer(last, Duration::from_secs(2 * 3600)).await;
    assert_eq!(desk.reports(4).await.len(), 4);
    desk.stop.cancel();
}
