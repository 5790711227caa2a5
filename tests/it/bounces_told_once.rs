//! A bounce that a provider tells over HTTP is told to the sender by mail as any other failure is; and once, also
//! where a bounce mail comes by the return path as well, in whatever order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use waybill::archive::{ActionKind, Filter, Message, Order};
use waybill::feedback::settings::{ReturnPathListener, ReturnPathSettings, ReturnPathTls};
use waybill::feedback::{MailDesk, MailPort};
use waybill::flow::{FailureReports, Notifier};
use waybill::intake::Intake;
use waybill::model::envelope::Notify;
use waybill::model::{Channel, EnhancedCode, Mailbox, Medium, MessageId, ReversePath, Status, Tag};
use waybill::net::Stop;
use waybill::policy::{Apps, Routes};
use waybill::report::{Action, Finding, read};

use super::support::gateway::{CALLBACK_TOKEN, Gateway, app};
use super::support::mail_providers::{claimed_as, judged_with, return_paths};
use super::support::queue::{accept, act, get, message, name, now};
use super::support::submitter::Submitter;

const KIM: &str = "kim@example.org";
const FAILURE: Option<Notify> = Some(Notify::On { success: false, failure: true, delay: false });

/// The public port, the return path, and what tells senders, on one archive.
struct House {
    gateway: Gateway,
    return_path: SocketAddr,
    stop: CancellationToken,
    ports: Stop,
}

impl House {
    async fn open(dir: &tempfile::TempDir) -> House {
        let gateway = Gateway::start(dir, vec![app("erp", None)]).await;
        let archive = gateway.archive.clone();
        let apps = Apps(vec![Arc::new(app("erp", None))]);
        let upstreams = vec![(Channel::Email, name("mail"))];
        let routes = Arc::new(ArcSwap::from_pointee(Routes { routes: vec![], upstreams }));
        let intake = Intake::new(archive.clone(), routes, &apps);
        let (keys, base) = return_paths();
        let (stop, ports) = (CancellationToken::new(), Stop::new());
        archive.notified_until().await.unwrap();
        let notifier = Notifier {
            archive: archive.clone(),
            intake: intake.clone(),
            hostname: "gateway.test".into(),
            author: Mailbox::parse("postmaster@gateway.test").unwrap(),
            expire: Duration::from_secs(5 * 86_400),
            failure_reports: FailureReports::Asked,
            clock: Arc::new(now),
        };
        tokio::spawn(notifier.run(stop.clone()));
        let apps = Arc::new(ArcSwap::from_pointee(apps));
        let desk = MailDesk::new(archive, intake, apps, keys, base.clone(), Arc::new(now));
        let listen = "127.0.0.1:0".parse().unwrap();
        let listeners = vec![ReturnPathListener { listen, tls: ReturnPathTls::Off }];
        let settings = ReturnPathSettings { return_path: base, listeners };
        let spool = dir.path().join("spool");
        let port = MailPort::bind(&settings, "gateway.test", None, desk, spool).await.unwrap();
        let return_path = port.addresses()[0];
        port.run(&ports);
        House { gateway, return_path, stop, ports }
    }

    /// A message of a sender who wants this, that the provider took.
    async fn sent(&self, from: &str, notify: Option<Notify>) -> Message {
        let mut one = message("x", &[KIM]);
        let Medium::Mail(envelope) = &mut one.medium else { panic!() };
        envelope.reverse_path = ReversePath::parse(from).unwrap();
        envelope.recipients[0].notify = notify;
        let id = accept(&self.gateway.archive, one).await;
        self.taken(id).await;
        get(&self.gateway.archive, id)
    }

    async fn taken(&self, id: MessageId) {
        claimed_as(&self.gateway, id, 1, "mail").await;
        judged_with(&self.gateway, id, 1, &format!("Ok: queued as {id}")).await;
    }

    async fn by_http(&self, message: &Message) {
        // Each provider's id is of one attempt; Postmark tells events apart by their time.
        let attempts = get(&self.gateway.archive, message.id).recipients[0].attempts;
        let body = json!({"RecordType": "Bounce", "Type": "HardBounce", "MessageID": message.id.to_string(),
            "Email": KIM, "Details": "smtp; 550 5.1.1 no such user",
            "BouncedAt": format!("2020-01-0{attempts}T00:00:00Z")});
        let path = format!("/hooks/mail/events?token={CALLBACK_TOKEN}");
        assert_eq!(self.gateway.post(&path, &body.to_string(), "").await.0, 200);
        assert_eq!(get(&self.gateway.archive, message.id).status(), Status::Failed);
    }

    async fn by_mail(&self, message: &Message) {
        let (keys, base) = return_paths();
        let to = keys.return_path(&base, message.sequence, 0).unwrap().to_string();
        let text = format!(
            "From: MAILER-DAEMON@mx.example.org\r\nTo: {to}\r\nSubject: Report\r\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
             --b\r\n\r\nIt is as follows.\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\n\
             Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; {KIM}\r\n\
             Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n\r\n--b--\r\n"
        );
        let port = self.return_path.port();
        let submit = move || {
            let mut submitter = Submitter::connect(port).unwrap();
            submitter.submit("", &[&to], text.as_bytes()).unwrap()
        };
        let answer = tokio::task::spawn_blocking(submit).await.unwrap();
        assert!(answer.is_ok(), "{answer:?}");
        assert_eq!(get(&self.gateway.archive, message.id).status(), Status::Failed);
    }

    fn tagged(&self, tag: &str) -> Vec<Message> {
        let filter = Filter { tag: Tag::parse(tag), ..Filter::default() };
        self.gateway.archive.list(&filter, Order::Oldest, None, 100).unwrap().items
    }

    /// To whom reports were written and to whom mail was passed on, when all that happened is told.
    async fn told(&self, last: &str) -> (Vec<String>, Vec<String>) {
        let message = self.sent(last, FAILURE).await;
        self.by_http(&message).await;
        let mut journal = self.gateway.archive.journal();
        let to = |messages: Vec<Message>| -> Vec<String> {
            messages.iter().flat_map(|message| message.medium.recipients()).collect()
        };
        let wait = async {
            loop {
                journal.borrow_and_update();
                let mut reports = to(self.tagged("delivery-report"));
                if reports.iter().any(|one| one == last) {
                    reports.retain(|one| !one.starts_with("last"));
                    return reports;
                }
                journal.changed().await.unwrap();
            }
        };
        let reports = tokio::time::timeout(Duration::from_secs(60), wait).await;
        (reports.expect("nothing is told"), to(self.tagged("passed-on")))
    }

    async fn close(self) {
        self.stop.cancel();
        drop(self.ports);
        self.gateway.stop().await;
    }
}

fn one(address: &str) -> Vec<String> {
    vec![address.to_owned()]
}

#[tokio::test(flavor = "multi_thread")]
async fn who_did_not_ask_hears_nothing_of_what_a_provider_tells() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let delay = Some(Notify::On { success: true, failure: false, delay: true });
    for (from, notify) in [
        ("quiet@example.com", None),
        ("never@example.com", Some(Notify::Never)),
        ("delay@example.com", delay),
        ("", FAILURE),
    ] {
        let message = house.sent(from, notify).await;
        house.by_http(&message).await;
    }
    assert_eq!(house.told("last@example.com").await, (vec![], vec![]));
    // Then what comes by mail goes on as it would without us.
    let message = house.sent("quiet@example.com", None).await;
    house.by_http(&message).await;
    house.by_mail(&message).await;
    assert_eq!(house.tagged("passed-on").len(), 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_that_a_provider_tells_is_told_to_the_sender_once() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let message = house.sent("anna@example.com", FAILURE).await;
    for _ in 0..3 {
        house.by_http(&message).await;
    }
    assert_eq!(house.told("last@example.com").await, (one("anna@example.com"), vec![]));
    let written = house.tagged("delivery-report").remove(0);
    let raw = house.gateway.archive.raw(written.id).unwrap().unwrap();
    let Finding::Delivery(all) = read(&raw).unwrap().finding else { panic!() };
    assert_eq!((all[0].action, all[0].status), (Action::Failed, EnhancedCode::parse("5.1.1")));
    assert_eq!(all[0].address.as_ref().unwrap().to_string(), KIM);
    assert!(all[0].diagnostic.contains("no such user"), "{all:?}");
    // A bounce mail that comes after it stays in the archive.
    house.by_mail(&message).await;
    assert_eq!((house.tagged("bounce").len(), house.tagged("passed-on").len()), (1, 0));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_mail_that_was_passed_on_is_not_told_again() {
    let dir = tempfile::tempdir().unwrap();
    let house = House::open(&dir).await;
    let message = house.sent("anna@example.com", FAILURE).await;
    house.by_mail(&message).await;
    house.by_http(&message).await;
    assert_eq!(house.told("last@example.com").await, (vec![], one("anna@example.com")));
    // What is sent again and comes back again is told again.
    act(&house.gateway.archive, ActionKind::Restart, message.id).await.unwrap();
    house.taken(message.id).await;
    house.by_http(&message).await;
    let (reports, _) = house.told("last2@example.com").await;
    assert_eq!(reports, one("anna@example.com"));
    house.close().await;
}
