//! What the SMS port promises in each of its dialects: a call once, no secret in the archive, and an
//! answer to whatever somebody sends.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use waybill::model::{Dialect, Secret};
use waybill::policy::App;
use waybill::sms::account::{CallbackUrls, KannelAccount, TokenAccount, VonageAccount};

use crate::support::sms_port::{SmsGateway, answer, app, send, sid};

/// With an account in every dialect.
pub fn everywhere() -> App {
    let mut app = app("erp", 'a');
    app.sms.accounts.vonage = Some(VonageAccount {
        api_key: "key1".into(),
        api_secret: Secret::new("hidden-vonage".into()),
        signature: None,
        callbacks: CallbackUrls::default(),
    });
    app.sms.accounts.kannel = Some(KannelAccount {
        username: "erp".into(),
        password: Secret::new("hidden-kannel".into()),
        callbacks: CallbackUrls::default(),
    });
    app.sms.accounts.waybill = Some(TokenAccount {
        token: Secret::new("hidden-waybill".into()),
        callback_secret: None,
        callbacks: CallbackUrls::default(),
    });
    app
}

pub fn post(path: &str, extra: &str, kind: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\n{extra}content-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One message to `+4512345678` in a dialect.
fn one(dialect: Dialect) -> Vec<u8> {
    let form = "application/x-www-form-urlencoded";
    let json = "application/json";
    match dialect {
        Dialect::Twilio => send(&sid('a'), "token", "To=%2B4512345678&From=Example&Body=Hello"),
        Dialect::Vonage => {
            let fields =
                "api_key=key1&api_secret=hidden-vonage&to=4512345678&from=Example&text=Hello";
            post("/d/vonage/sms/json", "", form, fields)
        }
        Dialect::Kannel => b"GET /d/kannel/cgi-bin/sendsms?username=erp&password=hidden-kannel\
              &to=4512345678&from=Example&text=Hello HTTP/1.1\r\nhost: x\r\n\r\n"
            .to_vec(),
        Dialect::GatewayApi => {
            let body =
                r#"{"message":"Hello","sender":"Example","recipients":[{"msisdn":4512345678}]}"#;
            post("/d/gatewayapi/rest/mtsms", "authorization: Token token-of-erp\r\n", json, body)
        }
        Dialect::Waybill => {
            let body = r#"{"from":"Example","to":"+4512345678","text":"Hello"}"#;
            post("/v1/sms", "authorization: Bearer hidden-waybill\r\n", json, body)
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_answers_were_lost_is_one_message_in_every_dialect() {
    for dialect in Dialect::ALL {
        let gateway = SmsGateway::start(vec![everywhere()]).await;
        for _ in 0..9 {
            let mut stream = gateway.connect().await;
            stream.write_all(&one(dialect)).await.unwrap();
            stream.readable().await.unwrap();
        }
        let last = gateway.ask(&one(dialect)).await;
        assert!(last.starts_with("HTTP/1.1 20"), "{dialect:?}: {last}");
        assert_eq!(gateway.messages().len(), 1, "{dialect:?}");
        gateway.ask(&one(dialect)).await;
        assert_eq!(gateway.messages().len(), 2, "{dialect:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_says_the_same_in_every_dialect_and_keeps_no_secret() {
    let gateway = SmsGateway::start(vec![everywhere()]).await;
    for dialect in Dialect::ALL {
        let said = gateway.ask(&one(dialect)).await;
        let message = gateway.messages().pop().unwrap_or_else(|| panic!("{dialect:?}: {said}"));
        let sms = message.medium.sms().unwrap();
        assert_eq!(sms.dialect, dialect, "{said}");
        assert_eq!(sms.destination.to_string(), "+4512345678");
        assert_eq!(sms.originator.as_ref().unwrap().to_string(), "Example");
        assert_eq!((sms.text(), sms.segments), ("Hello", 1));
        let raw = gateway.archive.raw(message.id).unwrap().unwrap();
        let raw = String::from_utf8_lossy(&raw).into_owned();
        for secret in ["hidden-", "token-of", "dG9rZW4", ":token"] {
            assert!(!raw.contains(secret), "{dialect:?}: {raw}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_secrets_are_refused_in_every_dialect() {
    let gateway = SmsGateway::start(vec![everywhere()]).await;
    for dialect in Dialect::ALL {
        let request = String::from_utf8(one(dialect)).unwrap();
        // The same length, so that the rest of the request holds.
        let request = request.replace("hidden-", "guess--").replace("token-of", "guess-of");
        let request = request.replace(&basic("token"), &basic("guess"));
        gateway.ask(request.as_bytes()).await;
        assert!(gateway.messages().is_empty(), "{dialect:?}");
    }
}

fn basic(secret: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(format!("{}:{secret}", sid('a')))
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_sent_gets_an_answer_and_changes_nothing() {
    let gateway = SmsGateway::start(vec![everywhere()]).await;
    let bodies = [
        "",
        "{",
        "[]",
        "null",
        "[[[[[[[[",
        "{\"to\":null,\"from\":{},\"text\":[]}",
        "a=%&b=%zz&=&&&to=%00",
        "\u{0}\u{1}\u{ff}",
        "<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY b \"c\">]><message>&b;</message>",
    ];
    let kinds = ["application/json", "application/x-www-form-urlencoded", "text/xml", "x", ""];
    let paths = [
        "/d/twilio/2010-04-01/Accounts/AC/Messages.json",
        "/d/vonage/sms/json",
        "/d/vonage/sms/xml",
        "/d/kannel/cgi-bin/sendsms",
        "/d/gatewayapi/rest/mtsms",
        "/d/gatewayapi/rest/mtsms/99999999999999999999",
        "/v1/sms",
        "/d/waybill/v1/sms/%2e%2e",
        "/d/twilio/",
        "//d//",
        "*",
    ];
    let mut asks = Vec::new();
    for path in paths {
        for (kind, body) in kinds.iter().flat_map(|kind| bodies.map(|body| (kind, body))) {
            let mut stream = gateway.connect().await;
            let request = post(path, "authorization: Basic !!\r\n", kind, body);
            asks.push(tokio::spawn(async move {
                stream.write_all(&request).await.unwrap();
                let said = answer(&mut stream).await;
                assert!(said.is_empty() || said.starts_with("HTTP/1.1 "), "{said}");
                let request = String::from_utf8_lossy(&request);
                assert!(!said.starts_with("HTTP/1.1 500 "), "{request}: {said}");
            }));
        }
    }
    for ask in asks {
        ask.await.unwrap();
    }
    assert!(gateway.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_batch_is_taken_whole_and_one_more_is_refused() {
    let gateway = SmsGateway::start(vec![everywhere()]).await;
    let call = |count: usize| {
        let to: Vec<String> = (0..count).map(|n| format!("\"+45{:08}\"", 10_000_000 + n)).collect();
        let body = format!(r#"{{"from":"Example","to":[{}],"text":"Hello"}}"#, to.join(","));
        post("/v1/sms", "authorization: Bearer hidden-waybill\r\n", "application/json", &body)
    };
    let over = gateway.ask(&call(10_001)).await;
    assert!(over.starts_with("HTTP/1.1 4"), "{}", &over[..200]);
    assert!(gateway.messages().is_empty());
    let began = std::time::Instant::now();
    let done = gateway.ask(&call(2_000)).await;
    assert!(done.starts_with("HTTP/1.1 201 "), "{}", &done[..200]);
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(gateway.archive.extent().unwrap().messages, 2_000);
}
