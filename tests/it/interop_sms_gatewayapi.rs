//! GatewayAPI's documented calls, made with the HTTP libraries that its users have, and Waybill's own dialect work
//! unchanged; libraries of others accept our callbacks.
//!
//! The dialects stand behind a small server with its messages in memory; what a message becomes is not tested here.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response, Uri};
use waybill::model::{
    Dialect, Direction, MessageId, ReceiptState, Secret, Sequence, Sms, SmsBatch, SmsBody,
    Timestamp,
};
use waybill::sms::account::{CallbackUrls, TokenAccount};
use waybill::sms::call::{
    Answer, Draft, Handle, Notice, Operation, Refusal, Shown, ShownState, Verdict,
};
use waybill::sms::gatewayapi::GatewayApiUpstream;
use waybill::sms::number::{Country, destination, originator};
use waybill::sms::provider::{Callback, Judgement, Outbound};
use waybill::sms::segment::measure;
use waybill::sms::{Port, Provider, SmsAccounts, port};

use crate::support::tools;

const TOKEN: &str = "t0ken+/&=% x";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[test]
fn the_libraries_of_python_are_content() {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("sms_clients/python/bin/python");
    let mut has_libraries = Command::new(&python);
    has_libraries.args(["-c", "import requests, requests_oauthlib"]);
    if !has_libraries.output().is_ok_and(|output| output.status.success()) {
        return tools::skip(
            "requests is not installed for Python (tests/sms_clients/install does it)",
        );
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = Store::default();
    let at = runtime.block_on(serve(store.clone()));
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients/gatewayapi_http.py");
    let mut command = Command::new(python);
    command.arg(script).env("BASE_URL", format!("http://{at}")).env("TOKEN", TOKEN);
    let output = tools::run(&mut command, callbacks().to_string().as_bytes());
    let said: serde_json::Value = serde_json::from_str(output.lines().last().unwrap()).unwrap();
    if said["verified"] != true {
        tools::skip("jwt and standardwebhooks are not installed for Python");
    }
    let messages = store.lock().unwrap();
    let ids: Vec<u64> =
        said["ids"].as_array().unwrap().iter().filter_map(|id| id.as_u64()).collect();
    assert_eq!(ids.len(), 11);
    for id in ids {
        let message = messages.iter().find(|message| message.sequence.0 == id).unwrap();
        assert_eq!(message.sms.text(), "Hej æ & co =?\n+ 😀");
        assert_eq!(message.sms.destination.to_string(), "+4512345678");
        assert_eq!(message.sms.originator.as_ref().unwrap().to_string(), "Example");
        assert_eq!(message.sms.client_reference.as_deref(), Some("ref-1"));
    }
}

/// One Waybill may be the provider of another: it takes what the other sends, and the other believes its receipts.
#[test]
fn what_goes_upstream_is_what_comes_in() {
    let account = account();
    let url = url::Url::parse("https://gatewayapi.example").unwrap();
    let upstream = GatewayApiUpstream { url, account: account.clone() };
    let dialect = port(Dialect::GatewayApi);
    for (text, udh, class) in
        [("Hej", vec![], None), ("ж😀\n\"&=", vec![5, 0, 3, 1, 2, 1], Some(0))]
    {
        let id = MessageId::from_u128(77);
        let mut draft = Draft::new(
            "4512345678".into(),
            waybill::sms::number::NumberStyle::International,
            SmsBody::Text(text.into()),
        );
        (draft.from, draft.udh, draft.class) = (Some("Example".into()), udh, class);
        let first = shown(&draft, 1, Dialect::GatewayApi);
        let outbound = Outbound {
            id,
            sms: &first.sms,
            valid_for: None,
            status_url: Some("https://t.example/hooks/x/status?message=1&proof=2"),
            now: now(),
        };
        let request = upstream.request(&outbound).unwrap();
        assert_eq!(dialect.verify(&request, &accounts(), now()), Verdict::Proven);
        let call = dialect.read(&request).unwrap();
        let Operation::Submit(Ok(drafts)) = &call.operation else { panic!("{call:?}") };
        draft.client_reference = Some(id.to_string());
        draft.references.extend(drafts[0].references.clone());
        draft.receipt = drafts[0].receipt.clone();
        assert_eq!(drafts[..], [draft]);

        let second =
            Shown { state: ShownState::Delivered, ..shown(&drafts[0], 9, Dialect::GatewayApi) };
        let answer = dialect.answer(&call, &Answer::Submitted(std::slice::from_ref(&second)));
        let Judgement::Accepted { ids, .. } = upstream.judge(&answer) else { panic!("{answer:?}") };
        assert_eq!(ids, ["9"]);
        let notice = Notice { message: &second, event: Sequence(1), at: now(), now: now() };
        let receipt = dialect
            .receipts(&notice, &drafts[0].receipt.clone().unwrap().url, &accounts())
            .remove(0);
        let callback = Callback {
            request: &receipt,
            public_url: "https://t.example",
            peer: [127, 0, 0, 1].into(),
            is_proven: false,
            now: now(),
        };
        let receipts = upstream.status(&callback).unwrap();
        assert_eq!((receipts[0].state, receipts[0].message), (ReceiptState::Delivered, Some(id)));
        assert_eq!(receipts[0].provider_id.as_deref(), Some("9"));
    }
}

fn account() -> TokenAccount {
    TokenAccount {
        token: Secret::new(TOKEN.into()),
        callback_secret: Some(Secret::new(SECRET.into())),
        callbacks: CallbackUrls::default(),
    }
}

fn accounts() -> SmsAccounts {
    let account = Some(account());
    SmsAccounts { gatewayapi: account.clone(), waybill: account, ..SmsAccounts::default() }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap())
}

/// Callbacks of both dialects, both ways, as the script verifies them.
fn callbacks() -> serde_json::Value {
    let draft = Draft::new(
        "4512345678".into(),
        waybill::sms::number::NumberStyle::International,
        SmsBody::Text("Hej æ\n\"\u{2028}😀".into()),
    );
    let mut all = Vec::new();
    for dialect in [Dialect::GatewayApi, Dialect::Waybill] {
        let message = shown(&draft, 7, dialect);
        let notice = Notice { message: &message, event: Sequence(3), at: now(), now: now() };
        all.extend(port(dialect).receipts(&notice, "https://app.example/x", &accounts()));
        all.extend(port(dialect).inbound(&message, "https://app.example/x", &accounts(), now()));
    }
    assert_eq!(all.len(), 4);
    let view = |request: &Request<Bytes>| {
        let headers: serde_json::Map<String, serde_json::Value> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
            .collect();
        let body = std::str::from_utf8(request.body()).unwrap();
        serde_json::json!({"headers": headers, "body": body, "secret": SECRET})
    };
    all.iter().map(view).collect()
}

/// A message as it stands right after its acceptance.
fn shown(draft: &Draft, sequence: u64, dialect: Dialect) -> Shown {
    let country = Country::NONE;
    let measured = measure(&draft.body, &draft.udh);
    Shown {
        id: MessageId::from_u128(u128::from(sequence)),
        sequence: Sequence(sequence),
        direction: Direction::Outbound,
        sms: Sms {
            originator: draft
                .from
                .as_ref()
                .and_then(|from| originator(from, draft.style, &country)),
            destination: destination(&draft.to, draft.style, &country).unwrap(),
            body: draft.body.clone(),
            udh: draft.udh.clone(),
            encoding: measured.encoding,
            segments: u16::try_from(measured.segments).unwrap(),
            class: draft.class,
            valid_until: None,
            send_at: None,
            dialect,
            account: None,
            client_reference: draft.client_reference.clone(),
            receipt: draft.receipt.clone(),
            batch: SmsBatch { index: 0, count: 1 },
            fingerprint: [0; 16],
            reply_to: None,
            provider_id: None,
        },
        state: ShownState::Queued,
        failure: None,
        provider_code: None,
        accepted_at: now(),
        updated_at: now(),
        sent_at: None,
        done_at: None,
        parts: Vec::new(),
    }
}

type Store = Arc<Mutex<Vec<Shown>>>;

async fn serve(store: Store) -> SocketAddr {
    let handler = move |request: Request<Body>| {
        let store = store.clone();
        async move {
            let (mut parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            let target = parts.uri.path_and_query().unwrap().as_str();
            let target = target.strip_prefix("/d/gatewayapi").unwrap_or(target);
            parts.uri = target.parse::<Uri>().unwrap();
            respond(&Request::from_parts(parts, body), &mut store.lock().unwrap()).map(Body::from)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
    });
    at
}

fn respond(request: &Request<Bytes>, store: &mut Vec<Shown>) -> Response<Bytes> {
    let dialects = [port(Dialect::GatewayApi), port(Dialect::Waybill)];
    let dialect = dialects.into_iter().find(|dialect| dialect.recognises(request)).unwrap();
    let call = match dialect.read(request) {
        Ok(call) => call,
        Err(response) => return *response,
    };
    if dialect.verify(request, &accounts(), now()) != Verdict::Proven {
        return dialect.answer(&call, &Answer::Refused(&Refusal::Credentials));
    }
    let refused = |refusal: &Refusal| dialect.answer(&call, &Answer::Refused(refusal));
    match &call.operation {
        Operation::Submit(Err(refusal)) => refused(refusal),
        Operation::Submit(Ok(drafts)) => {
            let messages = store_all(drafts, dialect, store);
            dialect.answer(&call, &Answer::Submitted(&messages))
        }
        Operation::Fetch(handle) => {
            let found: Vec<Shown> =
                store.iter().filter(|message| is(message, handle)).cloned().collect();
            dialect.answer(&call, &Answer::Found(&found))
        }
        Operation::Cancel(handle) => {
            let mut found: Vec<&mut Shown> =
                store.iter_mut().filter(|message| is(message, handle)).collect();
            match found.first() {
                None => return refused(&Refusal::UnknownMessage),
                Some(first) if first.state != ShownState::Queued => {
                    return refused(&Refusal::TooLate);
                }
                Some(_) => {}
            }
            for message in &mut found {
                message.state = ShownState::Canceled;
            }
            let found: Vec<Shown> = found.into_iter().map(|message| message.clone()).collect();
            dialect.answer(&call, &Answer::Canceled(&found))
        }
        Operation::Probe(probe) => dialect.answer(&call, &Answer::Probed(*probe)),
        other => panic!("{other:?}"),
    }
}

/// Numbers the drafts, and those of one message object from its first one on.
fn store_all(drafts: &[Draft], dialect: &dyn Port, store: &mut Vec<Shown>) -> Vec<Shown> {
    let start = store.len();
    for group in drafts.chunk_by(|a, b| a.group == b.group) {
        for (index, draft) in (0..).zip(group) {
            let mut message = shown(draft, store.len() as u64 + 1, dialect.dialect());
            message.sms.batch = SmsBatch { index, count: group.len() as u32 };
            store.push(message);
        }
    }
    store[start..].to_vec()
}

fn is(message: &Shown, handle: &Handle) -> bool {
    match handle {
        Handle::Message(id) => message.id == *id,
        Handle::Batch(number) => message.batch_number() == number.0,
        Handle::Unknown => false,
    }
}
