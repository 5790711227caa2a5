//! An upstream's settings, and transactions to try on it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use waybill::model::{
    EnvelopeRecipient, ForwardPath, Outcome, Outgoing, ReversePath, Secret, UpstreamName,
};
use waybill::relay::settings::{RelayTimeouts, SmtpUpstream, UpstreamCredential, UpstreamTls};
use waybill::relay::{SmtpRelay, Transaction};

pub const MESSAGE: &[u8] = b"Subject: INV-1\r\n\r\nHello\r\n";

/// In clear, without AUTH, with time enough for a slow machine.
pub fn settings(address: SocketAddr) -> SmtpUpstream {
    let long = Duration::from_secs(20);
    SmtpUpstream {
        name: UpstreamName::parse("sink").unwrap(),
        host: address.ip().to_string(),
        port: address.port(),
        tls: UpstreamTls::Off,
        tls_ca: None,
        credential: None,
        connections: 4,
        rate_per_second: None,
        hostname: "gateway.test".into(),
        timeouts: RelayTimeouts {
            connect: long,
            greeting: long,
            command: long,
            data_start: long,
            data_block: long,
            data_end: long,
            idle: long,
        },
    }
}

/// The same for a peer that will not answer.
pub fn impatient(address: SocketAddr) -> SmtpUpstream {
    let short = Duration::from_millis(400);
    SmtpUpstream {
        timeouts: RelayTimeouts {
            connect: short,
            greeting: short,
            command: short,
            data_start: short,
            data_block: short,
            data_end: short,
            idle: short,
        },
        ..settings(address)
    }
}

pub fn credential(username: &str, password: &str) -> Option<UpstreamCredential> {
    Some(UpstreamCredential { username: username.into(), password: Secret::new(password.into()) })
}

pub fn relay(settings: SmtpUpstream) -> SmtpRelay {
    SmtpRelay::new(settings).unwrap()
}

pub fn recipient(address: &str) -> EnvelopeRecipient {
    EnvelopeRecipient { path: ForwardPath::parse(address).unwrap(), notify: None, original: None }
}

pub fn transaction(recipients: &[&str], message: &[u8]) -> Transaction {
    Transaction {
        reverse_path: ReversePath::parse("anna@example.com").unwrap(),
        recipients: recipients.iter().map(|address| recipient(address)).collect(),
        eight_bit: !message.is_ascii(),
        smtputf8: false,
        ret: None,
        envid: None,
        message: Outgoing::new(vec![Bytes::copy_from_slice(message)]),
    }
}

/// `sent 250 2.0.0 …` or `temporary session 421 …`, and the detail where there is no reply.
pub fn words(outcome: &Outcome) -> String {
    let told = |reply: &Option<waybill::model::Reply>, detail: &str| {
        reply.as_ref().map_or_else(|| detail.to_owned(), ToString::to_string)
    };
    match outcome {
        Outcome::Sent { reply, .. } => format!("sent {reply}"),
        Outcome::Rejected { reply, .. } => format!("rejected {reply}"),
        Outcome::Temporary { scope, reply, detail } => {
            format!("temporary {scope:?} {}", told(reply, detail)).to_lowercase()
        }
        Outcome::Permanent { scope, reply, detail } => {
            format!("permanent {scope:?} {}", told(reply, detail)).to_lowercase()
        }
        Outcome::Unknown { detail } => format!("unknown {detail}"),
    }
}

/// One attempt, in words.
pub async fn attempt(relay: &SmtpRelay, transaction: &Transaction) -> Vec<String> {
    let outcomes = tokio::time::timeout(Duration::from_secs(30), relay.attempt(transaction)).await;
    let outcomes = outcomes.expect("an attempt must end");
    assert_eq!(outcomes.len(), transaction.recipients.len());
    outcomes.iter().map(words).collect()
}

/// Each outcome begins with its expected words.
#[track_caller]
pub fn assert_outcomes(outcomes: &[String], expected: &[&str]) {
    let same = outcomes.len() == expected.len()
        && outcomes.iter().zip(expected).all(|(outcome, words)| outcome.starts_with(words));
    assert!(same, "expected {expected:#?}, got {outcomes:#?}");
}
