//! Plays a dialog with the SMTP port over a real socket; the door records what it gets.

use std::net::{Ipv4Addr, SocketAddr};

use waybill::model::{EnhancedCode, Reply};
use waybill::smtp::AuthOffer;
use waybill::submission::SmtpSettings;
use waybill::submission::settings::{AuthMode, ListenerTls};

use super::script::{Script, Step, Tls, matches};
use super::{app, describe};
use crate::support::port::{self, Client, PATIENCE, Port};

pub async fn play(script: &Script) {
    let (code, enhanced, text) = &script.setup.door;
    let reply = Reply::new(*code, EnhancedCode::parse(enhanced), text);
    let port = Port::open(settings(script), app(script), reply).await;
    let mut client = port.connect().await;
    if script.setup.tls == Tls::Implicit {
        client = port.handshake(client).await;
    }
    for (number, step) in &script.steps {
        let place = format!("{}:{number} (socket)", script.name);
        match step {
            Step::Handshake => client = port.handshake(client).await,
            step => play_step(&place, step, &mut client, &port).await,
        }
    }
    assert!(!client.has_more().await, "{}: more was said", script.name);
    drop(client);
    assert!(port.stop.finish(PATIENCE).await, "{}: the session does not end", script.name);
}

async fn play_step(place: &str, step: &Step, client: &mut Client, port: &Port) {
    let mut submissions = port.door.submissions.lock().unwrap().clone();
    match step {
        Step::Send(octets) => client.send(octets).await,
        Step::Expect(pattern) => {
            let line = client.line().await;
            assert!(matches(pattern, &line), "{place}: {line:?}, and not {pattern:?}");
        }
        Step::ExpectAll(code) => {
            let line = client.reply().await;
            assert!(line.starts_with(code.as_str()), "{place}: {line:?}, and not {code}");
        }
        Step::Closed => assert!(client.is_closed().await, "{place}: not closed"),
        Step::Envelope(expected) => {
            assert_eq!(describe(&submissions[0].envelope), *expected, "{place}");
        }
        Step::Protocol(expected) => {
            assert_eq!(submissions[0].client.protocol, *expected, "{place}")
        }
        Step::Message(expected) => {
            let content = submissions.remove(0).raw;
            let expected = expected.escape_ascii().to_string();
            assert_eq!(content.escape_ascii().to_string(), expected, "{place}");
            *port.door.submissions.lock().unwrap() = submissions;
        }
        Step::Handshake => unreachable!(),
    }
}

fn settings(script: &Script) -> SmtpSettings {
    let setup = &script.setup;
    let mut settings = port::settings();
    // AUTH in clear is for loopback listeners only; any other address is reached over loopback too.
    let ip = if setup.clear { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = &mut settings.listeners[0];
    listener.listen = SocketAddr::from((ip, 0));
    listener.tls = match setup.tls {
        Tls::Off => ListenerTls::Off,
        Tls::AfterCommand => ListenerTls::StartTls,
        Tls::Implicit => ListenerTls::Implicit,
    };
    listener.auth = match setup.auth {
        AuthOffer::Off => AuthMode::Off,
        AuthOffer::Optional => AuthMode::Optional,
        AuthOffer::Required => AuthMode::Required,
    };
    SmtpSettings {
        max_message_size_bytes: setup.max_size,
        max_recipients: setup.max_recipients,
        max_errors: setup.max_errors,
        bare_newline: setup.newlines,
        ..settings
    }
}
