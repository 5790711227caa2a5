//! Who may call the SMS port, what it refuses, and what a hostile client can not do to the others.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use waybill::model::RecipientState;
use waybill::policy::{HoldRule, Rate, UrlPattern};

use crate::support::sms_port::{SmsGateway, answer, app, bare_app, send, sid, sid_of, twilio};

const FIELDS: &str = "To=%2B4512345678&From=Example&Body=Hello";

/// Refused, with a status of 4xx, and nothing archived.
async fn refused(gateway: &SmsGateway, request: &[u8]) -> String {
    let before = gateway.messages().len();
    let answer = gateway.ask(request).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert_eq!(gateway.messages().len(), before, "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_are_refused_in_every_field() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    for bad in ["%0D%0AX: y", "%00", "%1B", "%7F", "%C2%85"] {
        for field in ["To", "From", "Body", "StatusCallback"] {
            if field == "Body" && bad.starts_with("%0D") {
                continue;
            }
            let mut fields = String::new();
            for (name, value) in [
                ("To", "%2B4512345678"),
                ("From", "Example"),
                ("Body", "Hello"),
                ("StatusCallback", "https%3A%2F%2F93.184.215.14%2Fa"),
            ] {
                let bad = if name == field { bad } else { "" };
                fields += &format!("&{name}={value}{bad}1");
            }
            refused(&gateway, &send(&sid('a'), "token", &fields[1..])).await;
        }
    }
    let text = send(&sid('a'), "token", &format!("{FIELDS}%0D%0A%09%0CX"));
    assert!(gateway.ask(&text).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_there_for_its_own_app_alone() {
    let gateway = SmsGateway::start(vec![app("erp", 'a'), app("crm", 'b')]).await;
    let message = sid_of(&gateway.ask(&send(&sid('a'), "token", FIELDS)).await);
    let path = format!("Messages/{message}.json");
    for rest in [format!("GET {path}"), format!("DELETE {path}")] {
        let foreign = gateway.ask(&twilio(&sid('b'), "token", &rest, "")).await;
        assert!(foreign.starts_with("HTTP/1.1 404 "), "{foreign}");
    }
    let cancel = format!("POST {path}");
    let foreign = gateway.ask(&twilio(&sid('b'), "token", &cancel, "Status=canceled")).await;
    assert!(foreign.starts_with("HTTP/1.1 404 "), "{foreign}");
    let list = gateway.ask(&twilio(&sid('b'), "token", "GET Messages.json", "")).await;
    assert!(list.contains(r#""messages":[]"#), "{list}");

    let own = gateway.ask(&twilio(&sid('a'), "token", &format!("GET {path}"), "")).await;
    assert!(own.contains(r#""status":"queued""#), "{own}");
    let list = gateway.ask(&twilio(&sid('a'), "token", "GET Messages.json", "")).await;
    assert!(list.contains(&message), "{list}");
    let delete = format!("DELETE {path}");
    let early = gateway.ask(&twilio(&sid('a'), "token", &delete, "")).await;
    assert!(early.contains("20009"), "{early}");
    let canceled = gateway.ask(&twilio(&sid('a'), "token", &cancel, "Status=canceled")).await;
    assert!(canceled.contains(r#""status":"canceled""#), "{canceled}");
    let state = gateway.messages()[0].recipients[0].state.clone();
    assert!(matches!(state, RecipientState::Stopped { by, .. } if by == "app erp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_stands_for_an_app_only_where_it_has_no_account() {
    let mut known = bare_app("known");
    known.networks = vec!["127.0.0.0/8".parse().unwrap()];
    let mut both = app("both", 'c');
    both.networks = vec!["127.0.0.1/32".parse().unwrap()];

    let gateway = SmsGateway::start(vec![app("erp", 'a'), known.clone()]).await;
    let wrong = refused(&gateway, &send(&sid('a'), "guess", FIELDS)).await;
    assert!(wrong.starts_with("HTTP/1.1 401 ") && wrong.contains("20003"), "{wrong}");
    assert!(gateway.ask(&send(&sid('f'), "any", FIELDS)).await.starts_with("HTTP/1.1 201 "));
    assert_eq!(gateway.messages()[0].app.as_str(), "known");
    assert_eq!(gateway.messages()[0].client.authenticated, None);
    assert!(gateway.ask(&send(&sid('a'), "token", FIELDS)).await.starts_with("HTTP/1.1 201 "));
    assert_eq!(gateway.messages()[1].app.as_str(), "erp");

    let gateway = SmsGateway::start(vec![both, known]).await;
    refused(&gateway, &send(&sid('f'), "any", FIELDS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_is_slowed_and_locked_out_and_its_neighbour_is_not() {
    let gateway = SmsGateway::start(vec![app("erp", 'a'), app("crm", 'b')]).await;
    let began = Instant::now();
    let mut guesses = Vec::new();
    for _ in 0..60 {
        let mut stream = gateway.connect().await;
        guesses.push(tokio::spawn(async move {
            stream.write_all(&send(&sid('a'), "guess", FIELDS)).await.unwrap();
            answer(&mut stream).await
        }));
    }
    for guess in guesses {
        assert!(guess.await.unwrap().starts_with("HTTP/1.1 4"));
    }
    assert!(began.elapsed() >= Duration::from_millis(290));
    let locked = refused(&gateway, &send(&sid('a'), "token", FIELDS)).await;
    assert!(locked.starts_with("HTTP/1.1 429 "), "{locked}");
    assert!(gateway.ask(&send(&sid('b'), "token", FIELDS)).await.starts_with("HTTP/1.1 201 "));
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_lead_only_where_they_may() {
    let mut open = app("open", 'b');
    open.sms.callbacks = vec![UrlPattern::new("http://127.0.0.1:9/erp/*")];
    let gateway = SmsGateway::start(vec![app("erp", 'a'), open]).await;
    let with = |account, url: &str| {
        let url: String = url::form_urlencoded::byte_serialize(url.as_bytes()).collect();
        send(&sid(account), "token", &format!("{FIELDS}&StatusCallback={url}"))
    };
    for url in [
        "https://127.0.0.1/a",
        "https://[::1]/a",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/a",
        "https://0x7f.1/a",
        "https://2130706433/a",
        "https://localhost/a",
        "ftp://example.com/a",
        "no url",
    ] {
        refused(&gateway, &with('a', url)).await;
    }
    // A list is all there is: what is accepted here is what will be called.
    for url in [
        "http://127.0.0.1:9/other",
        "http://user@127.0.0.1:9/erp/a",
        "https://app.example.com/status",
    ] {
        refused(&gateway, &with('b', url)).await;
    }
    let allowed = gateway.ask(&with('b', "http://127.0.0.1:9/erp/a")).await;
    assert!(allowed.starts_with("HTTP/1.1 201 "), "{allowed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_does_not_delay_the_answer_and_a_rate_counts_messages() {
    let mut held = app("held", 'a');
    held.hold = HoldRule::Manual;
    held.rate = Rate { per_minute: Some(2), per_day: None };
    let gateway = SmsGateway::start(vec![held]).await;
    let request = send(&sid('a'), "token", FIELDS);
    let began = Instant::now();
    assert!(gateway.ask(&request).await.starts_with("HTTP/1.1 201 "));
    assert!(gateway.ask(&request).await.starts_with("HTTP/1.1 201 "));
    assert!(began.elapsed() < Duration::from_secs(5));
    assert!(matches!(gateway.messages()[0].recipients[0].state, RecipientState::Held { .. }));
    let over = refused(&gateway, &request).await;
    assert!(over.starts_with("HTTP/1.1 429 "), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_to_many_numbers_is_all_of_them_or_none() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    let call = |numbers: &[&str]| {
        let recipients: Vec<String> =
            numbers.iter().map(|number| format!(r#"{{"msisdn":"{number}"}}"#)).collect();
        let body = format!(
            r#"{{"message":"Hi INV-12345","sender":"Example","recipients":[{}]}}"#,
            recipients.join(",")
        );
        format!(
            "POST /d/gatewayapi/rest/mtsms HTTP/1.1\r\nhost: x\r\nauthorization: Token token-of-erp\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    refused(&gateway, call(&["4512345678", "12"]).as_bytes()).await;
    let done = gateway.ask(call(&["4512345678", "4512345679"]).as_bytes()).await;
    assert!(done.starts_with("HTTP/1.1 200 "), "{done}");
    let messages = gateway.messages();
    let places: Vec<_> = messages.iter().map(|m| m.medium.sms().unwrap().batch).collect();
    assert_eq!(places.iter().map(|b| (b.index, b.count)).collect::<Vec<_>>(), [(0, 2), (1, 2)]);
    assert_eq!(messages[1].references[0].as_str(), "INV-12345");
    assert!(!messages[0].summary.preview.is_empty());
    let raw = gateway.archive.raw(messages[1].id).unwrap().unwrap();
    let raw = String::from_utf8_lossy(&raw).into_owned();
    assert!(raw.contains("INV-12345") && !raw.contains("token-of-erp"), "{raw}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_nobodys_is_told_where_to_go() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    let answer = gateway.ask(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("/d/twilio/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused_in_the_dialect() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    let head = |length: &str| {
        format!(
            "POST /2010-04-01/Accounts/{}/Messages.json HTTP/1.1\r\nhost: x\r\n\
             content-type: application/x-www-form-urlencoded\r\n{length}\r\n\r\n",
            sid('a')
        )
    };
    let said = gateway.ask(head("content-length: 5000000").as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 413 ") && said.contains(r#""code""#), "{said}");
    let mut stream = gateway.connect().await;
    stream.write_all(head("transfer-encoding: chunked").as_bytes()).await.unwrap();
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    for _ in 0..80 {
        if stream.write_all(chunk.as_bytes()).await.is_err() {
            break;
        }
    }
    drop(stream);
    assert!(gateway.messages().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_idle_connections_do_not_hinder() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    let mut idle = Vec::new();
    for number in 0..500 {
        let mut stream = gateway.connect().await;
        if number % 2 == 0 {
            stream.write_all(b"POST /2010-04-01/Acc").await.unwrap();
        }
        idle.push(stream);
    }
    let began = Instant::now();
    assert!(gateway.ask(&send(&sid('a'), "token", FIELDS)).await.starts_with("HTTP/1.1 201 "));
    assert!(began.elapsed() < Duration::from_secs(5));
}
