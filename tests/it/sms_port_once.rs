//! A call whose answer was lost is made once, however often it comes; calls whose answers arrived are
//! as many messages as there were calls.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::sms_port::{SmsGateway, answer, app, copy, send, sid, sid_of, twilio};

const CODE: &str = "To=%2B4512345678&From=Example&Body=Your+code+is+4711";

/// How a client leaves without its answer.
#[derive(Clone, Copy, Debug)]
enum Leaving {
    /// It closes as soon as it has written.
    AtOnce,
    /// It gives up after a moment.
    Soon,
    /// The answer lies there, and it closes without reading it.
    Unread,
    /// A reset instead of an end.
    Reset,
}

async fn leave(mut stream: TcpStream, how: Leaving) {
    match how {
        Leaving::AtOnce => {}
        Leaving::Soon => tokio::time::sleep(Duration::from_millis(2)).await,
        Leaving::Unread => stream.readable().await.unwrap(),
        Leaving::Reset => stream.set_zero_linger().unwrap(),
    }
    if !matches!(how, Leaving::Reset) {
        return drop(stream);
    }
    let _ = stream.flush().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_calls_within_a_second_on_dropped_connections_are_one_message() {
    use Leaving::{AtOnce, Reset, Soon, Unread};
    for how in [AtOnce, Soon, Unread, Reset] {
        let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
        let request = send(&sid('a'), "token", CODE);
        for _ in 0..9 {
            let mut stream = gateway.connect().await;
            stream.write_all(&request).await.unwrap();
            leave(stream, how).await;
        }
        let last = gateway.ask(&request).await;
        assert!(last.starts_with("HTTP/1.1 201 "), "{how:?}: {last}");
        let messages = gateway.messages();
        assert_eq!(messages.len(), 1, "{how:?}");
        let id = u128::from_str_radix(&sid_of(&last)[2..], 16).unwrap();
        assert_eq!(messages[0].id.as_u128(), id, "{how:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_calls_whose_answers_arrived_are_as_many_messages() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    let request = send(&sid('a'), "token", CODE);
    let mut sids = Vec::new();
    for _ in 0..3 {
        sids.push(sid_of(&gateway.ask(&request).await));
    }
    let mut kept = gateway.connect().await;
    for _ in 0..3 {
        kept.write_all(&request).await.unwrap();
        sids.push(sid_of(&answer(&mut kept).await));
    }
    // At the same time, and with the connection before still open.
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut stream = gateway.connect().await;
        let request = request.clone();
        clients.push(tokio::spawn(async move {
            stream.write_all(&request).await.unwrap();
            sid_of(&answer(&mut stream).await)
        }));
    }
    for client in clients {
        sids.push(client.await.unwrap());
    }
    sids.sort();
    sids.dedup();
    assert_eq!(sids.len(), 10);
    assert_eq!(gateway.messages().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_answer_arrived_the_same_call_is_a_new_one() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    let request = send(&sid('a'), "token", CODE);
    let mut lost = gateway.connect().await;
    lost.write_all(&request).await.unwrap();
    leave(lost, Leaving::Unread).await;
    let again = sid_of(&gateway.ask(&request).await);
    let new = sid_of(&gateway.ask(&request).await);
    assert_ne!(again, new);
    assert_eq!(gateway.messages().len(), 2);
    // What differs in anything is another call.
    let mut lost = gateway.connect().await;
    lost.write_all(&request).await.unwrap();
    leave(lost, Leaving::Unread).await;
    gateway.ask(&send(&sid('a'), "token", &CODE.replace("4711", "4712"))).await;
    assert_eq!(gateway.messages().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_before_a_crash_is_not_made_again_after_it() {
    let gateway = SmsGateway::start(vec![app("erp", 'a')]).await;
    let request = send(&sid('a'), "token", CODE);
    let first = sid_of(&gateway.ask(&request).await);
    let other = tempfile::tempdir().unwrap();
    copy(gateway.dir.path(), other.path());
    let after = SmsGateway::over(other, vec![app("erp", 'a')]).await;
    assert_eq!(sid_of(&after.ask(&request).await), first);
    assert_eq!(after.messages().len(), 1);
    assert_ne!(sid_of(&after.ask(&request).await), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_one_call() {
    let gateway = SmsGateway::start(vec![app("erp", 'a'), app("crm", 'b')]).await;
    let keyed = |account: char, fields: &str| {
        let rest = "POST Messages.json\nidempotency-key: order-1\r\n";
        twilio(&sid(account), "token", rest, fields)
    };
    let first = sid_of(&gateway.ask(&keyed('a', CODE)).await);
    assert_eq!(sid_of(&gateway.ask(&keyed('a', CODE)).await), first);
    let other = gateway.ask(&keyed('a', &CODE.replace("4711", "4712"))).await;
    assert!(!other.starts_with("HTTP/1.1 2"), "{other}");
    // The key of another app is another key.
    assert_ne!(sid_of(&gateway.ask(&keyed('b', CODE)).await), first);
    assert_eq!(gateway.messages().len(), 2);
}
