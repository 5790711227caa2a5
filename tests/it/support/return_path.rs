//! A return path at work: an archive with messages that were sent, the port, and whoever reports to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpSocket;
use waybill::archive::{
    Archive, ClaimRequest, Filter, Judgement, Message, Question, SearchOrder, SearchRequest,
    Suppression,
};
use waybill::feedback::settings::{
    ReturnPathLimits, ReturnPathListener, ReturnPathSettings, ReturnPathTls,
};
use waybill::feedback::{MailDesk, MailPort};
use waybill::intake::Intake;
use waybill::lifecycle::RetrySchedule;
use waybill::model::{Channel, Digest, Mailbox, MessageId, Outcome, Reference, Reply, Sequence};
use waybill::net::Stop;
use waybill::policy::{Apps, Routes};
use waybill::rewrite::VerpKeys;

use super::gateway::app;
use super::port::Client;
use super::queue::{accept, get, message, name, now, open};
use super::submitter::{Answer, Submitter};

pub const BASE: &str = "bounce@bounces.example.com";

/// A return path at work: an archive, and the port.
pub struct House {
    pub archive: Archive,
    pub address: SocketAddr,
    pub stop: Stop,
    keys: VerpKeys,
}

impl House {
    pub async fn open(dir: &tempfile::TempDir) -> House {
        House::with(dir, ReturnPathLimits::default()).await
    }

    pub async fn with(dir: &tempfile::TempDir, limits: ReturnPathLimits) -> House {
        let archive = open(dir);
        let apps = Apps(vec![Arc::new(app("other", None)), Arc::new(app("erp", None))]);
        let routes = Arc::new(ArcSwap::from_pointee(Routes { routes: vec![], upstreams: vec![] }));
        let intake = Intake::new(archive.clone(), routes, &apps);
        let keys = VerpKeys::new(&[7; 32], &[]);
        let return_path = Mailbox::parse(BASE).unwrap();
        let desk = MailDesk::new(
            archive.clone(),
            intake,
            Arc::new(ArcSwap::from_pointee(apps)),
            keys.clone(),
            return_path.clone(),
            Arc::new(now),
        );
        let desk = desk.with_limits(limits);
        let listen = "127.0.0.1:0".parse().unwrap();
        let listeners = vec![ReturnPathListener { listen, tls: ReturnPathTls::Off }];
        let settings = ReturnPathSettings { return_path, listeners };
        let spool = dir.path().join("spool");
        let port = MailPort::bind(&settings, "gateway.test", None, desk, spool).await.unwrap();
        let (address, stop) = (port.addresses()[0], Stop::new());
        port.run(&stop);
        House { archive, address, stop, keys }
    }

    /// A message that the upstream took for all of its recipients.
    pub async fn sent(&self, subject: &str, recipients: &[&str]) -> Message {
        let id = self.claimed(subject, recipients).await;
        let sent = Outcome::Sent {
            reply: Reply::new(250, None, "ok"),
            digest: Digest::of(b"sent"),
            parts: Vec::new(),
            owes_report: false,
        };
        self.judge(id, recipients.len(), sent).await;
        get(&self.archive, id)
    }

    pub async fn claimed(&self, subject: &str, recipients: &[&str]) -> MessageId {
        let mut one = message(subject, recipients);
        one.summary.message_id = Some(format!("{subject}@app.example.com"));
        one.references = vec![Reference::parse("INV-12345").unwrap()];
        let id = accept(&self.archive, one).await;
        let chosen = (0..).take(recipients.len()).collect();
        let claim = ClaimRequest {
            message: id,
            recipients: chosen,
            upstream: name("smarthost"),
            rank: 0,
            now: now(),
        };
        assert_eq!(self.archive.claim(claim).await.unwrap().len(), recipients.len());
        id
    }

    pub async fn judge(&self, id: MessageId, recipients: usize, outcome: Outcome) {
        let outcomes = (0..).take(recipients).map(|index| (index, outcome.clone())).collect();
        let judgement = Judgement {
            message: id,
            outcomes,
            touch: None,
            is_last_upstream: true,
            hold_unknown: true,
            now: now(),
        };
        let schedule =
            RetrySchedule { waits: vec![Duration::from_secs(60)], expire: Duration::from_secs(9) };
        self.archive.judge(judgement, Arc::new(schedule)).await.unwrap();
    }

    /// The return path of a recipient.
    pub fn path(&self, sequence: Sequence, recipient: u16) -> String {
        let base = Mailbox::parse(BASE).unwrap();
        self.keys.return_path(&base, sequence, recipient).unwrap().to_string()
    }

    /// Sends a message there, with the null reverse-path unless a person writes it.
    pub async fn tell(&self, from: &str, to: &str, text: &str) -> Answer {
        let (port, from, to) = (self.address.port(), from.to_owned(), to.to_owned());
        let text = text.replace('\n', "\r\n");
        let submit = move || {
            let mut submitter = Submitter::connect(port).unwrap();
            submitter.submit(&from, &[&to], text.as_bytes()).unwrap()
        };
        tokio::task::spawn_blocking(submit).await.unwrap()
    }

    /// The same, and it is taken; gives the archived report.
    pub async fn told(&self, from: &str, to: &str, text: &str) -> Message {
        let answer = self.tell(from, to, text).await;
        assert_eq!(answer.code, 250, "{answer:?}");
        let id = answer.text.rsplit(' ').next().unwrap();
        get(&self.archive, MessageId::parse(id).unwrap())
    }

    /// Connects from this address; all of 127.0.0.0/8 is this machine.
    pub async fn connect_from(&self, address: IpAddr) -> Client {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Client::over(socket.connect(self.address).await.unwrap())
    }

    pub fn suppressed(&self, address: &str, from: &str) -> Option<Suppression> {
        self.archive.suppressed(Channel::Email, address, Some(from), now()).unwrap()
    }

    /// How many messages `is:bounced` finds.
    pub fn bounced(&self) -> usize {
        let question = Question::parse("is:bounced").unwrap();
        let request = SearchRequest {
            question: Some(&question),
            filter: &Filter::default(),
            read: None,
            order: SearchOrder::Newest,
            after: None,
            limit: 100,
        };
        self.archive.search(&request).unwrap().items.len()
    }
}

/// A delivery report (RFC 3464) about an original with this Message-ID.
pub fn dsn(recipient: &str, action: &str, status: &str, diagnostic: &str, about: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.example.org\nTo: whoever@example.com\nSubject: Report\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
         --b\n\nIt is as follows.\n\n--b\nContent-Type: message/delivery-status\n\n\
         Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; {recipient}\n\
         Action: {action}\nStatus: {status}\nDiagnostic-Code: smtp; {diagnostic}\n\n\
         --b\nContent-Type: text/rfc822-headers\n\nMessage-ID: <{about}@app.example.com>\n\
         Subject: the original\n\n--b--\n"
    )
}

pub fn no_such_user(recipient: &str, about: &str) -> String {
    dsn(recipient, "failed", "5.1.1", "550 5.1.1 no such user", about)
}
