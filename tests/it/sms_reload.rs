//! SIGHUP: accounts, originators, callbacks and flows of SMS are those of the new file from then on.

use std::time::{Duration, Instant};

use super::support::api::Api;
use super::support::daemon::{Daemon, Setup};
use super::support::sms_app::{TOKEN, callback, port, tables};
use super::support::sms_provider::{AUTH_TOKEN, Answer, Record, SmsProvider};

const READ: &str = "the configuration was read again";

/// Writes what `change` makes of the file, and waits until the daemon has read it.
fn reload(daemon: &Daemon, change: impl FnOnce(String) -> String) {
    let times = || daemon.log().matches(READ).count();
    let before = times();
    let text = std::fs::read_to_string(daemon.config()).unwrap();
    std::fs::write(daemon.config(), change(text)).unwrap();
    let signal = ["-HUP", &daemon.pid().to_string()].map(str::to_owned);
    std::process::Command::new("kill").args(signal).status().unwrap();
    let started = Instant::now();
    while times() == before {
        assert!(started.elapsed() < Duration::from_secs(30), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn send(port: &Api, from: &str, more: &str) -> u16 {
    let body = format!(r#"{{"to": "+4512345678", "from": "{from}", "text": "Hello"{more}}}"#);
    port.post("/v1/sms", &body).unwrap().status
}

fn comes_in(daemon: &Daemon, number: u32) {
    let sid = format!("SM{number:032x}");
    let fields =
        [("MessageSid", &*sid), ("From", "+4512345678"), ("To", "+4521000000"), ("Body", "Hello")];
    assert_eq!(callback(daemon, "/hooks/provider/inbound", &fields, AUTH_TOKEN), 200);
}

#[test]
fn accounts_and_originators_change_without_a_restart() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let (old, new) = (port(&daemon), Api::new(daemon.sms(), Some("another-token".to_owned())));
    assert_eq!((send(&old, "Example", ""), send(&new, "Example", "")), (201, 401));
    reload(&daemon, |text| {
        let text = text.replace(TOKEN, "another-token");
        text.replace("name = \"erp\"\n", "name = \"erp\"\noriginators = [\"Shop\"]\n")
    });
    assert_eq!(send(&old, "Shop", ""), 401, "the old token is still good");
    assert_eq!((send(&new, "Example", ""), send(&new, "Shop", "")), (403, 201));
    // A file with a mistake changes nothing.
    let good = std::fs::read_to_string(daemon.config()).unwrap();
    std::fs::write(daemon.config(), good.replace("[app.sms.waybill]", "[app.sms.nobody]")).unwrap();
    let signal = ["-HUP", &daemon.pid().to_string()].map(str::to_owned);
    std::process::Command::new("kill").args(signal).status().unwrap();
    let started = Instant::now();
    while !daemon.log().contains("the old configuration stays") {
        assert!(started.elapsed() < Duration::from_secs(30), "{}", daemon.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(send(&new, "Shop", ""), 201);
}

#[test]
fn callbacks_and_flows_change_without_a_restart() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let application = runtime.block_on(SmsProvider::start());
    application.always(Answer::Say(200, ""));
    let daemon = Daemon::start(&Setup::for_sms(tables(&provider)));
    let (erp, url) = (port(&daemon), application.url());
    let with_receipts = format!(r#", "callback": "{url}status""#);
    comes_in(&daemon, 1);
    assert_ne!(send(&erp, "Example", &with_receipts), 201, "only public addresses are called");
    reload(&daemon, |text| {
        let allowed = format!("name = \"erp\"\ncallbacks = [\"{url}*\"]\n");
        let inbound = format!("token = \"{TOKEN}\"\ninbound_url = \"{url}inbound\"\n");
        text.replace("name = \"erp\"\n", &allowed)
            .replace(&format!("token = \"{TOKEN}\"\n"), &inbound)
            + &format!("\n[[flow]]\non = \"sms.received\"\nwebhook = {{ url = \"{url}flow\" }}\n")
    });
    comes_in(&daemon, 2);
    let has = |path: &str| {
        let line = format!("POST {path}");
        move |record: &Record| record.requests.iter().any(|asked| asked.line() == line)
    };
    runtime.block_on(application.wait_for(has("/inbound")));
    runtime.block_on(application.wait_for(has("/flow")));
    assert_eq!(send(&erp, "Example", &with_receipts), 201);
    runtime.block_on(application.wait_for(has("/status")));
    reload(&daemon, |text| text.split("\n[[flow]]").next().unwrap().to_owned());
    let told = |record: &Record, path: &str| {
        record.requests.iter().filter(|asked| asked.line() == path).count()
    };
    let before = application.record();
    let (flows, inbound) = (told(&before, "POST /flow"), told(&before, "POST /inbound"));
    comes_in(&daemon, 3);
    runtime.block_on(application.wait_for(|record| told(record, "POST /inbound") > inbound));
    assert_eq!(told(&application.record(), "POST /flow"), flows, "the flow is gone");
}
