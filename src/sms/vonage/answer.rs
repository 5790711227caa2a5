//! What an application is told: one element for each segment, or one that says what was wrong, as JSON or
//! XML.
//!
//! HTTP is 200 whatever the status, which the vendor's libraries need in order to show the status at
//! all; and the numbers are strings, since they compare them as strings. The balance alone has no
//! element to put an error in, so it answers 401 and 400 as the API does. Vonage: "SMS API errors".

use std::fmt::Write as _;

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::super::call::{Answer, Call, Format, Operation, Refusal, Shown};
use super::super::response;
use super::{digits, part_id};

/// The network of a number is not known here; clients need the field.
const NO_NETWORK: &str = "00000";
/// What a message cost and what is left are the provider's to know; clients need the fields.
const NO_MONEY: &str = "0.00000000";

/// The status of a refusal and the text that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refused {
    status: u8,
    text: String,
}

/// Writes the response to a call.
pub(super) fn write(call: &Call, answer: &Answer<'_>) -> Response<Bytes> {
    if let Operation::Probe(_) = call.operation {
        return balance(answer);
    }
    match answer {
        Answer::Submitted(messages) | Answer::Found(messages) | Answer::Canceled(messages) => {
            accepted(call.format, messages)
        }
        Answer::Redacted(message) => accepted(call.format, std::slice::from_ref(*message)),
        Answer::Listed { page, .. } => accepted(call.format, page),
        Answer::Refused(refusal) => refused(call.format, &explain(refusal)),
        // Nothing in this API asks for them.
        Answer::Deleted | Answer::Probed(_) => accepted(call.format, &[]),
    }
}

/// The response to what is no call of this API.
pub(super) fn no_call(status: StatusCode) -> Response<Bytes> {
    let label = status.canonical_reason().unwrap_or_default();
    response::json(status, &json!({ "error-code": status.as_str(), "error-code-label": label }))
}

fn balance(answer: &Answer<'_>) -> Response<Bytes> {
    let Answer::Refused(refusal) = answer else {
        return response::json(StatusCode::OK, &json!({ "value": 0.0, "autoReload": false }));
    };
    let refused = explain(refusal);
    let status = match refused.status {
        4 | 14 => StatusCode::UNAUTHORIZED,
        1 => StatusCode::TOO_MANY_REQUESTS,
        5 => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({ "error-code": status.as_str(), "error-code-label": refused.text });
    response::json(status, &body)
}

/// One accepted segment.
struct Element<'a> {
    to: String,
    id: String,
    client_reference: Option<&'a str>,
}

fn elements(messages: &[Shown]) -> Vec<Element<'_>> {
    let mut elements = Vec::new();
    for message in messages {
        let total = message.sms.segments.max(1);
        elements.extend((1..=total).map(|part| Element {
            to: digits(&message.sms.destination.to_string()),
            id: part_id(message.id, part, total),
            client_reference: message.sms.client_reference.as_deref(),
        }));
    }
    elements
}

fn accepted(format: Format, messages: &[Shown]) -> Response<Bytes> {
    let elements = elements(messages);
    match format {
        Format::Json | Format::Text | Format::Gateway => {
            let shown: Vec<Value> = elements.iter().map(json_element).collect();
            let count = elements.len().to_string();
            response::json(StatusCode::OK, &json!({ "message-count": count, "messages": shown }))
        }
        Format::Xml => {
            let mut xml = Xml::begin(elements.len());
            for element in &elements {
                xml.open("message");
                xml.field("to", &element.to);
                xml.field("messageId", &element.id);
                xml.field("status", "0");
                xml.field("remainingBalance", NO_MONEY);
                xml.field("messagePrice", NO_MONEY);
                xml.field("network", NO_NETWORK);
                if let Some(reference) = element.client_reference {
                    xml.field("clientRef", reference);
                }
                xml.close("message");
            }
            xml.end()
        }
    }
}

fn json_element(element: &Element<'_>) -> Value {
    let mut shown = json!({
        "to": element.to,
        "message-id": element.id,
        "status": "0",
        "remaining-balance": NO_MONEY,
        "message-price": NO_MONEY,
        "network": NO_NETWORK,
    });
    if let Some(reference) = element.client_reference {
        shown["client-ref"] = Value::from(reference);
    }
    shown
}

fn refused(format: Format, refused: &Refused) -> Response<Bytes> {
    let status = refused.status.to_string();
    match format {
        Format::Json | Format::Text | Format::Gateway => {
            let element = json!({ "status": status, "error-text": refused.text });
            response::json(StatusCode::OK, &json!({ "message-count": "1", "messages": [element] }))
        }
        Format::Xml => {
            let mut xml = Xml::begin(1);
            xml.open("message");
            xml.field("status", &status);
            xml.field("errorText", &refused.text);
            xml.close("message");
            xml.end()
        }
    }
}

/// The status of each refusal. What clients read out of a text stands in it as they look for it.
fn explain(refusal: &Refusal) -> Refused {
    let of = |status, text: String| Refused { status, text };
    match refusal {
        Refusal::RateLimited { retry_after } => {
            let ms = retry_after.as_millis().max(1);
            of(1, format!("Throughput Rate Exceeded - please wait [ {ms} ] and retry"))
        }
        Refusal::NoDestination => of(2, "Missing to param".into()),
        Refusal::NoOriginator => of(2, "Missing from param".into()),
        Refusal::NoBody => of(2, "Missing text or body param".into()),
        Refusal::BadDestination(to) => of(3, format!("Invalid to param: {to}")),
        Refusal::BadSchedule(why) => of(3, format!("Invalid schedule: {why}")),
        Refusal::Field { name, why } => of(3, format!("Invalid {name} param: {why}")),
        Refusal::Malformed(why) => of(3, format!("Invalid request: {why}")),
        Refusal::TooManyDestinations { most } => {
            of(3, format!("Invalid to param: more than {most} numbers"))
        }
        Refusal::Credentials => of(4, "Bad Credentials".into()),
        Refusal::NotNow => of(5, "Internal Error".into()),
        Refusal::Unsupported(what) => of(6, format!("Invalid message: {what} is not supported")),
        Refusal::UnknownMessage => of(6, "Invalid message: there is no such message".into()),
        Refusal::TooLate | Refusal::NotFinished => {
            of(6, "Invalid message: not in its state".into())
        }
        Refusal::KeyReused => of(6, "Invalid message: its key belongs to another one".into()),
        Refusal::OptedOut(to) => of(7, format!("Number barred: {to}")),
        Refusal::TooLong { segments, most } => {
            of(12, format!("Message too long: {segments} parts, at most {most}"))
        }
        Refusal::BadSignature => of(14, "Invalid Signature".into()),
        Refusal::BadOriginator(from) => of(15, format!("Invalid sender address: {from}")),
        Refusal::OriginatorNotAllowed(from) => {
            of(15, format!("Illegal Sender Address - rejected: {from}"))
        }
        Refusal::BadCallback(url) => of(23, format!("Invalid callback URL: {url}")),
    }
}

/// A document that grows by whole elements, so that no value can become one.
struct Xml(String);

impl Xml {
    fn begin(count: usize) -> Xml {
        let mut text = String::from("<?xml version='1.0' encoding='UTF-8' ?>");
        // Writing to a string does not fail.
        let _ = write!(text, "<mt-submission-response><messages count=\"{count}\">");
        Xml(text)
    }

    fn open(&mut self, name: &'static str) {
        self.0.extend(["<", name, ">"]);
    }

    fn close(&mut self, name: &'static str) {
        self.0.extend(["</", name, ">"]);
    }

    fn field(&mut self, name: &'static str, value: &str) {
        self.open(name);
        for c in value.chars() {
            match c {
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '&' => self.0.push_str("&amp;"),
                '"' => self.0.push_str("&quot;"),
                // XML 1.0 §2.2 has no place for these, escaped or not.
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => self.0.push(' '),
                c => self.0.push(c),
            }
        }
        self.close(name);
    }

    fn end(mut self) -> Response<Bytes> {
        self.0.push_str("</messages></mt-submission-response>");
        response::document(StatusCode::OK, "application/xml", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header;

    use super::super::tests::{call, shown};
    use super::*;
    use crate::sms::call::Probe;

    fn body(format: Format, answer: &Answer<'_>) -> (u16, String, String) {
        let response = write(&call(format), answer);
        let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = String::from_utf8(response.body().to_vec()).unwrap();
        (response.status().as_u16(), kind, body)
    }

    #[test]
    fn every_refusal_has_its_status_under_http_200() {
        let check = |refusal: Refusal, status: &str, text: &str| {
            let (http, kind, json) = body(Format::Json, &Answer::Refused(&refusal));
            assert_eq!((http, kind.as_str()), (200, "application/json"));
            let json: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["message-count"], "1");
            assert_eq!(json["messages"][0]["status"], status, "{refusal:?}");
            assert_eq!(json["messages"][0]["error-text"], text, "{refusal:?}");
            let (http, kind, xml) = body(Format::Xml, &Answer::Refused(&refusal));
            assert_eq!((http, kind.as_str()), (200, "application/xml"));
            assert!(xml.contains(&format!("<status>{status}</status>")), "{xml}");
        };
        let wait = Refusal::RateLimited { retry_after: Duration::from_millis(250) };
        check(wait, "1", "Throughput Rate Exceeded - please wait [ 250 ] and retry");
        check(Refusal::NoDestination, "2", "Missing to param");
        check(Refusal::NoOriginator, "2", "Missing from param");
        check(Refusal::NoBody, "2", "Missing text or body param");
        check(Refusal::BadDestination("x".into()), "3", "Invalid to param: x");
        let field = Refusal::Field { name: "ttl", why: "no".into() };
        check(field, "3", "Invalid ttl param: no");
        check(Refusal::Malformed("no".into()), "3", "Invalid request: no");
        check(Refusal::Credentials, "4", "Bad Credentials");
        check(Refusal::NotNow, "5", "Internal Error");
        check(Refusal::Unsupported("x"), "6", "Invalid message: x is not supported");
        check(Refusal::OptedOut("45".into()), "7", "Number barred: 45");
        let long = Refusal::TooLong { segments: 9, most: 8 };
        check(long, "12", "Message too long: 9 parts, at most 8");
        check(Refusal::BadSignature, "14", "Invalid Signature");
        check(Refusal::BadOriginator("x".into()), "15", "Invalid sender address: x");
        let other = Refusal::OriginatorNotAllowed("x".into());
        check(other, "15", "Illegal Sender Address - rejected: x");
        check(Refusal::BadCallback("x".into()), "23", "Invalid callback URL: x");
    }

    #[test]
    fn no_value_becomes_xml() {
        let refusal = Refusal::BadDestination("<to>&\"\u{1b}\u{ffff}]]>".into());
        let (_, _, xml) = body(Format::Xml, &Answer::Refused(&refusal));
        assert!(xml.contains("param: &lt;to&gt;&amp;&quot;  ]]&gt;</errorText>"), "{xml}");
    }

    #[test]
    fn there_is_one_element_for_each_segment() {
        let mut message = shown();
        let check = |message: &Shown, expected: &[&str]| {
            let (_, _, json) =
                body(Format::Json, &Answer::Submitted(std::slice::from_ref(message)));
            let json: Value = serde_json::from_str(&json).unwrap();
            let ids: Vec<_> = json["messages"].as_array().unwrap().iter().collect();
            assert_eq!(json["message-count"], expected.len().to_string());
            assert_eq!(
                ids.iter().map(|m| m["message-id"].as_str().unwrap()).collect::<Vec<_>>(),
                expected
            );
            assert!(ids.iter().all(|m| m["status"] == "0" && m["to"] == "4512345678"));
        };
        check(&message, &["00000000000000AB"]);
        message.sms.segments = 3;
        check(&message, &["00000000000000AB1", "00000000000000AB2", "00000000000000AB3"]);
        message.sms.segments = 0;
        check(&message, &["00000000000000AB"]);
    }

    #[test]
    fn an_accepted_message_is_written_to_the_byte() {
        let mut message = shown();
        message.sms.client_reference = Some("INV-1".into());
        let answer = Answer::Submitted(std::slice::from_ref(&message));
        let json = concat!(
            r#"{"message-count":"1","messages":[{"client-ref":"INV-1","message-id":"00000000000000AB","#,
            r#""message-price":"0.00000000","network":"00000","remaining-balance":"0.00000000","#,
            r#""status":"0","to":"4512345678"}]}"#
        );
        assert_eq!(body(Format::Json, &answer).2, json);
        let xml = concat!(
            "<?xml version='1.0' encoding='UTF-8' ?><mt-submission-response>",
            "<messages count=\"1\"><message><to>4512345678</to><messageId>00000000000000AB</messageId>",
            "<status>0</status><remainingBalance>0.00000000</remainingBalance>",
            "<messagePrice>0.00000000</messagePrice><network>00000</network>",
            "<clientRef>INV-1</clientRef></message></messages></mt-submission-response>"
        );
        assert_eq!(body(Format::Xml, &answer).2, xml);
    }

    #[test]
    fn the_balance_says_who_may_not_ask() {
        let probe = Call { operation: Operation::Probe(Probe::Balance), ..call(Format::Json) };
        let of = |answer: &Answer<'_>| {
            let response = write(&probe, answer);
            (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
        };
        assert_eq!(of(&Answer::Refused(&Refusal::Credentials)).0, 401);
        assert_eq!(of(&Answer::Refused(&Refusal::NotNow)).0, 503);
        let expected = r#"{"autoReload":false,"value":0.0}"#.to_owned();
        assert_eq!(of(&Answer::Probed(Probe::Balance)), (200, expected));
    }
}
