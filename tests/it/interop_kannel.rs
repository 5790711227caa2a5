//! A real Kannel, as a client that submits to us and as a provider that we submit to.
//!
//! Skipped where Kannel is not installed.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use waybill::model::{
    Destination, Dialect, Direction, MessageId, Originator, ReceiptRequest, ReceiptState, Secret,
    Sequence, Sms, SmsBody, SmsEncoding, Timestamp,
};
use waybill::sms::account::{CallbackUrls, KannelAccount};
use waybill::sms::call::{
    Acknowledgement, Answer, CallbackKind, CloseConnection, Draft, Notice, Operation, Refusal,
    Shown, ShownState, Verdict,
};
use waybill::sms::kannel::{KannelPort, KannelUpstream};
use waybill::sms::provider::{Callback, Judgement, Outbound};
use waybill::sms::{Port, Provider, SmsAccounts};

use crate::support::kannel::{Kannel, PASSWORD, Server, USER, fetch};

fn account() -> KannelAccount {
    KannelAccount {
        username: USER.into(),
        password: Secret::new(PASSWORD.into()),
        callbacks: CallbackUrls::default(),
    }
}

fn accounts() -> SmsAccounts {
    SmsAccounts { kannel: Some(account()), ..SmsAccounts::default() }
}

/// The port as the daemon has it, but for the archive; the first `not_now` calls are not taken.
fn answered(request: &Request<Bytes>, not_now: &AtomicUsize) -> Option<Response<Bytes>> {
    if !request.uri().path().starts_with("/d/kannel/") {
        return Some(Response::new(Bytes::new()));
    }
    let call = match KannelPort.read(request) {
        Ok(call) => call,
        Err(response) => return Some(*response),
    };
    let verdict = KannelPort.verify(request, &accounts(), Timestamp::EPOCH);
    let is_busy = not_now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    let answer = match (&call.operation, verdict) {
        (Operation::Submit(Ok(_)), Verdict::Proven) if is_busy.is_ok() => {
            Answer::Refused(&Refusal::NotNow)
        }
        (Operation::Submit(Ok(_)), Verdict::Proven) => Answer::Submitted(&[]),
        (Operation::Submit(Err(refusal)), _) => Answer::Refused(refusal),
        _ => Answer::Refused(&Refusal::Credentials),
    };
    let response = KannelPort.answer(&call, &answer);
    let is_closed = response.extensions().get::<CloseConnection>().is_some();
    (!is_closed).then_some(response)
}

fn start(not_now: usize) -> Option<(Kannel, Server)> {
    let not_now = AtomicUsize::new(not_now);
    let server = Server::start(Box::new(move |request| answered(request, &not_now)));
    Some((Kannel::start(server.port)?, server))
}

fn draft(request: &Request<Bytes>) -> Draft {
    match KannelPort.read(request).unwrap().operation {
        Operation::Submit(drafts) => drafts.unwrap().remove(0),
        other => panic!("{other:?}"),
    }
}

fn sms(text: &str, encoding: SmsEncoding) -> Sms {
    Sms {
        originator: Originator::parse("+4587654321"),
        encoding,
        dialect: Dialect::Kannel,
        ..Sms::new(Destination::parse("+4512345678").unwrap(), SmsBody::Text(text.into()))
    }
}

fn shown(sms: Sms, state: ShownState) -> Shown {
    let at = Timestamp::parse_rfc3339("2026-11-22T04:27:51Z").unwrap();
    Shown {
        id: MessageId::from_u128(1),
        sequence: Sequence(7),
        direction: Direction::Outbound,
        sms,
        state,
        failure: None,
        provider_code: None,
        accepted_at: at,
        updated_at: at,
        sent_at: Some(at),
        done_at: Some(at),
        parts: Vec::new(),
    }
}

/// Tells Kannel what became of a draft of its.
fn report(receipt: &ReceiptRequest, state: ShownState) -> Vec<String> {
    let mut message = shown(sms("x", SmsEncoding::Gsm7), state);
    message.sms.receipt = Some(receipt.clone());
    let at = message.accepted_at;
    let notice = Notice { message: &message, event: Sequence(8), at, now: at };
    let told = |request: &Request<Bytes>| {
        let response = fetch(request);
        let taken = Acknowledgement::Taken { replies: Vec::new() };
        assert_eq!(KannelPort.acknowledged(&response, CallbackKind::Receipt), taken);
        String::from_utf8(response.body().to_vec()).unwrap()
    };
    KannelPort.receipts(&notice, &receipt.url, &accounts()).iter().map(told).collect()
}

fn callback<T>(request: &Request<Bytes>, read: impl FnOnce(&Callback<'_>) -> T) -> T {
    read(&Callback {
        request,
        public_url: "http://127.0.0.1",
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_proven: true,
        now: Timestamp::EPOCH,
    })
}

fn upstream(kannel: &Kannel) -> KannelUpstream {
    let url = format!("http://127.0.0.1:{}", kannel.sendsms).parse().unwrap();
    KannelUpstream { url, account: account() }
}

#[test]
fn texts_from_a_kannel_arrive_whole() {
    let Some((kannel, mut server)) = start(0) else { return };
    let mut arrives = |fields: &str, expected: &str| {
        let said = kannel.submit(&format!("from=100&to=4512345678&{fields}"));
        assert_eq!(said, "0: Accepted for delivery");
        let draft = draft(&server.next("/d/kannel/"));
        assert_eq!(draft.body, SmsBody::Text(expected.into()), "{fields}");
        assert_eq!((draft.from.as_deref(), draft.to.as_str()), (Some("100"), "4512345678"));
        draft
    };
    arrives("text=H%C3%A6+%26to%3D1+%25d", "Hæ &to=1 %d");
    arrives("text=%E2%82%AC%5B%5D", "€[]");
    let emoji = arrives("text=%F0%9F%98%80&coding=2&charset=UTF-8&mclass=0&account=shop", "😀");
    assert_eq!((emoji.class, emoji.receipt.map(|r| r.mask)), (Some(0), Some(0)));
    assert_eq!(emoji.tag.map(|tag| tag.to_string()), Some(format!("{USER}:shop")));
    let long = "a".repeat(200);
    let first = arrives(&format!("text={long}"), &"a".repeat(153));
    let second = draft(&server.next("/d/kannel/"));
    assert_eq!(second.body, SmsBody::Text("a".repeat(47)));
    assert_eq!((first.udh[..5].to_vec(), first.udh[5]), (second.udh[..5].to_vec(), 1));
}

#[test]
fn a_kannel_hears_what_became_of_its_message() {
    let Some((kannel, mut server)) = start(0) else { return };
    let port = server.port;
    let app =
        format!("http%3A%2F%2F127.0.0.1:{port}%2Fapp%3Ftype%3D%25d%26text%3D%25A%26to%3D%25p");
    kannel.submit(&format!("from=100&to=4512345678&text=x&dlr-mask=31&dlr-url={app}"));
    let receipt = draft(&server.next("/d/kannel/")).receipt.unwrap();
    assert_eq!(receipt.mask, 31);
    let accepted = server.next("/app");
    assert!(accepted.uri().query().unwrap().starts_with("type=8&text=ACK"), "{accepted:?}");
    // Kannel made that one itself.
    assert!(report(&receipt, ShownState::Sent).is_empty());
    assert_eq!(report(&receipt, ShownState::Delivered), ["Sent."]);
    let delivered = server.next("/app").uri().to_string();
    assert!(delivered.starts_with("/app?type=1&text=id%3A"), "{delivered}");
    assert!(delivered.contains("stat%3ADELIVRD") && delivered.ends_with("&to=4512345678"));
    // It has forgotten the message, and telling it again changes nothing.
    assert_eq!(report(&receipt, ShownState::Delivered), ["Unknown DLR, not accepted"]);
}

#[test]
fn a_kannel_that_gets_no_answer_tries_again() {
    let Some((kannel, mut server)) = start(1) else { return };
    kannel.submit("from=100&to=4512345678&text=again");
    let (first, second) = (server.next("/d/kannel/"), server.next("/d/kannel/"));
    assert_eq!(draft(&first).body, SmsBody::Text("again".into()));
    assert_eq!(draft(&first).body, draft(&second).body);
}

#[test]
fn inbound_messages_go_through_a_kannel_and_come_back_whole() {
    let Some((kannel, mut server)) = start(0) else { return };
    let port = kannel.smsc;
    let hand = |password: &str, text: &str| {
        let template = format!(
            "http://127.0.0.1:{port}/?username={USER}&password={password}\
             &from=%p&to=%P&text=%b&charset=%C&coding=%c"
        );
        let message = shown(sms(text, SmsEncoding::Gsm7), ShownState::Received);
        let requests = KannelPort.inbound(&message, &template, &accounts(), Timestamp::EPOCH);
        KannelPort.acknowledged(&fetch(&requests[0]), CallbackKind::Inbound)
    };
    // It answers 202 to this as well.
    assert_eq!(hand("wrong", "x"), Acknowledgement::NotTaken);
    for text in ["Hæ &to=1 %d €", "😀 ж"] {
        assert_eq!(hand("open%20sesame", text), Acknowledgement::Taken { replies: Vec::new() });
        let request = server.next("/inbound");
        let mut found = callback(&request, |call| upstream(&kannel).inbound(call)).unwrap();
        let found = found.remove(0);
        assert_eq!(found.body, SmsBody::Text(text.into()));
        assert_eq!(found.originator.to_string(), "+4587654321");
        assert_eq!(found.destination.to_string(), "+4512345678");
        assert!(found.sent_at.is_some());
    }
}

#[test]
fn a_kannel_carries_our_messages_and_reports_on_them() {
    let Some((kannel, mut server)) = start(0) else { return };
    let upstream = upstream(&kannel);
    let status_url = format!("http://127.0.0.1:{}/hooks/k/status?message=1&proof=2", server.port);
    let send = |upstream: &KannelUpstream, sms: &Sms| {
        let (id, now) = (MessageId::from_u128(1), Timestamp::EPOCH);
        let outbound = Outbound { id, sms, valid_for: None, status_url: Some(&status_url), now };
        upstream.judge(&fetch(&upstream.request(&outbound).unwrap()))
    };
    let mut stranger = account();
    stranger.password = Secret::new("wrong".into());
    let stranger = KannelUpstream { url: upstream.url.clone(), account: stranger };
    let judgement = send(&stranger, &sms("x", SmsEncoding::Gsm7));
    assert!(matches!(judgement, Judgement::Upstream { .. }), "{judgement:?}");

    for (text, encoding) in [("Hæ &to=1 %d €", SmsEncoding::Gsm7), ("😀 ж & Ж", SmsEncoding::Ucs2)]
    {
        let judgement = send(&upstream, &sms(text, encoding));
        assert!(matches!(judgement, Judgement::Accepted { .. }), "{judgement:?}");
        let outside = draft(&server.next("/d/kannel/"));
        assert_eq!(outside.body, SmsBody::Text(text.into()));
        assert_eq!(outside.to, "+4512345678");
        let state = |request: &Request<Bytes>| {
            assert!(request.uri().query().unwrap().starts_with("message=1&proof=2&type="));
            callback(request, |call| upstream.status(call)).unwrap().remove(0).state
        };
        assert_eq!(state(&server.next("/hooks/k/status")), ReceiptState::Underway);
        report(&outside.receipt.unwrap(), ShownState::Delivered);
        assert_eq!(state(&server.next("/hooks/k/status")), ReceiptState::Delivered);
    }
}
