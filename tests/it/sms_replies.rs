//! What an application answers to an inbound SMS through the whole daemon: TwiML and Kannel's plain text;
//! and that no answer makes the daemon call or send what the app may not.

use std::time::{Duration, Instant};

use super::support::daemon::{Daemon, Setup};
use super::support::sms_app::{callback, tables};
use super::support::sms_provider::{AUTH_TOKEN, Answer, Record, SmsProvider};

/// An SMS comes in from a person to `+4521000000`.
fn comes_in(daemon: &Daemon, number: u32) {
    let sid = format!("SM{number:031x}a");
    let fields =
        [("MessageSid", &*sid), ("From", "+4512345678"), ("To", "+4521000000"), ("Body", "Hello")];
    assert_eq!(callback(daemon, "/hooks/provider/inbound", &fields, AUTH_TOKEN), 200);
}

fn http(kind: &str, body: &str) -> Answer {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Answer::Raw(Vec::leak(answer.into_bytes()))
}

/// The app, with an account in the dialect of its inbound messages.
fn daemon(provider: &SmsProvider, app: &str, account: &str) -> Daemon {
    let tables = tables(provider)
        .replace("name = \"erp\"\n", &format!("name = \"erp\"\n{app}"))
        .replace("[[upstream]]", &format!("{account}[[upstream]]"));
    Daemon::start(&Setup::for_sms(tables))
}

fn twilio(application: &SmsProvider) -> String {
    format!(
        "[app.sms.twilio]\naccount_sid = \"AC{}\"\nauth_token = \"wordword\"\ninbound_url = \"{}inbound\"\n",
        "b".repeat(32),
        application.url()
    )
}

/// Waits until the log says this so often.
fn wait_for_log(daemon: &Daemon, what: &str, times: usize) {
    let started = Instant::now();
    while daemon.log().matches(what).count() < times {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}: {}", daemon.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn asked_for(to: &'static str) -> impl Fn(&Record) -> bool {
    move |record| record.requests.iter().any(|asked| asked.field("To").as_deref() == Some(to))
}

#[test]
fn a_reply_that_names_a_forbidden_callback_calls_nobody() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = || runtime.block_on(SmsProvider::start());
    let (provider, application, victim) = (start(), start(), start());
    let daemon = daemon(&provider, "", &twilio(&application));
    let urls = [
        format!("{}latest/meta-data", victim.url()),
        format!("http://localhost:{}/x", victim.address.port()),
        format!("http://[::ffff:127.0.0.1]:{}/x", victim.address.port()),
        format!("http://2130706433:{}/x", victim.address.port()),
        format!("http://127.0.0.1:{}/v1/sms", daemon.sms()),
        "file:///etc/passwd".to_owned(),
        "gopher://127.0.0.1:1/".to_owned(),
    ];
    for (number, url) in (0..).zip(&urls) {
        let twiml = format!(
            "<Response><Message statusCallback=\"{url}\">Thanks {number}</Message></Response>"
        );
        application.answers([http("text/xml", &twiml)]);
        comes_in(&daemon, number);
        let asked = application.requests().len();
        runtime.block_on(application.wait_for(|record| record.requests.len() >= asked.max(1)));
    }
    runtime.block_on(application.wait_for(|record| record.requests.len() == urls.len()));
    let api = daemon.api("operator");
    api.wait_until_nothing_is_pending();
    // The answer reaches the person; its receipts reach nobody.
    wait_for_log(&daemon, "an application was not told; given up", 5);
    assert!(victim.requests().is_empty(), "{:?}", victim.requests());
    assert_eq!(victim.record().connections, 0);
}

#[test]
fn a_reply_goes_where_and_from_where_it_says_and_reports_where_it_may() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = || runtime.block_on(SmsProvider::start());
    let (provider, application) = (start(), start());
    let allowed = format!(
        "callbacks = [\"{}allowed*\"]\noriginators = [\"+4521000000\"]\n",
        application.url()
    );
    let daemon = daemon(&provider, &allowed, &twilio(&application));
    let url = application.url();
    let twiml = format!(
        "<?xml version=\"1.0\"?><Response>\
         <Message to=\"+4587654321\" from=\"+4521000000\" statusCallback=\"{url}allowed?a=1&amp;b=2\">\
         <Body>Two &lt; three</Body></Message>\
         <Message from=\"+4599999999\">not ours to send from</Message>\
         <Message to=\"+4511111111\" statusCallback=\"{url}elsewhere\">quiet</Message></Response>"
    );
    application.answers([http("application/xml", &twiml)]);
    application.always(Answer::Say(200, ""));
    comes_in(&daemon, 1);
    runtime.block_on(provider.wait_for(asked_for("+4587654321")));
    runtime.block_on(provider.wait_for(asked_for("+4511111111")));
    runtime.block_on(application.wait_for(|record| record.requests.len() >= 2));
    let requests = provider.requests();
    assert_eq!(requests.len(), 2, "one was from a number that is not the app's");
    let first = requests.iter().find(|r| r.field("To").as_deref() == Some("+4587654321")).unwrap();
    assert_eq!(first.field("From").as_deref(), Some("+4521000000"));
    assert_eq!(first.field("Body").as_deref(), Some("Two < three"));
    wait_for_log(&daemon, "an application was not told; given up", 1);
    let lines: Vec<String> =
        application.requests().iter().map(|asked| asked.line().to_owned()).collect();
    assert_eq!(lines[0], "POST /inbound");
    assert!(lines[1..].iter().all(|line| line == "POST /allowed?a=1&b=2"), "{lines:?}");
}

#[test]
fn a_kannel_application_answers_with_plain_text() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let start = || runtime.block_on(SmsProvider::start());
    let (provider, application) = (start(), start());
    let account = format!(
        "[app.sms.kannel]\nusername = \"erp\"\npassword = \"wordword\"\n\
         inbound_url = \"{}in?from=%p&to=%P&text=%b\"\n",
        application.url()
    );
    let daemon = daemon(&provider, "", &account);
    application.answers([
        http("text/plain", "Tak for din besked & på gensyn"),
        http("text/plain; charset=utf-8", "ok"),
        http("text/plain", ""),
        http("image/png", "no text"),
    ]);
    for number in 0..4 {
        comes_in(&daemon, number);
        let told = number as usize + 1;
        runtime.block_on(application.wait_for(|record| record.requests.len() >= told));
    }
    runtime.block_on(provider.wait_for(|record| !record.requests.is_empty()));
    let asked = application.requests();
    assert_eq!(asked[0].line(), "GET /in?from=%2B4512345678&to=%2B4521000000&text=Hello");
    daemon.api("operator").wait_until_nothing_is_pending();
    let requests = provider.requests();
    assert_eq!(requests.len(), 1, "only one of these is an answer");
    assert_eq!(requests[0].field("Body").as_deref(), Some("Tak for din besked & på gensyn"));
    assert_eq!(requests[0].field("To").as_deref(), Some("+4512345678"));
    assert_eq!(requests[0].field("From").as_deref(), Some("+4521000000"));
}
