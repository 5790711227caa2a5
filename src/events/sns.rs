//! What Amazon SNS posts: an envelope with a signature, whose certificate lies at a URL that it names.
//!
//! A call is proven in two steps: `read` says from where a certificate is needed, and whoever fetched it
//! has the call proven by it. What it keeps: a certificate comes over HTTPS from the SNS of the topic's own
//! region and from nowhere else, and nothing else is confirmed either; no other topic than the configured
//! one is read. The certificate is believed because of where it came from, as Amazon's own clients do it.
//! Signatures of version 1 (SHA-1, which is what SNS does unless a topic says otherwise) and 2 (SHA-256)
//! are RSA with PKCS#1 padding.

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;
use serde_json::Value;
use url::Url;

use super::event::MailEvent;
use super::{EventCall, EventRefusal, field, ses};
use crate::model::Timestamp;

/// What a URL asks SNS to do that confirms a subscription.
const CONFIRM: &str = "ConfirmSubscription";

/// A topic by its full name: `arn:aws:sns:eu-west-1:123456789012:waybill`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    arn: String,
    /// Of the SNS of its region.
    host: String,
}

impl Topic {
    /// `None` when it is none.
    pub fn parse(text: &str) -> Option<Topic> {
        let [arn, partition, service, region, account, name] =
            text.split(':').collect::<Vec<_>>()[..]
        else {
            return None;
        };
        let zone = match partition {
            "aws" | "aws-us-gov" => "amazonaws.com",
            "aws-cn" => "amazonaws.com.cn",
            _ => return None,
        };
        let is_word = |text: &str, more: &[u8]| {
            let is_in = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            !text.is_empty() && text.len() <= 256 && text.bytes().all(is_in)
        };
        let is_topic = arn == "arn"
            && service == "sns"
            && is_word(region, b"-")
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && is_word(name, b"-_.");
        let host = format!("sns.{}.{zone}", region.to_ascii_lowercase());
        is_topic.then(|| Topic { arn: text.to_owned(), host })
    }

    /// The full name.
    pub fn as_str(&self) -> &str {
        &self.arn
    }

    /// Whether a URL leads to the SNS of this topic's region.
    fn is_at_home(&self, url: &Url) -> bool {
        url.scheme() == "https"
            && url.host_str() == Some(&self.host)
            && url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
    }
}

/// An envelope that is not proven yet.
#[derive(Debug)]
pub struct SnsMessage {
    kind: Kind,
    certificate_url: Url,
    signature: Vec<u8>,
    is_sha256: bool,
    signed: String,
    key: String,
    now: Timestamp,
}

#[derive(Debug)]
enum Kind {
    /// Holds an event of SES.
    Notification(String),
    /// The topic asks whether it may call; the URL says yes.
    Confirmation(Url),
    /// It will call no more.
    Farewell,
}

impl Kind {
    /// The names of what is signed, in order.
    fn signed(&self) -> &'static [&'static str] {
        match self {
            Kind::Notification(_) => {
                &["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
            }
            Kind::Confirmation(_) | Kind::Farewell => {
                &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
            }
        }
    }
}

/// What a proven call says.
#[derive(Debug, PartialEq, Eq)]
pub enum Proven {
    Events(Vec<MailEvent>),
    /// To be fetched, so that the topic begins to call.
    Confirm(Url),
}

pub(super) fn read(topic: &Topic, call: &EventCall<'_>) -> Result<Box<SnsMessage>, EventRefusal> {
    let document = field::document(call.body)?;
    let of = |name: &str| document.get(name).and_then(Value::as_str);
    // Before anything is fetched for a stranger.
    if of("TopicArn") != Some(topic.as_str()) {
        return Err(EventRefusal::Forged);
    }
    let home = |name: &str| {
        let url = of(name).and_then(|url| Url::parse(url).ok());
        url.filter(|url| topic.is_at_home(url)).ok_or(EventRefusal::Forged)
    };
    let certificate_url = home("SigningCertURL")?;
    if !is_certificate(&certificate_url) {
        return Err(EventRefusal::Forged);
    }
    let is_sha256 = match of("SignatureVersion") {
        Some("1") => false,
        Some("2") => true,
        Some(_) | None => return Err(EventRefusal::Forged),
    };
    let signature = of("Signature").and_then(|text| BASE64_STANDARD.decode(text).ok());
    let kind = match of("Type") {
        Some("Notification") => {
            Kind::Notification(of("Message").ok_or(EventRefusal::Malformed)?.to_owned())
        }
        Some("SubscriptionConfirmation") => {
            let url = home("SubscribeURL")?;
            if !url.query_pairs().any(|(name, value)| name == "Action" && value == CONFIRM) {
                return Err(EventRefusal::Forged);
            }
            Kind::Confirmation(url)
        }
        Some("UnsubscribeConfirmation") => Kind::Farewell,
        Some(_) | None => return Err(EventRefusal::Malformed),
    };
    // A notification without a subject is signed without one.
    let lines = kind.signed().iter().filter_map(|name| Some(format!("{name}\n{}\n", of(name)?)));
    Ok(Box::new(SnsMessage {
        certificate_url,
        signature: signature.ok_or(EventRefusal::Forged)?,
        is_sha256,
        signed: lines.collect(),
        kind,
        key: field::id(&document, "/MessageId").ok_or(EventRefusal::Malformed)?,
        now: call.now,
    }))
}

/// `/SimpleNotificationService-0123456789abcdef.pem`
fn is_certificate(url: &Url) -> bool {
    let name = url.path().strip_prefix("/SimpleNotificationService-");
    let digits = name.and_then(|name| name.strip_suffix(".pem"));
    let is_hex = |digits: &str| {
        (8..=64).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit())
    };
    digits.is_some_and(is_hex) && url.query().is_none() && url.fragment().is_none()
}

impl SnsMessage {
    /// Where the certificate lies.
    pub fn certificate_url(&self) -> &Url {
        &self.certificate_url
    }

    /// Holds the call against the certificate (PEM) that was fetched from there, and reads it.
    pub fn prove(self, certificate: &[u8]) -> Result<Proven, EventRefusal> {
        let certificate = CertificateDer::from_pem_slice(certificate);
        let certificate = certificate.map_err(|_| EventRefusal::Forged)?;
        let parsed = ParsedCertificate::try_from(&certificate).map_err(|_| EventRefusal::Forged)?;
        let algorithm: &'static dyn VerificationAlgorithm = match self.is_sha256 {
            true => &RSA_PKCS1_2048_8192_SHA256,
            false => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
        };
        UnparsedPublicKey::new(algorithm, parsed.subject_public_key_info().as_ref())
            .verify(self.signed.as_bytes(), &self.signature)
            .map_err(|_| EventRefusal::Forged)?;
        match self.kind {
            Kind::Notification(message) => {
                ses::read(&message, &self.key, self.now).map(Proven::Events)
            }
            Kind::Confirmation(url) => Ok(Proven::Confirm(url)),
            Kind::Farewell => Ok(Proven::Events(Vec::new())),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
    use http::HeaderMap;
    use serde_json::json;

    use super::super::field::tests::call;
    use super::*;

    const ARN: &str = "arn:aws:sns:eu-west-1:123456789012:waybill";
    const CERTIFICATE: &str =
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem";

    /// A certificate and what signs in its name.
    fn signer() -> (String, RsaKeyPair) {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let parameters = rcgen::CertificateParams::new(vec!["sns.amazonaws.com".into()]).unwrap();
        let certificate = parameters.self_signed(&pair).unwrap();
        (certificate.pem(), RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap())
    }

    fn sign(signer: &RsaKeyPair, mut message: Value, names: &[&str]) -> Vec<u8> {
        let lines =
            names.iter().filter_map(|n| Some(format!("{n}\n{}\n", message.get(n)?.as_str()?)));
        let text: String = lines.collect();
        let mut signature = vec![0; signer.public_modulus_len()];
        let random = SystemRandom::new();
        signer.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
        message["Signature"] = BASE64_STANDARD.encode(signature).into();
        message.to_string().into_bytes()
    }

    fn notification(message: &str) -> Value {
        json!({
            "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": ARN,
            "Message": message, "Timestamp": "2012-05-02T00:54:06.655Z", "SignatureVersion": "2",
            "SigningCertURL": CERTIFICATE, "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe"
        })
    }

    const NAMES: [&str; 6] = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"];
    const ASKS: [&str; 7] =
        ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];

    fn take(body: &[u8], certificate: &str) -> Result<Proven, EventRefusal> {
        let topic = Topic::parse(ARN).unwrap();
        read(&topic, &call(&HeaderMap::new(), body))?.prove(certificate.as_bytes())
    }

    #[test]
    fn a_certificate_is_fetched_from_the_topics_own_sns_alone() {
        for wrong in [
            "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
            "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
            "https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-0123456789abcdef.pem",
            "https://evil.example/sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
            "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-0123456789abcdef.pem",
            "https://x@sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
            "https://sns.eu-west-1.amazonaws.com:444/SimpleNotificationService-0123456789abcdef.pem",
            "https://sns.eu-west-1.amazonaws.com/?SimpleNotificationService-0123456789abcdef.pem",
            "https://sns.eu-west-1.amazonaws.com/a/../bucket/SimpleNotificationService-0123456789abcdef.pem",
            "https://s3.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem",
            "",
        ] {
            let mut message = notification("{}");
            message["SigningCertURL"] = wrong.into();
            message["Signature"] = "AAAA".into();
            let refused = take(message.to_string().as_bytes(), "");
            assert_eq!(refused, Err(EventRefusal::Forged), "{wrong}");
        }
        for wrong in [
            "",
            "arn:aws:sns:eu-west-1:123456789012",
            "arn:aws:sqs:eu-west-1:123456789012:x",
            "arn:aws:sns:evil.example/:123456789012:x",
            "arn:other:sns:eu-west-1:123456789012:x",
        ] {
            assert_eq!(Topic::parse(wrong), None, "{wrong}");
        }
        let china = Topic::parse("arn:aws-cn:sns:cn-north-1:123456789012:x").unwrap();
        assert_eq!(china.host, "sns.cn-north-1.amazonaws.com.cn");
    }

    #[test]
    fn only_what_sns_signed_for_this_topic_is_believed() {
        let (certificate, pair) = signer();
        let good = sign(&pair, notification(r#"{"eventType":"Send","mail":{}}"#), &NAMES);
        assert_eq!(take(&good, &certificate), Ok(Proven::Events(Vec::new())));
        assert_eq!(take(&good, "x"), Err(EventRefusal::Forged));
        assert_eq!(take(&good, &signer().0), Err(EventRefusal::Forged));
        let change = |name: &str, value: &str| {
            let mut message: Value = serde_json::from_slice(&good).unwrap();
            message[name] = value.into();
            take(message.to_string().as_bytes(), &certificate)
        };
        for (name, value) in [
            ("Message", "{}"),
            ("MessageId", "other"),
            ("Subject", "more"),
            ("Timestamp", "2013-05-02T00:54:06.655Z"),
            ("TopicArn", "arn:aws:sns:eu-west-1:123456789012:other"),
            ("SignatureVersion", "1"),
            ("SignatureVersion", "3"),
            ("Type", "UnsubscribeConfirmation"),
        ] {
            assert_eq!(change(name, value), Err(EventRefusal::Forged), "{name}");
        }
        let mut with_subject = notification(r#"{"eventType":"Send","mail":{}}"#);
        with_subject["Subject"] = "Amazon SES".into();
        assert!(take(&sign(&pair, with_subject, &NAMES), &certificate).is_ok());
    }

    #[test]
    fn a_subscription_is_confirmed_at_the_topics_own_sns_alone() {
        let (certificate, pair) = signer();
        let ask = |url: &str| {
            let mut message = notification("You have chosen to subscribe");
            message["Type"] = "SubscriptionConfirmation".into();
            message["Token"] = "2336412f37f".into();
            message["SubscribeURL"] = url.into();
            take(&sign(&pair, message, &ASKS), &certificate)
        };
        for wrong in [
            "https://evil.example/?Action=ConfirmSubscription",
            "https://sns.eu-west-1.amazonaws.com/?Action=Publish",
            "https://169.254.169.254/?Action=ConfirmSubscription",
        ] {
            assert_eq!(ask(wrong), Err(EventRefusal::Forged), "{wrong}");
        }
        let good =
            "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37f";
        assert_eq!(ask(good), Ok(Proven::Confirm(Url::parse(good).unwrap())));
    }
}
