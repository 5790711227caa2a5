//! Sample SMS, as applications send them: each through the API that it speaks, over real HTTP.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};

use super::samples::SampleError;
use crate::net::client::{FetchLimits, HttpClient, Reach};
use crate::sms::form::Fields;

/// What the demo's app proves itself with.
pub(super) const TWILIO_SID: &str = "AC11111111111111111111111111111111";
pub(super) const TOKEN: &str = "demo";
/// The number that the samples come from.
pub(super) const OUR_NUMBER: &str = "+4521000000";

/// Submits everything; gives, for each, what it shows and who gets it.
pub(super) async fn submit(port: SocketAddr) -> Result<Vec<(&'static str, String)>, SampleError> {
    let client = HttpClient::new(None).map_err(|error| SampleError::new(&error))?;
    let samples: [(&'static str, &str, Request<Bytes>); 5] = [
        (
            "Twilio's API: a reminder that is delivered, and answered by its recipient",
            "+4520000001",
            twilio(
                port,
                "+4520000001",
                "Your delivery ORD-777 comes tomorrow. Reply YES if you are at home.",
            )?,
        ),
        (
            "Vonage's API: a recipient that is out of reach",
            "+4520000099",
            vonage(port, "4520000099", "Your code is 123456")?,
        ),
        (
            "Kannel's sendsms: long, and in two segments because of its letters",
            "+4520000002",
            kannel(
                port,
                "+4520000002",
                "Спасибо за ваш заказ ORD-778. Мы отправим его сегодня вечером, и он придёт завтра утром.",
            )?,
        ),
        (
            "GatewayAPI: in the alphabet of GSM, Danish letters and all",
            "+4520000003",
            gatewayapi(port, 4_520_000_003, "Hej Søren, din faktura INV-12345 er på vej.")?,
        ),
        (
            "Waybill's own: held until somebody releases it",
            "+4520000004",
            own(port, "+4520000004", "We are open again on Monday.")?,
        ),
    ];
    let mut submitted = Vec::new();
    for (shows, to, request) in samples {
        let answer = client.fetch(request, Reach::Configured, FetchLimits::default()).await;
        let answer = answer.map_err(|error| SampleError::new(&error))?;
        if !answer.status().is_success() {
            let body = String::from_utf8_lossy(answer.body()).into_owned();
            return Err(SampleError::new(&format!("{shows}: {} {body}", answer.status())));
        }
        submitted.push((shows, to.to_owned()));
    }
    Ok(submitted)
}

fn twilio(port: SocketAddr, to: &str, text: &str) -> Result<Request<Bytes>, SampleError> {
    let mut fields = Fields::default();
    fields.push("To", to);
    fields.push("From", OUR_NUMBER);
    fields.push("Body", text);
    let url = format!("http://{port}/2010-04-01/Accounts/{TWILIO_SID}/Messages.json");
    let basic = BASE64_STANDARD.encode(format!("{TWILIO_SID}:{TOKEN}"));
    let request = Request::builder()
        .method(Method::POST)
        .uri(url)
        .header(AUTHORIZATION, format!("Basic {basic}"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    finish(request, fields.encode())
}

fn vonage(port: SocketAddr, to: &str, text: &str) -> Result<Request<Bytes>, SampleError> {
    let mut fields = Fields::default();
    for (name, value) in [
        ("api_key", "demo"),
        ("api_secret", TOKEN),
        ("from", OUR_NUMBER),
        ("to", to),
        ("text", text),
    ] {
        fields.push(name, value);
    }
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{port}/sms/json"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    finish(request, fields.encode())
}

fn kannel(port: SocketAddr, to: &str, text: &str) -> Result<Request<Bytes>, SampleError> {
    let mut fields = Fields::default();
    for (name, value) in [
        ("username", "demo"),
        ("password", TOKEN),
        ("from", OUR_NUMBER),
        ("to", to),
        ("text", text),
        ("charset", "UTF-8"),
    ] {
        fields.push(name, value);
    }
    let url = format!("http://{port}/cgi-bin/sendsms?{}", fields.encode());
    finish(Request::builder().uri(url), String::new())
}

fn gatewayapi(port: SocketAddr, to: u64, text: &str) -> Result<Request<Bytes>, SampleError> {
    let body = serde_json::json!({
        "sender": OUR_NUMBER, "message": text, "recipients": [{"msisdn": to}],
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{port}/rest/mtsms?token={TOKEN}"))
        .header(CONTENT_TYPE, "application/json");
    finish(request, body.to_string())
}

fn own(port: SocketAddr, to: &str, text: &str) -> Result<Request<Bytes>, SampleError> {
    let body = serde_json::json!({
        "from": OUR_NUMBER, "to": to, "text": text, "hold": "manual", "tag": "opening-hours",
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://{port}/v1/sms"))
        .header(AUTHORIZATION, format!("Bearer {TOKEN}"))
        .header(CONTENT_TYPE, "application/json");
    finish(request, body.to_string())
}

fn finish(request: http::request::Builder, body: String) -> Result<Request<Bytes>, SampleError> {
    request.body(Bytes::from(body)).map_err(|error| SampleError::new(&error))
}
