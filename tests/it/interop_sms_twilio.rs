//! Twilio's own libraries are content with the Twilio dialect: they create, fetch, list, cancel, redact and delete, their
//! validators accept our callbacks, and we accept what they sign and write.
//!
//! The dialect stands behind a small server with its messages in memory; what a message becomes is not tested here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response};
use waybill::model::{
    Destination, Dialect, Direction, MessageId, Originator, ReceiptState, Secret, Sequence, Sms,
    SmsBody, Timestamp,
};
use waybill::sms::account::{CallbackUrls, TwilioAccount};
use waybill::sms::call::{
    Acknowledgement, Answer, CallbackKind, Draft, Handle, ListQuery, Notice, Operation, Refusal,
    Shown, ShownState, Verdict,
};
use waybill::sms::provider::Callback;
use waybill::sms::twilio::{TwilioPort, TwilioUpstream};
use waybill::sms::{Port, Provider, SmsAccounts};

use crate::support::tools;

const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const TOKEN: &str = "5ecret+t/ken:x";
const PUBLIC: &str = "https://t.example";
const HOOK: &str = "/hooks/sms/status?message=1&proof=ab";

#[test]
fn the_python_library_is_content() {
    let python = clients().join("python/bin/python");
    if !clients().join("python/bin/pip").is_file() {
        return tools::skip(
            "Twilio's Python library is not installed (tests/sms_clients/install does it)",
        );
    }
    exercise(Command::new(python).arg(script("twilio_sdk.py")));
}

#[test]
fn the_node_library_is_content() {
    let Some(node) = tools::find("node") else { return };
    let modules = clients().join("node/node_modules");
    if !modules.join("twilio").is_dir() {
        return tools::skip(
            "Twilio's Node library is not installed (tests/sms_clients/install does it)",
        );
    }
    exercise(Command::new(node).env("NODE_PATH", modules).arg(script("twilio_sdk.js")));
}

fn clients() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("sms_clients")
}

fn script(name: &str) -> String {
    format!("{}/tests/it/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

fn account() -> TwilioAccount {
    let callbacks = CallbackUrls::default();
    TwilioAccount { account_sid: ACCOUNT.into(), auth_token: Secret::new(TOKEN.into()), callbacks }
}

fn accounts() -> SmsAccounts {
    SmsAccounts { twilio: Some(account()), ..SmsAccounts::default() }
}

/// Runs a script against the dialect, and reads what it says at its end.
fn exercise(command: &mut Command) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let at = runtime.block_on(serve());
    let form = serde_json::json!({
        "MessageSid": "SM0f", "MessageStatus": "delivered", "To": "+4512345678", "Empty": "",
    });
    command
        .env("BASE_URL", format!("http://{at}"))
        .envs([("SMS_USER", ACCOUNT), ("SMS_PASS", TOKEN)])
        .env("CALLBACKS", callbacks().to_string())
        .env("HOOK", format!("{PUBLIC}{HOOK}"))
        .env("FORM", form.to_string());
    let output = tools::run(command, b"");
    let line = output.lines().find(|line| line.starts_with('{')).unwrap();
    let said: serde_json::Value = serde_json::from_str(line).unwrap();
    check_twiml(said["twiml"].as_str().unwrap());
    check_signature(said["signature"].as_str().unwrap(), &form);
}

/// One request of each kind that goes back to an app.
fn callbacks() -> serde_json::Value {
    let mut message = shown(1, &draft(), ShownState::Undelivered);
    message.sms.body = SmsBody::Text("Hej æ & co =?\n+".into());
    let notice = Notice { message: &message, event: Sequence(1), at: now(), now: now() };
    let url = "https://app.example/status?x=1&y=%2F";
    let mut all = TwilioPort.receipts(&notice, &format!("{url}#rc=2"), &accounts());
    all.extend(TwilioPort.inbound(&message, url, &accounts(), now()));
    all.extend(TwilioPort.inbound(&message, "http://app.example:8080/in", &accounts(), now()));
    assert_eq!(all.len(), 3);
    let view = |request: &Request<Bytes>| {
        serde_json::json!({
            "url": request.uri().to_string(),
            "body": std::str::from_utf8(request.body()).unwrap(),
            "signature": request.headers()["x-twilio-signature"].to_str().unwrap(),
        })
    };
    all.iter().map(view).collect()
}

fn check_twiml(text: &str) {
    let response = Response::new(Bytes::copy_from_slice(text.as_bytes()));
    let Acknowledgement::Taken { replies } =
        TwilioPort.acknowledged(&response, CallbackKind::Inbound)
    else {
        panic!("{text}")
    };
    let texts: Vec<&str> = replies.iter().map(|reply| reply.text.as_str()).collect();
    assert_eq!(texts, ["Tak & æ", "Nested <text>"], "{text}");
    assert_eq!(replies[0].to.as_deref(), Some("+4512345678"));
    assert_eq!(replies[0].from.as_deref(), Some("Example"));
    assert_eq!(replies[0].status_url.as_deref(), Some("https://a.example/s?a=1&b=2"));
}

fn check_signature(signature: &str, form: &serde_json::Value) {
    let fields = form.as_object().unwrap().iter();
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields.map(|(name, value)| (name, value.as_str().unwrap())))
        .finish();
    let request =
        Request::post(HOOK).header("X-Twilio-Signature", signature).body(body.into()).unwrap();
    let peer = [192, 0, 2, 1].into();
    let callback =
        Callback { request: &request, public_url: PUBLIC, peer, is_proven: false, now: now() };
    let upstream = TwilioUpstream { url: "https://p.example".parse().unwrap(), account: account() };
    let receipts = upstream.status(&callback).unwrap();
    assert_eq!(receipts[0].state, ReceiptState::Delivered);
}

/// The messages, oldest first.
type Store = Arc<Mutex<Vec<Shown>>>;

async fn serve() -> SocketAddr {
    let store = Store::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Router::new().fallback(move |request: Request<Body>| {
        let store = store.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            respond(&store, &Request::from_parts(head, body)).map(Body::from)
        }
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    at
}

fn respond(store: &Store, request: &Request<Bytes>) -> Response<Bytes> {
    assert!(TwilioPort.recognises(request), "{}", request.uri());
    let call = match TwilioPort.read(request) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    if TwilioPort.verify(request, &accounts(), now()) != Verdict::Proven {
        return TwilioPort.answer(&call, &Answer::Refused(&Refusal::Credentials));
    }
    let mut messages = store.lock().unwrap();
    let refuse = |refusal: &Refusal| TwilioPort.answer(&call, &Answer::Refused(refusal));
    let find = |messages: &[Shown], handle: &Handle| {
        messages.iter().position(|shown| *handle == Handle::Message(shown.id))
    };
    match &call.operation {
        Operation::Submit(Err(refusal)) => refuse(refusal),
        Operation::Submit(Ok(drafts)) => {
            let state = match drafts[0].send_at {
                Some(_) => ShownState::Scheduled,
                None => ShownState::Queued,
            };
            let number = messages.len() as u128 + 1;
            messages.push(shown(number, &drafts[0], state));
            TwilioPort.answer(&call, &Answer::Submitted(&messages[messages.len() - 1..]))
        }
        Operation::List(query) => {
            let (page, next) = list(&messages, query);
            TwilioPort.answer(&call, &Answer::Listed { page: &page, query, next })
        }
        Operation::Probe(probe) => TwilioPort.answer(&call, &Answer::Probed(*probe)),
        Operation::Fetch(handle)
        | Operation::Cancel(handle)
        | Operation::Redact(handle)
        | Operation::Delete(handle) => {
            let Some(place) = find(&messages, handle) else {
                return refuse(&Refusal::UnknownMessage);
            };
            let is_final = messages[place].state == ShownState::Canceled;
            match &call.operation {
                Operation::Cancel(_) if is_final => return refuse(&Refusal::TooLate),
                Operation::Cancel(_) => messages[place].state = ShownState::Canceled,
                Operation::Redact(_) => messages[place].sms.body = SmsBody::Text(String::new()),
                Operation::Delete(_) if !is_final => return refuse(&Refusal::NotFinished),
                Operation::Delete(_) => {
                    messages.remove(place);
                    return TwilioPort.answer(&call, &Answer::Deleted);
                }
                _ => {}
            }
            TwilioPort.answer(&call, &Answer::Found(&messages[place..=place]))
        }
    }
}

fn list(messages: &[Shown], query: &ListQuery) -> (Vec<Shown>, Option<MessageId>) {
    let wanted = |shown: &&Shown| {
        query.after.is_none_or(|after| shown.id < after)
            && query.to.as_ref().is_none_or(|to| *to == shown.sms.destination.to_string())
    };
    let mut all = messages.iter().rev().filter(wanted).cloned();
    let page: Vec<Shown> = all.by_ref().take(query.page_size).collect();
    let next = all.next().and_then(|_| page.last()).map(|last| last.id);
    (page, next)
}

fn draft() -> Draft {
    let text = SmsBody::Text("x".into());
    let style = waybill::sms::number::NumberStyle::International;
    Draft { from: Some("Example".into()), ..Draft::new("+4512345678".into(), style, text) }
}

fn shown(number: u128, draft: &Draft, state: ShownState) -> Shown {
    let sms = Sms {
        originator: Originator::parse(draft.from.as_ref().unwrap()),
        dialect: Dialect::Twilio,
        account: Some(ACCOUNT.into()),
        receipt: draft.receipt.clone(),
        ..Sms::new(Destination::parse(&draft.to).unwrap(), draft.body.clone())
    };
    Shown {
        id: MessageId::from_u128(number << 64 | 7),
        sequence: Sequence(1),
        direction: Direction::Outbound,
        sms,
        state,
        failure: None,
        provider_code: None,
        accepted_at: now(),
        updated_at: now(),
        sent_at: None,
        done_at: None,
        parts: Vec::new(),
    }
}
