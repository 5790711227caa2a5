//! A call to send: the fields of `/sms/json` and `/sms/xml` as a draft.
//!
//! One destination for each call. `type` tells binary from text and nothing more: the encoding of a text
//! follows from its characters, whatever the type says. Vonage: SMS API, "Send an SMS".

use std::time::Duration;

use url::Url;

use super::super::call::{Draft, Refusal};
use super::super::hex;
use super::super::number::NumberStyle;
use super::given::Given;
use crate::model::{ReceiptRequest, SmsBody};

/// Milliseconds that `ttl` may have: 20 seconds to 7 days.
const TTL_MS: std::ops::RangeInclusive<u64> = 20_000..=604_800_000;
/// The documentation says 40 characters; the vendor's libraries let 100 pass.
const MAX_CLIENT_REF_CHARS: usize = 100;
/// Longest callback URL; the vendor's libraries stop at 100 characters.
const MAX_CALLBACK_BYTES: usize = 2000;
/// Longest text before it is measured: 255 segments of 153 septets.
const MAX_TEXT_BYTES: usize = 4 * 255 * 153;
/// What one segment holds, its header counted (3GPP TS 23.040 §9.2.3.24).
const SEGMENT_OCTETS: usize = 140;
/// All kinds of receipt.
const EVERY_RECEIPT: u8 = u8::MAX;

/// Reads a draft. The first thing that is wrong is what the application hears of.
pub(super) fn draft(given: &Given) -> Result<Draft, Refusal> {
    if let Some(trouble) = given.trouble {
        return Err(Refusal::Malformed(trouble.to_owned()));
    }
    let to = address(given, "to")?.ok_or(Refusal::NoDestination)?;
    let from = address(given, "from")?.ok_or(Refusal::NoOriginator)?;
    let (body, udh) = content(given)?;
    let mut draft = Draft::new(to, NumberStyle::International, body);
    draft.from = Some(from);
    draft.udh = udh;
    draft.class = number(given, "message-class")?
        .map(|class| u8::try_from(class).ok().filter(|class| *class <= 3))
        .map(|class| class.ok_or_else(|| wrong("message-class", "it is 0, 1, 2 or 3")))
        .transpose()?;
    draft.valid_for = number(given, "ttl")?.map(ttl).transpose()?;
    draft.client_reference = client_reference(given)?;
    draft.receipt = callback(given)?;
    Ok(draft)
}

fn wrong(name: &'static str, why: &str) -> Refusal {
    Refusal::Field { name, why: why.to_owned() }
}

/// A field that reaches a wire: no control characters, no broken UTF-8.
fn clean(given: &Given, name: &'static str) -> Result<Option<String>, Refusal> {
    let Some(bytes) = given.bytes(name) else { return Ok(None) };
    let text = std::str::from_utf8(bytes).map_err(|_| wrong(name, "it is no UTF-8"))?;
    if text.chars().any(char::is_control) {
        return Err(wrong(name, "it holds a control character"));
    }
    Ok(Some(text.to_owned()))
}

fn address(given: &Given, name: &'static str) -> Result<Option<String>, Refusal> {
    let text = clean(given, name)?.map(|text| text.trim().to_owned());
    Ok(text.filter(|text| !text.is_empty()))
}

fn content(given: &Given) -> Result<(SmsBody, Vec<u8>), Refusal> {
    let kind = clean(given, "type")?.unwrap_or_else(|| "text".to_owned());
    match kind.trim().to_ascii_lowercase().as_str() {
        "text" | "unicode" => text(given).map(|text| (SmsBody::Text(text), Vec::new())),
        "binary" => binary(given),
        "wappush" => Err(Refusal::Unsupported("type wappush")),
        "vcal" => Err(Refusal::Unsupported("type vcal")),
        "vcard" => Err(Refusal::Unsupported("type vcard")),
        _ => Err(wrong("type", "it is text, unicode or binary")),
    }
}

fn text(given: &Given) -> Result<String, Refusal> {
    let bytes = given.bytes("text").ok_or(Refusal::NoBody)?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Err(wrong("text", "it is longer than 255 segments"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| wrong("text", "it is no UTF-8"))?;
    if text.contains('\0') {
        return Err(wrong("text", "it holds a control character"));
    }
    Ok(text.to_owned())
}

/// `body` and `udh` together are one segment, which the application has cut itself.
fn binary(given: &Given) -> Result<(SmsBody, Vec<u8>), Refusal> {
    let octets = |name: &'static str| {
        let digits = given.bytes(name).unwrap_or_default();
        hex::octets(digits).ok_or_else(|| wrong(name, "it is not pairs of hexadecimal digits"))
    };
    let (body, udh) = (octets("body")?, octets("udh")?);
    if body.is_empty() {
        return Err(Refusal::NoBody);
    }
    // 3GPP TS 23.040 §9.2.3.24: the first octet says how many follow.
    let is_whole = udh.first().is_none_or(|length| usize::from(*length) + 1 == udh.len());
    if !is_whole {
        return Err(wrong("udh", "its first octet does not say its length"));
    }
    if !udh.is_empty() && udh.len() + body.len() > SEGMENT_OCTETS {
        return Err(Refusal::TooLong { segments: 2, most: 1 });
    }
    Ok((SmsBody::Binary(body), udh))
}

fn number(given: &Given, name: &'static str) -> Result<Option<u64>, Refusal> {
    let Some(text) = given.text(name) else { return Ok(None) };
    text.trim().parse().map(Some).map_err(|_| wrong(name, "it is no whole number"))
}

fn ttl(ms: u64) -> Result<Duration, Refusal> {
    if TTL_MS.contains(&ms) {
        Ok(Duration::from_millis(ms))
    } else {
        Err(wrong("ttl", "it is 20000 to 604800000 milliseconds"))
    }
}

fn client_reference(given: &Given) -> Result<Option<String>, Refusal> {
    let reference = clean(given, "client-ref")?;
    if reference.as_ref().is_some_and(|text| text.chars().count() > MAX_CLIENT_REF_CHARS) {
        return Err(wrong("client-ref", "it is longer than 100 characters"));
    }
    Ok(reference)
}

/// `status-report-req` alone asks for receipts at the account's own URL, which needs no field; a no there
/// counts for more than a URL.
fn callback(given: &Given) -> Result<Option<ReceiptRequest>, Refusal> {
    let Some(bytes) = given.bytes("callback") else { return Ok(None) };
    if given.bytes("status-report-req").is_some() && !given.is_yes("status-report-req") {
        return Ok(None);
    }
    let shown = || String::from_utf8_lossy(bytes).replace(char::is_control, " ");
    let url = clean(given, "callback").ok().flatten().map(|url| url.trim().to_owned());
    let url = url.filter(|url| {
        let is_http = |url: Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        url.len() <= MAX_CALLBACK_BYTES && Url::parse(url).is_ok_and(is_http)
    });
    let url = url.ok_or_else(|| Refusal::BadCallback(shown()))?;
    Ok(Some(ReceiptRequest { url, mask: EVERY_RECEIPT }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    fn read(query: &str) -> Result<Draft, Refusal> {
        let request = Request::post("/sms/json").body(Bytes::from(query.to_owned())).unwrap();
        draft(&Given::of(&request))
    }

    /// A good call with these fields behind it.
    fn with(query: &str) -> Result<Draft, Refusal> {
        read(&format!("from=Example&to=4512345678&text=Hej&{query}"))
    }

    fn refused_field(query: &str, name: &str) {
        match with(query) {
            Err(Refusal::Field { name: found, .. }) => assert_eq!(found, name, "{query}"),
            other => panic!("{query}: {other:?}"),
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        for query in ["", "from=A&text=b", "from=A&text=b&to=", "from=A&text=b&to=+"] {
            assert_eq!(read(query), Err(Refusal::NoDestination), "{query}");
        }
        assert_eq!(read("to=4512345678&text=b&from="), Err(Refusal::NoOriginator));
        for query in ["", "&text=", "&type=unicode&body=00", "&type=binary&text=b&udh=00"] {
            let query = format!("to=4512345678&from=A{query}");
            assert_eq!(read(&query), Err(Refusal::NoBody), "{query}");
        }
    }

    #[test]
    fn wrong_fields_are_refused_by_name() {
        for class in ["4", "-1", "x", "256", "1.0"] {
            refused_field(&format!("message-class={class}"), "message-class");
        }
        for ttl in ["19999", "604800001", "-1", "1e6", "day", "99999999999999999999"] {
            refused_field(&format!("ttl={ttl}"), "ttl");
        }
        refused_field(&format!("client-ref={}", "a".repeat(101)), "client-ref");
        refused_field("client-ref=a%0D%0Ab", "client-ref");
        refused_field("to=45%0A", "to");
        refused_field("from=A%00", "from");
        refused_field("from=%ff", "from");
        refused_field("text=%c0%af", "text");
        refused_field("text=a%00b", "text");
        refused_field(&format!("text={}", "a".repeat(MAX_TEXT_BYTES + 1)), "text");
        refused_field("type=mms", "type");
        refused_field("type=binary&body=0", "body");
        refused_field("type=binary&body=00&udh=zz", "udh");
        refused_field("type=binary&body=00&udh=06050415811581ff", "udh");
    }

    #[test]
    fn what_we_do_not_have_is_refused_as_such() {
        for kind in ["wappush", "vcal", "vcard"] {
            assert!(matches!(with(&format!("type={kind}")), Err(Refusal::Unsupported(_))));
        }
        let long = format!("type=binary&udh=0605040B8423F0&body={}", "00".repeat(134));
        assert_eq!(with(&long), Err(Refusal::TooLong { segments: 2, most: 1 }));
    }

    #[test]
    fn callbacks_are_urls_of_the_web() {
        for bad in ["x", "/dlr", "ftp://a/", "javascript:1", "http://", "https://a/%0D%0Ab"] {
            // A percent sign in a query is one of the query's own escapes.
            assert!(
                matches!(with(&format!("callback={bad}")), Err(Refusal::BadCallback(_))),
                "{bad}"
            );
        }
        let draft = with("callback=https://erp.example.com/dlr?a=1%26b=2").unwrap();
        let receipt =
            ReceiptRequest { url: "https://erp.example.com/dlr?a=1&b=2".into(), mask: 255 };
        assert_eq!(draft.receipt, Some(receipt));
        assert_eq!(with("callback=").unwrap().receipt, None);
        assert_eq!(with("status-report-req=1").unwrap().receipt, None);
        for (wish, is_wanted) in [("0", false), ("False", false), ("", true), ("True", true)] {
            let draft = with(&format!("callback=https://a.example/&status-report-req={wish}"));
            assert_eq!(draft.unwrap().receipt.is_some(), is_wanted, "{wish}");
        }
    }

    #[test]
    fn every_field_reaches_the_draft() {
        let draft = with("ttl=60000&message-class=0&client-ref=INV-1&type=unicode").unwrap();
        let mut expected = Draft::new(
            "4512345678".into(),
            NumberStyle::International,
            SmsBody::Text("Hej".into()),
        );
        expected.from = Some("Example".into());
        expected.class = Some(0);
        expected.valid_for = Some(Duration::from_secs(60));
        expected.client_reference = Some("INV-1".into());
        assert_eq!(draft, expected);
        let binary = with("type=binary&body=48656A&udh=0605040B8423F0").unwrap();
        assert_eq!(binary.body, SmsBody::Binary(b"Hej".to_vec()));
        assert_eq!(binary.udh, [6, 5, 4, 11, 0x84, 0x23, 0xf0]);
        let lines = with("text=a%0D%0Ab%26to%3D1").unwrap();
        assert_eq!(lines.body, SmsBody::Text("a\r\nb&to=1".into()));
        assert_eq!(lines.to, "4512345678");
    }
}
