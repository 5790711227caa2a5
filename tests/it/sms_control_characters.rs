//! Control characters in any field of any dialect: refused, or nowhere but in the text.

use waybill::model::Dialect;

use super::sms_port_dialects::{everywhere, post};
use super::support::sms_port::{SmsGateway, send, sid};

/// What ends lines, fields or texts for somebody on the way.
const BAD: [&str; 9] =
    ["\r\nX-Injected: 1", "\n", "\r", "\0", "\u{1b}[2J", "\u{7f}", "\u{85}", "\u{9b}", "\u{8}"];

/// The fields of a message in each dialect, with values that are good.
fn fields(dialect: Dialect) -> Vec<(&'static str, &'static str)> {
    let url = "https://8.8.8.8/status";
    match dialect {
        Dialect::Twilio => vec![
            ("To", "+4512345678"),
            ("From", "Example"),
            ("StatusCallback", url),
            ("ValidityPeriod", "60"),
            ("SmartEncoded", "true"),
        ],
        Dialect::Vonage => vec![
            ("to", "4512345678"),
            ("from", "Example"),
            ("client-ref", "INV-1"),
            ("callback", url),
            ("type", "text"),
            ("ttl", "60000"),
            ("message-class", "1"),
        ],
        Dialect::Kannel => vec![
            ("to", "4512345678"),
            ("from", "Example"),
            ("dlr-url", url),
            ("dlr-mask", "31"),
            ("coding", "0"),
            ("charset", "UTF-8"),
            ("validity", "60"),
            ("account", "INV-1"),
            ("mclass", "1"),
        ],
        Dialect::GatewayApi => vec![
            ("sender", "Example"),
            ("userref", "INV-1"),
            ("callback_url", url),
            ("destaddr", "MOBILE"),
            ("class", "standard"),
            ("tags", "a"),
        ],
        Dialect::Waybill => vec![
            ("to", "+4512345678"),
            ("from", "Example"),
            ("reference", "INV-1"),
            ("tag", "pick-up"),
            ("callback", url),
            ("hold", "manual"),
        ],
    }
}

/// A call with these fields and a text.
fn call(dialect: Dialect, fields: &[(&str, String)]) -> Vec<u8> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    let mut object = serde_json::Map::new();
    for (name, value) in fields {
        form.append_pair(name, value);
        object.insert((*name).to_owned(), value.clone().into());
    }
    let form_kind = "application/x-www-form-urlencoded";
    match dialect {
        Dialect::Twilio => send(&sid('a'), "token", &form.append_pair("Body", "Hello").finish()),
        Dialect::Vonage => {
            form.append_pair("api_key", "key1").append_pair("api_secret", "hidden-vonage");
            let body = form.append_pair("text", "Hello").finish();
            post("/d/vonage/sms/json", "", form_kind, &body)
        }
        Dialect::Kannel => {
            form.append_pair("username", "erp").append_pair("password", "hidden-kannel");
            let query = form.append_pair("text", "Hello").finish();
            format!("GET /d/kannel/cgi-bin/sendsms?{query} HTTP/1.1\r\nhost: x\r\n\r\n")
                .into_bytes()
        }
        Dialect::GatewayApi => {
            object.insert("message".into(), "Hello".into());
            object
                .insert("recipients".into(), serde_json::json!([{ "msisdn": 4_512_345_678_u64 }]));
            let body = serde_json::Value::Object(object).to_string();
            let token = "authorization: Token token-of-erp\r\n";
            post("/d/gatewayapi/rest/mtsms", token, "application/json", &body)
        }
        Dialect::Waybill => {
            object.insert("text".into(), "Hello".into());
            let body = serde_json::Value::Object(object).to_string();
            let token = "authorization: Bearer hidden-waybill\r\n";
            post("/v1/sms", token, "application/json", &body)
        }
    }
}

/// Everything of a message that can reach a wire but its text.
fn shown(message: &waybill::archive::Message) -> String {
    let sms = message.medium.sms().unwrap();
    format!(
        "{}\u{1}{}\u{1}{}\u{1}{}\u{1}{}\u{1}{}",
        sms.destination,
        sms.originator.as_ref().map(ToString::to_string).unwrap_or_default(),
        sms.client_reference.as_deref().unwrap_or_default(),
        sms.receipt.as_ref().map(|receipt| receipt.url.as_str()).unwrap_or_default(),
        message.tag.as_ref().map(|tag| tag.as_str()).unwrap_or_default(),
        message.references.iter().map(|r| r.as_str()).collect::<Vec<_>>().join(" "),
    )
    .replace('\u{1}', " ")
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_reach_no_field_of_any_dialect() {
    for dialect in Dialect::ALL {
        let gateway = SmsGateway::start(vec![everywhere()]).await;
        let good: Vec<(&str, String)> =
            fields(dialect).into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        let answer = gateway.ask(&call(dialect, &good)).await;
        assert_eq!(gateway.messages().len(), 1, "{dialect:?} takes what is good: {answer}");
        for (place, (name, value)) in good.iter().enumerate() {
            for bad in BAD {
                for spoilt in [
                    format!("{value}{bad}"),
                    format!("{bad}{value}"),
                    format!("{}{bad}{}", &value[..1], &value[1..]),
                ] {
                    let mut fields = good.clone();
                    fields[place].1 = spoilt.clone();
                    let answer = gateway.ask(&call(dialect, &fields)).await;
                    assert!(answer.starts_with("HTTP/1.1 "), "{dialect:?} {name} {spoilt:?}");
                    assert!(!answer.starts_with("HTTP/1.1 5"), "{dialect:?} {name}: {answer}");
                    let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
                    assert!(!head.contains("x-injected"), "{dialect:?} {name}: {answer}");
                }
            }
        }
        for message in gateway.messages() {
            let shown = shown(&message);
            assert!(!shown.chars().any(char::is_control), "{dialect:?}: {shown:?}");
        }
    }
}
