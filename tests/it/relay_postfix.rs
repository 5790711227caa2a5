//! Postfix as the smarthost, with TLS and AUTH, that passes on to a sink of ours.
//!
//! Skipped where Postfix is not installed or the caller is not root.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tempfile::TempDir;
use waybill::relay::settings::{SmtpUpstream, UpstreamTls};

use crate::support::daemon::free_port;
use crate::support::postfix::{Postfix, PostfixSettings};
use crate::support::sink::{Script, Sink};
use crate::support::tls::Authority;
use crate::support::tools;
use crate::support::upstream::{
    MESSAGE, assert_outcomes, attempt, credential, relay, settings, transaction,
};

struct Smarthost {
    _postfix: Postfix,
    /// Postfix runs as several users, so its files are not in a folder of root's alone.
    folder: TempDir,
    port: u16,
}

/// Certificate and key for `localhost`, readable by Postfix.
fn certificate(folder: &TempDir, authority: &Authority) -> (PathBuf, PathBuf) {
    let (certificate, key) = authority.issue("localhost");
    let paths = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&paths.0, certificate.pem()).unwrap();
    std::fs::write(&paths.1, key.serialize_pem()).unwrap();
    paths
}

/// A Postfix that wants TLS and AUTH; `None`, and a line that says why, where there is none.
async fn start(authority: &Authority, sink: &Sink) -> Option<Smarthost> {
    let folder = TempDir::new().unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let port = free_port();
    let settings = PostfixSettings {
        listen: port,
        relay_to: sink.address.port(),
        tls: Some(certificate(&folder, authority)),
        credential: Some(("erp".into(), "secret".into())),
    };
    let path = folder.path().to_owned();
    let started = tokio::task::spawn_blocking(move || Postfix::start(&path, &settings)).await;
    match started.unwrap() {
        Ok(postfix) => Some(Smarthost { _postfix: postfix, folder, port }),
        Err(why) => {
            tools::skip(&why);
            None
        }
    }
}

#[tokio::test]
async fn postfix_takes_mail_with_tls_and_auth() {
    let authority = Authority::new();
    let root = authority.file();
    let sink = Sink::start(Script::new()).await;
    let Some(postfix) = start(&authority, &sink).await else { return };
    let address = ([127, 0, 0, 1], postfix.port).into();
    let trusting = SmtpUpstream {
        host: "localhost".into(),
        tls: UpstreamTls::StartTls,
        tls_ca: Some(root.path().into()),
        credential: credential("erp", "secret"),
        ..settings(address)
    };

    let wrong = SmtpUpstream { credential: credential("erp", "guess"), ..trusting.clone() };
    let outcomes = attempt(&relay(wrong), &transaction(&["a@x.test"], MESSAGE)).await;
    assert_outcomes(&outcomes, &["temporary upstream 535 5.7.8"]);
    let without = SmtpUpstream { credential: None, ..trusting.clone() };
    let outcomes = attempt(&relay(without), &transaction(&["a@x.test"], MESSAGE)).await;
    assert!(outcomes[0].contains("access denied"), "{outcomes:?}");

    let relay = relay(trusting);
    let addresses: Vec<String> = (0..500).map(|i| format!("user{i}@x.test")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let many = attempt(&relay, &transaction(&addresses, MESSAGE)).await;
    assert!(many.iter().all(|o| o.starts_with("sent 250 2.0.0 Ok: queued as")), "{:?}", many[0]);

    let body = "Ærlig talt\r\n.\r\n..\r\n \r\nx\r\n".repeat(20_000);
    let message = format!("Subject: INV-2\r\nMessage-Id: <2@x.test>\r\n\r\n{body}");
    let outcomes = attempt(&relay, &transaction(&["b@x.test"], message.as_bytes())).await;
    assert_outcomes(&outcomes, &["sent 250 2.0.0 Ok: queued as"]);
    assert_eq!((relay.state().connections, relay.state().idle), (1, 1));

    // Postfix passes on in parts of fifty recipients.
    let arrived = |record: &crate::support::sink::Record| {
        record.messages.iter().map(|message| message.rcpts.len()).sum::<usize>() == 501
    };
    let record = sink.wait_for(arrived).await;
    let large = record.messages.iter().find(|m| m.bytes.len() > 10_000).unwrap();
    assert!(large.bytes.ends_with(format!("\r\n\r\n{body}").as_bytes()));
    relay.close_idle().await;
    drop(postfix.folder);
}
