//! Mail providers that tell of events: what proves their calls, calls that are proven, and mail that they took.
//!
//! The forms are those of their documentation: Amazon SNS "Parsing Amazon SNS message formats" and Amazon
//! SES "Contents of event data that Amazon SES publishes to Amazon SNS", Twilio SendGrid "Event Webhook
//! Security Features", Mailgun "Securing webhooks", Postmark "Webhooks overview", Mailjet "Event API:
//! real-time notifications", Brevo "Secure webhook calls".

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{hmac, signature};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use waybill::archive::{ClaimRequest, Judgement};
use waybill::events::{EventSource, Proof, SendGridKey, Topic};
use waybill::feedback::Fetch;
use waybill::lifecycle::RetrySchedule;
use waybill::model::{Digest, Mailbox, MessageId, Outcome, Reply, Secret, Timestamp, UpstreamName};
use waybill::rewrite::VerpKeys;

use super::gateway::{CALLBACK_TOKEN, Gateway};
use super::queue::{message, name};

const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:waybill";
const CERTIFICATE_URL: &str =
    "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem";
const MAILGUN_KEY: &str = "key-that-signs-webhooks";

/// A call: its query, its further header lines and its body.
pub struct ProviderCall {
    pub query: String,
    pub headers: String,
    pub body: String,
}

fn amazon() -> &'static (String, RsaKeyPair) {
    static SIGNER: OnceLock<(String, RsaKeyPair)> = OnceLock::new();
    SIGNER.get_or_init(|| {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let names = vec!["sns.amazonaws.com".into()];
        let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
        (certificate.pem(), RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap())
    })
}

fn sendgrid() -> &'static EcdsaKeyPair {
    static SIGNER: OnceLock<EcdsaKeyPair> = OnceLock::new();
    SIGNER.get_or_init(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
}

/// One upstream of each provider, by its name.
pub fn sources() -> HashMap<UpstreamName, EventSource> {
    let proof = || Proof::Token(Secret::new(CALLBACK_TOKEN.into()));
    let public: PublicKeyX509Der = sendgrid().public_key().as_der().unwrap();
    let key = SendGridKey::parse(&BASE64_STANDARD.encode(public.as_ref())).unwrap();
    let sources = [
        ("ses", EventSource::Ses { topic: Topic::parse(ARN).unwrap() }),
        ("sendgrid", EventSource::SendGrid { key }),
        ("mailgun", EventSource::Mailgun { key: Secret::new(MAILGUN_KEY.into()) }),
        ("mailjet", EventSource::Mailjet { proof: proof() }),
        ("brevo", EventSource::Brevo { proof: proof() }),
        ("mail", EventSource::Postmark { proof: proof() }),
        (
            "other-mail",
            EventSource::Postmark { proof: Proof::Token(Secret::new("another".into())) },
        ),
    ];
    sources.into_iter().map(|(name, of)| (UpstreamName::parse(name).unwrap(), of)).collect()
}

/// What makes the return paths of the mail of these tests.
pub fn return_paths() -> (VerpKeys, Mailbox) {
    (VerpKeys::new(&[5; 32], &[]), Mailbox::parse("bounce@bounces.example.com").unwrap())
}

/// What lies at Amazon's, and nothing else.
pub fn fetch() -> Fetch {
    Arc::new(|url| {
        Box::pin(async move {
            match url.as_str() {
                CERTIFICATE_URL => Ok(Bytes::from_static(amazon().0.as_bytes())),
                _ => Err("nothing else is fetched here".into()),
            }
        })
    })
}

/// A proven call that tells this.
pub fn call(provider: &str, event: &Value, now: Timestamp) -> ProviderCall {
    let body = event.to_string();
    let by_token = |body| ProviderCall {
        query: format!("?token={CALLBACK_TOKEN}"),
        headers: String::new(),
        body,
    };
    match provider {
        "ses" => sns(&body),
        "sendgrid" => signed_by_sendgrid(body),
        "mailgun" => mailgun_with("8e27c6b7b1c6b5a6f0a8d2c14e27c6b7b1c6b5a6f0a8d2c14e", event, now),
        _ => by_token(body),
    }
}

fn sns(message: &str) -> ProviderCall {
    let mut call = json!({"Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": ARN, "Message": message, "Timestamp": "2026-03-02T00:54:06.655Z",
        "SignatureVersion": "2", "SigningCertURL": CERTIFICATE_URL});
    let names = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"];
    let lines = names.map(|name| format!("{name}\n{}\n", call[name].as_str().unwrap()));
    let pair = &amazon().1;
    let mut octets = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    let padding: &'static dyn signature::RsaEncoding = &RSA_PKCS1_SHA256;
    pair.sign(padding, &random, lines.concat().as_bytes(), &mut octets).unwrap();
    call["Signature"] = BASE64_STANDARD.encode(octets).into();
    ProviderCall { query: String::new(), headers: String::new(), body: call.to_string() }
}

fn signed_by_sendgrid(body: String) -> ProviderCall {
    let at = "1772409600";
    let text = [at.as_bytes(), body.as_bytes()].concat();
    let signature = BASE64_STANDARD.encode(sendgrid().sign(&SystemRandom::new(), &text).unwrap());
    let headers = format!(
        "X-Twilio-Email-Event-Webhook-Signature: {signature}\r\nX-Twilio-Email-Event-Webhook-Timestamp: {at}\r\n"
    );
    ProviderCall { query: String::new(), headers, body }
}

/// With a token of one's choice.
pub fn mailgun_with(token: &str, event: &Value, now: Timestamp) -> ProviderCall {
    let at = (now.as_millis() / 1000).to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, MAILGUN_KEY.as_bytes());
    let tag = hmac::sign(&key, format!("{at}{token}").as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let signature = json!({"timestamp": at, "token": token, "signature": digits});
    let body = json!({"signature": signature, "event-data": event}).to_string();
    ProviderCall { query: String::new(), headers: String::new(), body }
}

/// A mail to these, claimed for an upstream.
pub async fn claimed(gateway: &Gateway, to: &[&str], by: &str) -> MessageId {
    let id = gateway.archive.accept(message("x", to)).await.unwrap().get();
    claimed_as(gateway, id, to.len() as u16, by).await;
    id
}

/// Claims all of its recipients for an upstream.
pub async fn claimed_as(gateway: &Gateway, id: MessageId, recipients: u16, by: &str) {
    let recipients: Vec<u16> = (0..recipients).collect();
    let now = gateway.clock.now();
    let count = recipients.len();
    let request = ClaimRequest { message: id, recipients, upstream: name(by), rank: 0, now };
    assert_eq!(gateway.archive.claim(request).await.unwrap().len(), count);
}

/// The upstream took it with this reply.
pub async fn judged_with(gateway: &Gateway, id: MessageId, recipients: u16, reply: &str) {
    let outcome = Outcome::Sent {
        reply: Reply::new(250, None, reply),
        digest: Digest::of(b"x"),
        parts: Vec::new(),
        owes_report: false,
    };
    let judgement = Judgement {
        message: id,
        outcomes: (0..recipients).map(|index| (index, outcome.clone())).collect(),
        touch: None,
        is_last_upstream: true,
        hold_unknown: true,
        now: gateway.clock.now(),
    };
    let schedule =
        RetrySchedule { waits: vec![Duration::from_secs(60)], expire: Duration::from_secs(3600) };
    gateway.archive.judge(judgement, Arc::new(schedule)).await.unwrap();
}

/// A mail with this Message-ID, which this upstream took with this reply.
pub async fn sent_by(gateway: &Gateway, by: &str, message_id: &str, reply: &str) -> MessageId {
    let mut mail = message("x", &["kim@example.org"]);
    mail.summary.message_id = Some(message_id.to_owned());
    let id = gateway.archive.accept(mail).await.unwrap().get();
    claimed_as(gateway, id, 1, by).await;
    judged_with(gateway, id, 1, reply).await;
    id
}
