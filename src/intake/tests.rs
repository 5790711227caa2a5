//! The door on a real archive.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::archive::tests::spoil_suppression;
use crate::archive::{Accepted, ArchiveSettings, Message, StagingLimits};
use crate::model::envelope::BodyType;
use crate::model::{AppName, EnvelopeRecipient, ForwardPath, ReversePath, Status, UpstreamName};
use crate::policy::{OnUnknownByChannel, Rate, SmsPolicy, Track};

pub(super) fn app() -> App {
    App {
        name: AppName::parse("erp").unwrap(),
        networks: Vec::new(),
        senders: Vec::new(),
        hold: HoldRule::None,
        track: Track::default(),
        references: Vec::new(),
        rate: Rate::default(),
        on_unknown: OnUnknownByChannel::default(),
        sms: SmsPolicy::default(),
        smtp: None,
    }
}

fn submission(app: App, raw: &str) -> Submission {
    let recipient = |path| EnvelopeRecipient {
        path: ForwardPath::parse(path).unwrap(),
        notify: None,
        original: None,
    };
    Submission {
        app: Arc::new(app),
        envelope: Envelope {
            reverse_path: ReversePath::parse("anna@example.com").unwrap(),
            recipients: vec![recipient("kim@example.org"), recipient("blind@example.org")],
            body: BodyType::SevenBit,
            smtputf8: false,
            ret: None,
            envid: None,
            release: None,
        },
        client: Client {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            helo: "erp".into(),
            protocol: "ESMTP".into(),
            tls: None,
            authenticated: None,
            gateway: "gateway.example.com".into(),
        },
        raw: Bytes::copy_from_slice(raw.as_bytes()),
        newlines_fixed: false,
        received_at: Timestamp::from_millis(1_700_000_000_000),
    }
}

fn door(dir: &tempfile::TempDir, apps: &[App]) -> (Archive, Intake) {
    let settings = ArchiveSettings {
        data_dir: dir.path().to_owned(),
        cache_bytes: 1 << 20,
        volume_bytes: 1 << 30,
        reserve_bytes: 0,
        staging: StagingLimits::default(),
    };
    let archive = Archive::open(&settings).unwrap();
    let provider = (Channel::Email, UpstreamName::parse("provider").unwrap());
    let routes = Routes { routes: Vec::new(), upstreams: vec![provider] };
    let routes = Arc::new(ArcSwap::from_pointee(routes));
    let apps = Apps(apps.iter().cloned().map(Arc::new).collect());
    (archive.clone(), Intake::new(archive, routes, &apps))
}

async fn accepted(app: App, raw: &str) -> Message {
    let dir = tempfile::tempdir().unwrap();
    let (archive, intake) = door(&dir, std::slice::from_ref(&app));
    let id = intake.submit(submission(app, raw)).await.unwrap().get();
    archive.message(id).unwrap().unwrap()
}

async fn refused(raw: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let (archive, intake) = door(&dir, &[app()]);
    let reply = intake.submit(submission(app(), raw)).await.unwrap_err();
    assert_eq!(archive.extent().unwrap().messages, 0);
    reply.to_string()
}

const HEADER: &str = "From: Anna Berg <anna@example.com>\r\nTo: Kim <Kim@Example.org>\r\nSubject: Invoice INV-12345\r\nMessage-ID: <1@example.com>\r\n";

#[tokio::test]
async fn a_message_is_read() {
    let message = accepted(app(), &format!("{HEADER}\r\nAbout order ORD-777.\r\n")).await;
    assert_eq!(message.summary.subject.as_deref(), Some("Invoice INV-12345"));
    assert_eq!(message.recipients[0].name.as_deref(), Some("Kim"));
    let kinds: Vec<&str> = message.recipients.iter().map(|r| r.kind.as_str()).collect();
    assert_eq!(kinds, ["to", "bcc"]);
    let references: Vec<String> = message.references.iter().map(ToString::to_string).collect();
    assert_eq!(references, ["INV-12345", "ORD-777"]);
    assert_eq!(message.status(), Status::Pending);
}

#[tokio::test]
async fn a_damaged_entry_of_the_list_keeps_no_mail_from_the_return_path() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, intake) = door(&dir, &[app()]);
    let about =
        intake.submit(submission(app(), &format!("{HEADER}\r\nx\r\n"))).await.unwrap().get();
    let apps = Arc::new(Apps(vec![Arc::new(app())]));
    let receive = async |raw: &str| {
        let Submission { envelope, raw, client, received_at, .. } = submission(app(), raw);
        let arrival = MailArrival {
            envelope,
            raw,
            newlines_fixed: false,
            client,
            about: Some(about),
            tag: "bounce",
            is_passed_on: true,
            received_at,
        };
        match intake.receive_mail(arrival, &apps).await.unwrap() {
            Accepted::New(ids) => ids.len(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(receive("Subject: one\r\n\r\n").await, 2);
    spoil_suppression(&archive, "anna@example.com").await;
    assert_eq!(receive("Subject: two\r\n\r\n").await, 1);
}

#[tokio::test]
async fn what_can_not_be_understood_is_refused_and_not_ignored() {
    let reply = refused(&format!("{HEADER}X-Waybill-Hold: soon\r\n\r\nx\r\n")).await;
    assert!(reply.starts_with("550 5.6.0 X-Waybill-Hold"), "{reply}");
    let hops = "Received: from a by b; Sun, 22 Nov 2026 04:27:51 +0000\r\n".repeat(51);
    let reply = refused(&format!("{hops}{HEADER}\r\nx\r\n")).await;
    assert!(reply.starts_with("554 5.4.6"), "{reply}");
}

#[tokio::test]
async fn holds_come_from_the_message_before_the_app() {
    let held = |message: &Message| message.recipients[0].state.clone();
    let at = |seconds: i64| Timestamp::from_millis(1_700_000_000_000 + seconds * 1_000);
    let until = |seconds| RecipientState::Held { hold: Hold::Until(at(seconds)) };
    let by_app = App { hold: HoldRule::For(Duration::from_secs(30)), ..app() };
    let with = |field: &str| format!("{HEADER}{field}\r\n\r\nx\r\n");
    let message = accepted(by_app.clone(), &with("X-Other: 1")).await;
    assert_eq!(held(&message), until(30));
    let message = accepted(by_app.clone(), &with("X-Waybill-Hold: 0s")).await;
    assert_eq!(held(&message), RecipientState::Due { at: at(0), rank: 0 });
    let message = accepted(by_app.clone(), &with("X-Waybill-Hold: manual")).await;
    assert_eq!(held(&message), RecipientState::Held { hold: Hold::Manual });
    let message = accepted(by_app, &with("X-Waybill-Send-At: 2023-11-14T22:14:20Z")).await;
    assert_eq!(held(&message), until(60));
}

#[tokio::test]
async fn a_rate_is_kept_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let limited = App { rate: Rate { per_minute: Some(2), per_day: Some(1_000_000_000) }, ..app() };
    let (_archive, intake) = door(&dir, std::slice::from_ref(&limited));
    let raw = format!("{HEADER}\r\nx\r\n");
    for _ in 0..2 {
        intake.submit(submission(limited.clone(), &raw)).await.unwrap();
    }
    let reply = intake.submit(submission(limited, &raw)).await.unwrap_err().to_string();
    assert!(reply.starts_with("450 4.7.1") && reply.contains("per minute"), "{reply}");
}

#[tokio::test]
async fn without_an_upstream_a_message_is_kept_as_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, intake) = door(&dir, &[app()]);
    intake.routes.store(Arc::new(Routes::default()));
    let raw = format!("{HEADER}\r\nx\r\n");
    let id = intake.submit(submission(app(), &raw)).await.unwrap().get();
    assert_eq!(archive.message(id).unwrap().unwrap().status(), Status::NotSent);
}
