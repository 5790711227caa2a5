//! Postfix as the smarthost: certificate checked, AUTH required, every byte kept.

use crate::support::certificates::Certificates;
use crate::support::clients::{SENDER, assert_same, message};
use crate::support::daemon::{Daemon, Setup, free_port};
use crate::support::postfix::{Postfix, PostfixSettings};
use crate::support::receiver::{Receiver, without_received};
use crate::support::submitter::Submitter;
use crate::support::tools;

/// A folder that the user postfix may enter, with the certificates in it.
fn postfix(receiver: &Receiver) -> Option<(tempfile::TempDir, Certificates, Postfix, u16)> {
    use std::os::unix::fs::PermissionsExt;
    tools::find("postfix")?;
    tools::find("saslpasswd2")?;
    let folder = tempfile::TempDir::new().unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let certificates = Certificates::make(folder.path());
    let listen = free_port();
    let settings = PostfixSettings {
        listen,
        relay_to: receiver.port(),
        tls: Some((certificates.certificate.clone(), certificates.key.clone())),
        credential: Some(("waybill".to_owned(), "open sesame".to_owned())),
    };
    match Postfix::start(&folder.path().join("postfix"), &settings) {
        Ok(postfix) => Some((folder, certificates, postfix, listen)),
        Err(reason) => {
            tools::skip(&reason);
            None
        }
    }
}

fn upstream(port: u16, authority: &std::path::Path, password: &str) -> String {
    format!(
        "[[upstream]]\nname = \"postfix\"\nkind = \"smtp\"\nhost = \"localhost\"\nport = {port}\ntls = \"starttls\"\n\
         tls_ca = \"{}\"\nusername = \"waybill@peer.test\"\npassword = \"{password}\"\n",
        authority.display()
    )
}

#[test]
fn postfix_relays_for_us_with_tls_and_auth() {
    let receiver = Receiver::start();
    let Some((_folder, certificates, postfix, port)) = postfix(&receiver) else { return };
    let tables = upstream(port, &certificates.authority, "open sesame");
    let setup = Setup { upstream: None, tables, ..Setup::relaying_to(port) };
    let daemon = Daemon::start(&setup);
    let text = message("kim@example.org");
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    let answer = submitter.submit(SENDER, &["kim@example.org"], text.as_bytes()).unwrap();
    let id = answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let sent = daemon.api("viewer").wait_for_status(&id, "sent");
    assert_eq!(sent["recipients"][0]["upstream"], "postfix", "{sent}");
    let arrival = receiver.wait_for("kim@example.org");
    // Postfix puts its own Received before ours.
    let ours = without_received(&arrival.data);
    assert_same(&without_received(&ours), text.as_bytes(), "through Postfix");
    let log = postfix.log();
    assert!(log.contains("sasl_username=waybill@peer.test"), "without AUTH: {log}");
}

#[test]
fn a_refused_password_sends_nothing_and_keeps_the_message() {
    let receiver = Receiver::start();
    let Some((_folder, certificates, _postfix, port)) = postfix(&receiver) else { return };
    let tables = upstream(port, &certificates.authority, "wrong");
    let setup = Setup { upstream: None, tables, ..Setup::relaying_to(port) };
    let daemon = Daemon::start(&setup);
    let mut submitter = Submitter::connect(daemon.smtp()).unwrap();
    let text = message("kim@example.org");
    let answer = submitter.submit(SENDER, &["kim@example.org"], text.as_bytes()).unwrap();
    let id = answer.id().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    let api = daemon.api("viewer");
    let started = std::time::Instant::now();
    while !api.events(&id).iter().any(|event| event["event"] == "deferred") {
        assert!(started.elapsed().as_secs() < 30, "no attempt: {}", api.message(&id));
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(api.message(&id)["status"], "pending");
    assert_eq!(receiver.count(), 0);
}
