//! Twilio as a provider: the request that creates a message, and what its response means.
//!
//! Every field goes through the form encoder and the account through the path encoder of the URL, so
//! no value can become another field, another path or another request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use serde_json::Value;
use url::Url;

use super::request::VERSION;
use super::{code, hook};
use crate::model::{FailureReason, Originator, SmsBody};
use crate::sms::account::TwilioAccount;
use crate::sms::form::Fields;
use crate::sms::provider::{
    Callback, CallbackRefusal, Inbound, Judgement, Outbound, Provider, Receipt, retry_after, words,
};

/// Twilio's longest validity, which is its default as well.
const MAX_VALIDITY_S: u64 = 36_000;
const MAX_ID_BYTES: usize = 64;

/// One upstream.
pub struct TwilioUpstream {
    pub url: Url,
    pub account: TwilioAccount,
}

impl Provider for TwilioUpstream {
    fn request(&self, outbound: &Outbound<'_>) -> Result<Request<Bytes>, String> {
        let mut request = Request::new(Bytes::from(form(outbound)?.encode()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint()?;
        let headers = request.headers_mut();
        let media = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, media);
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::AUTHORIZATION, self.credentials()?);
        Ok(request)
    }

    fn judge(&self, response: &Response<Bytes>) -> Judgement {
        judge(response)
    }

    fn status(&self, callback: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        hook::status(&self.account.auth_token, callback)
    }

    fn inbound(&self, callback: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        hook::inbound(&self.account.auth_token, callback)
    }

    fn taken(&self) -> Response<Bytes> {
        hook::taken()
    }
}

impl TwilioUpstream {
    fn endpoint(&self) -> Result<Uri, String> {
        let wrong = || "the URL of this upstream can not be called".to_owned();
        let mut url = self.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.set_username("").map_err(|()| wrong())?;
        url.set_password(None).map_err(|()| wrong())?;
        let account = self.account.account_sid.as_str();
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend([
            VERSION,
            "Accounts",
            account,
            "Messages.json",
        ]);
        url.as_str().parse().map_err(|_| wrong())
    }

    /// RFC 7617 §2: a user name holds no colon.
    fn credentials(&self) -> Result<HeaderValue, String> {
        let TwilioAccount { account_sid, auth_token, .. } = &self.account;
        if account_sid.contains(':') || account_sid.chars().any(char::is_control) {
            return Err("the Account SID of this upstream can not be sent".into());
        }
        let pair = STANDARD.encode(format!("{account_sid}:{}", auth_token.expose()));
        let mut value = HeaderValue::try_from(format!("Basic {pair}"))
            .map_err(|_| "the credentials of this upstream can not be sent".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn form(outbound: &Outbound<'_>) -> Result<Fields, String> {
    let sms = outbound.sms;
    let text = match &sms.body {
        SmsBody::Text(text) if sms.udh.is_empty() => text,
        SmsBody::Text(_) => return Err("Twilio carries no user data header".into()),
        SmsBody::Binary(_) => return Err("Twilio carries no binary messages".into()),
    };
    let mut form = Fields::default();
    form.push("To", &sms.destination.to_string());
    match &sms.originator {
        Some(Originator::Service(service)) => form.push("MessagingServiceSid", service),
        Some(originator) => form.push("From", &originator.to_string()),
        None => return Err("Twilio needs an originator".into()),
    }
    form.push("Body", text);
    if let Some(url) = outbound.status_url {
        form.push("StatusCallback", url);
    }
    if let Some(left) = outbound.valid_for {
        form.push("ValidityPeriod", &left.as_secs().clamp(1, MAX_VALIDITY_S).to_string());
    }
    Ok(form)
}

/// What the response of the create call means.
fn judge(response: &Response<Bytes>) -> Judgement {
    let status = response.status();
    let view: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    if status.is_success() {
        return accepted(status, &view);
    }
    let code = number(&view["code"]);
    let text = told(status, code, view["message"].as_str().unwrap_or_default());
    match (status.as_u16(), code) {
        (429, _) | (_, Some(20429 | 14107)) => {
            Judgement::Throttled { retry_after: retry_after(response), text }
        }
        // Overflowing queues and trouble of their own pass.
        (_, Some(21611 | 20500 | 20503)) | (408 | 500..=599, _) => Judgement::Temporary { text },
        // Wrong credentials, a closed account, an unknown account or no Twilio at all.
        (_, Some(20003 | 20005 | 20006 | 20008 | 20404 | 10001 | 90010)) => {
            Judgement::Upstream { text }
        }
        (300..=399 | 401 | 403 | 404 | 405 | 407, None) | (401, Some(_)) => {
            Judgement::Upstream { text }
        }
        (_, code) => Judgement::Permanent { reason: reason(code), text },
    }
}

fn accepted(status: StatusCode, view: &Value) -> Judgement {
    let error = number(&view["error_code"]);
    let word = view["status"].as_str().unwrap_or_default();
    let text = told(status, error, word);
    if matches!(word, "failed" | "undelivered") {
        return Judgement::Permanent { reason: reason(error), text };
    }
    let sid = view["sid"].as_str().filter(|sid| is_id(sid));
    // 201 says that a message was made; anything else that names none may have made one or not.
    if sid.is_none() && status != StatusCode::CREATED {
        return Judgement::Unclear { text: told(status, None, "the answer names no message") };
    }
    Judgement::Accepted { ids: sid.map(str::to_owned).into_iter().collect(), text }
}

fn reason(code: Option<u32>) -> FailureReason {
    code.map_or(FailureReason::Unknown, code::reason)
}

fn number(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|number| u32::try_from(number).ok())
}

/// Whether a text can be a provider's id.
pub(super) fn is_id(text: &str) -> bool {
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// `400 21211: The 'To' number …`, in clean characters and bounded.
fn told(status: StatusCode, code: Option<u32>, text: &str) -> String {
    let clean = words(text);
    let status = status.as_u16();
    match (code, clean.is_empty()) {
        (None, true) => status.to_string(),
        (None, false) => format!("{status} {clean}"),
        (Some(code), true) => format!("{status} {code}"),
        (Some(code), false) => format!("{status} {code}: {clean}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::tests::{ACCOUNT, account, at, sms};
    use super::*;
    use crate::model::{MessageId, Secret, Sms};

    fn upstream(url: &str) -> TwilioUpstream {
        TwilioUpstream { url: Url::parse(url).unwrap(), account: account() }
    }

    fn outbound(sms: &Sms) -> Outbound<'_> {
        let id = MessageId::from_u128(1);
        Outbound { id, sms, valid_for: None, status_url: None, now: at(0) }
    }

    #[test]
    fn what_twilio_can_not_carry_is_told() {
        let base = sms(Some("Example"), "+4512345678", "x");
        let check = |sms: Sms| {
            assert!(upstream("https://a.example").request(&outbound(&sms)).is_err(), "{sms:?}");
        };
        check(Sms { body: SmsBody::Binary(vec![1]), ..base.clone() });
        check(Sms { udh: vec![5, 0, 3, 1, 1, 1], ..base.clone() });
        check(Sms { originator: None, ..base.clone() });
        let mut bad = upstream("https://a.example");
        bad.account.account_sid = "AC:1".into();
        assert!(bad.request(&outbound(&base)).is_err());
        let mut bad = upstream("https://a.example");
        bad.url = Url::parse("mailto:a@b").unwrap();
        assert!(bad.request(&outbound(&base)).is_err());
    }

    #[test]
    fn the_request_is_a_form_with_basic_authentication() {
        let sms = sms(Some("+4587654321"), "+4512345678", "Hej æ & co");
        let mut outbound = outbound(&sms);
        outbound.status_url = Some("https://t.example/hooks/sms/status?message=1&proof=2");
        outbound.valid_for = Some(Duration::from_millis(59_999));
        let request = upstream("https://u:p@api.twilio.com/?q#f").request(&outbound).unwrap();
        let uri = format!("https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json");
        assert_eq!(request.uri(), uri.as_str());
        assert_eq!(request.method(), Method::POST);
        assert!(request.headers()["authorization"].is_sensitive());
        let pair = STANDARD.encode(format!("{ACCOUNT}:s3cret:token"));
        assert_eq!(request.headers()["authorization"], format!("Basic {pair}").as_str());
        assert_eq!(
            std::str::from_utf8(request.body()).unwrap(),
            "To=%2B4512345678&From=%2B4587654321&Body=Hej+%C3%A6+%26+co&StatusCallback=https%3A%2F%2F\
             t.example%2Fhooks%2Fsms%2Fstatus%3Fmessage%3D1%26proof%3D2&ValidityPeriod=59"
        );
    }

    #[test]
    fn a_pool_and_a_long_or_spent_validity_are_written_as_twilio_wants() {
        let service = "MG0123456789abcdef0123456789abcdef";
        let sms = sms(Some(service), "+4512345678", "x");
        let of = |left: u64| {
            let left = Some(Duration::from_secs(left));
            let request = upstream("https://a.example/d/twilio/")
                .request(&Outbound { valid_for: left, ..outbound(&sms) })
                .unwrap();
            assert!(request.uri().path().starts_with("/d/twilio/2010-04-01/Accounts/"));
            let form = Fields::parse(request.body());
            assert_eq!(form.get("MessagingServiceSid").as_deref(), Some(service));
            assert_eq!(form.get("From"), None);
            form.get("ValidityPeriod").unwrap().into_owned()
        };
        assert_eq!((of(0).as_str(), of(100_000).as_str()), ("1", "36000"));
    }

    proptest! {
        /// Whatever stands in one field, all others arrive as they were meant, at the same place.
        #[test]
        fn no_value_changes_another_field(
            text in "(\\PC|[&=%+;\r\n\u{0}?#/]|%00|%c0%af|%0d%0a|&From=x){0,40}",
            name in "[A-Za-z][A-Za-z&+./!' -]{0,9}x",
            account in "[ -~&&[^:]]{1,20}",
            status in "(\\PC|[&=%\r\n#]){0,30}",
        ) {
            let sms = sms(Some(&name), "+4512345678", &text);
            let mut upstream = upstream("https://a.example/p");
            upstream.account.account_sid = account;
            upstream.account.auth_token = Secret::new("t".into());
            let outbound = Outbound { status_url: Some(&status), ..outbound(&sms) };
            let request = upstream.request(&outbound).unwrap();
            let form = Fields::parse(request.body());
            let names: Vec<&str> = form.iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names, ["To", "From", "Body", "StatusCallback"]);
            prop_assert_eq!(form.bytes("To"), Some(&b"+4512345678"[..]));
            prop_assert_eq!(form.bytes("From"), Some(name.as_bytes()));
            prop_assert_eq!(form.bytes("Body"), Some(text.as_bytes()));
            prop_assert_eq!(form.bytes("StatusCallback"), Some(status.as_bytes()));
            prop_assert!(request.uri().path().starts_with("/p/2010-04-01/Accounts/"));
            prop_assert!(request.uri().path().ends_with("/Messages.json"));
            prop_assert_eq!(request.uri().query(), None);
            prop_assert_eq!(request.uri().authority().map(|a| a.as_str()), Some("a.example"));
        }
    }

    fn judged(status: u16, body: &'static str) -> Judgement {
        judge(&Response::builder().status(status).body(Bytes::from(body)).unwrap())
    }

    #[test]
    fn refusals_of_the_message_are_permanent() {
        let check = |body: &'static str, expected: FailureReason| match judged(400, body) {
            Judgement::Permanent { reason, .. } => assert_eq!(reason, expected, "{body}"),
            other => panic!("{body}: {other:?}"),
        };
        check("", FailureReason::Unknown);
        check("<html>", FailureReason::Unknown);
        check("{\"code\":99999}", FailureReason::Unknown);
        check("{\"code\":-1}", FailureReason::Unknown);
        check("{\"code\":21211,\"message\":\"x\"}", FailureReason::InvalidNumber);
        check("{\"code\":21610}", FailureReason::OptedOut);
        check("{\"code\":21614}", FailureReason::Landline);
        check("{\"code\":21408}", FailureReason::NoRoute);
        check("{\"code\":21606}", FailureReason::BadOriginator);
        check("{\"code\":21617}", FailureReason::BadContent);
        check("{\"code\":30007}", FailureReason::Filtered);
        let failed = judged(201, "{\"sid\":\"SM1\",\"status\":\"failed\",\"error_code\":30003}");
        assert!(matches!(failed, Judgement::Permanent { reason: FailureReason::Unreachable, .. }));
    }

    #[test]
    fn refusals_of_the_account_wait_for_the_operator() {
        for (status, body) in [
            (401, ""),
            (401, "{\"code\":20003}"),
            (403, "{\"code\":20005}"),
            (403, ""),
            (404, "{\"code\":20404}"),
            (404, "not here"),
            (302, ""),
        ] {
            let found = judged(status, body);
            assert!(matches!(found, Judgement::Upstream { .. }), "{status} {body}: {found:?}");
        }
    }

    #[test]
    fn what_passes_is_temporary_or_throttled() {
        for (status, body) in
            [(500, ""), (502, "<html>"), (503, "{\"code\":20503}"), (400, "{\"code\":21611}")]
        {
            let found = judged(status, body);
            assert!(matches!(found, Judgement::Temporary { .. }), "{status} {body}: {found:?}");
        }
        let slow = |header: &str| {
            let response = Response::builder().status(429).header("Retry-After", header);
            match judge(&response.body(Bytes::from("{\"code\":20429}")).unwrap()) {
                Judgement::Throttled { retry_after, .. } => retry_after.map(|d| d.as_secs()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(
            (slow("x"), slow("-1"), slow("7"), slow("99999999")),
            (None, None, Some(7), Some(3_600))
        );
        assert!(matches!(judged(400, "{\"code\":20429}"), Judgement::Throttled { .. }));
    }

    #[test]
    fn success_brings_the_sid() {
        let ids = |status, body| match judged(status, body) {
            Judgement::Accepted { ids, .. } => ids,
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(ids(201, "{\"sid\":\"SM0f\",\"status\":\"queued\"}"), ["SM0f"]);
        assert!(ids(201, "{\"sid\":\"SM\\r\\n\"}").is_empty());
        assert!(ids(201, "").is_empty());
        assert_eq!(ids(200, "{\"sid\":\"SM0f\"}"), ["SM0f"]);
        for unclear in ["", "{}", "<html>a portal</html>", "{\"sid\":7}"] {
            let found = judged(200, unclear);
            assert!(matches!(found, Judgement::Unclear { .. }), "{unclear}: {found:?}");
        }
        let Judgement::Permanent { text, .. } =
            judged(400, "{\"code\":21211,\"message\":\"a\\r\\nb\"}")
        else {
            panic!()
        };
        assert_eq!(text, "400 21211: a  b");
    }
}
