//! A call of an application, in every dialect: any HTTP request.
//!
//! Oracle: nothing panics; a secret that proves an account does not stand in what is archived, however
//! it was brought; a message that was read, given to a provider of the same protocol and read again there says
//! the same text from and to the same addresses.
//!
//! The input is readable: `POST /path?query` on the first line, fields, an empty line, a body. The octet
//! 0x01 stands for the secret, 0x02 for account and secret as HTTP Basic has them.
#![no_main]

#[path = "../support/http_text.rs"]
mod http_text;

use bytes::Bytes;
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use url::Url;
use waybill::model::{
    Dialect, Direction, FailureReason, MessageId, Secret, Sequence, Sms, SmsBody, Timestamp,
};
use waybill::sms::account::{
    CallbackUrls, KannelAccount, SignatureMethod, TokenAccount, TwilioAccount, VonageAccount,
    VonageSignature,
};
use waybill::sms::call::{
    Answer, Call, Draft, Notice, Operation, Refusal, Shown, ShownState, Verdict,
};
use waybill::sms::number::{self, Country};
use waybill::sms::provider::Outbound;
use waybill::sms::{Port, ProviderProtocol, SmsAccounts, port, provider, segment};

/// Account and secret; no input holds them but where it asks for them.
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const CANARY: &str = "kanarienvogel7719";
/// Base64 of the two with a colon between them.
const BASIC: &str = "QUMwMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjprYW5hcmllbnZvZ2VsNzcxOQ==";
/// The part of it that comes from the secret alone.
const BASIC_CANARY: &str = "rYW5hcmllbnZvZ2VsNzcxO";

fuzz_target!(|octets: &[u8]| {
    // What stands twice may be told once as the secret and once as something else.
    let brought = octets.iter().filter(|octet| matches!(octet, 1 | 2)).count();
    if brought > 1 || holds(octets, CANARY) || holds(octets, BASIC_CANARY) {
        return;
    }
    let octets = octets.iter().fold(Vec::new(), |mut all, octet| {
        match octet {
            1 => all.extend_from_slice(CANARY.as_bytes()),
            2 => all.extend_from_slice(BASIC.as_bytes()),
            other => all.push(*other),
        }
        all
    });
    let Some(request) = http_text::request(&octets) else { return };
    for dialect in Dialect::ALL {
        let port = port(dialect);
        port.recognises(&request);
        let is_proven = keeps_the_secret(port, &request);
        let Ok(call) = port.read(&request) else { continue };
        every_refusal(port, &call, is_proven);
        if let Operation::Submit(Ok(drafts)) = &call.operation {
            assert!(!drafts.is_empty(), "a call for nobody");
            for draft in drafts.iter().take(3) {
                comes_back(dialect, draft, &call);
            }
        }
    }
});

fn holds(octets: &[u8], text: &str) -> bool {
    octets.windows(text.len()).any(|window| window.eq_ignore_ascii_case(text.as_bytes()))
}

fn secret() -> Secret {
    Secret::new(CANARY.into())
}

fn accounts() -> SmsAccounts {
    let callbacks = CallbackUrls::default;
    let token = || TokenAccount {
        token: secret(),
        callback_secret: Some(secret()),
        callbacks: callbacks(),
    };
    SmsAccounts {
        twilio: Some(TwilioAccount {
            account_sid: ACCOUNT.into(),
            auth_token: secret(),
            callbacks: callbacks(),
        }),
        vonage: Some(VonageAccount {
            api_key: ACCOUNT.into(),
            api_secret: secret(),
            signature: Some(VonageSignature {
                secret: secret(),
                method: SignatureMethod::HmacSha256,
            }),
            callbacks: callbacks(),
        }),
        kannel: Some(KannelAccount {
            username: ACCOUNT.into(),
            password: secret(),
            callbacks: callbacks(),
        }),
        gatewayapi: Some(token()),
        waybill: Some(token()),
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_321_671_000)
}

/// Whether the request proves the account.
fn keeps_the_secret(port: &dyn Port, request: &Request<Bytes>) -> bool {
    let masked = port.masked(request);
    let is_proven = port.verify(request, &accounts(), now()) == Verdict::Proven;
    if is_proven {
        let is_clean = !holds(&masked, CANARY) && !holds(&masked, BASIC_CANARY);
        assert!(is_clean, "{:?}: {}", port.dialect(), String::from_utf8_lossy(&masked));
    }
    let no_secret = SmsAccounts::default();
    assert_eq!(port.verify(request, &no_secret, now()), Verdict::Stranger);
    is_proven
}

fn every_refusal(port: &dyn Port, call: &Call, is_proven: bool) {
    let quoted = || "\u{fffd}\"<&\\".to_owned();
    let refusals = [
        Refusal::Credentials,
        Refusal::BadSignature,
        Refusal::NoDestination,
        Refusal::BadDestination(quoted()),
        Refusal::NoOriginator,
        Refusal::BadOriginator(quoted()),
        Refusal::OriginatorNotAllowed(quoted()),
        Refusal::NoBody,
        Refusal::TooLong { segments: 300, most: 255 },
        Refusal::OptedOut(quoted()),
        Refusal::BadCallback(quoted()),
        Refusal::BadSchedule(quoted()),
        Refusal::Unsupported("MMS"),
        Refusal::Field { name: "to", why: quoted() },
        Refusal::Malformed(quoted()),
        Refusal::TooManyDestinations { most: 10_000 },
        Refusal::RateLimited { retry_after: std::time::Duration::from_millis(1) },
        Refusal::NotNow,
        Refusal::UnknownMessage,
        Refusal::TooLate,
        Refusal::NotFinished,
        Refusal::KeyReused,
    ];
    for refusal in &refusals {
        port.answer(call, &Answer::Refused(refusal));
    }
    if let Operation::Submit(Err(own)) = &call.operation {
        let answer: Response<Bytes> = port.answer(call, &Answer::Refused(own));
        let is_quoted = is_proven && holds(answer.body(), CANARY);
        assert!(!is_quoted, "a refusal quotes the secret: {answer:?}");
    }
}

/// Given to a provider of the same protocol and read there as a call.
fn comes_back(dialect: Dialect, draft: &Draft, call: &Call) {
    let Some(sms) = sms(dialect, draft, call) else { return };
    told(dialect, &sms, call);
    let Some(protocol) = protocol(dialect) else { return };
    let outbound = Outbound {
        id: MessageId::from_u128(0x0192_f000_0000_0000_0000_0000_0000_00ab),
        sms: &sms,
        valid_for: None,
        status_url: Some("https://gateway.example/hooks/a/status?message=1&proof=2"),
        now: now(),
    };
    let Ok(request) = provider(protocol).request(&outbound) else { return };
    let (parts, body) = request.into_parts();
    let mut received = Request::new(body);
    *received.method_mut() = parts.method;
    *received.uri_mut() = parts.uri.into_parts().path_and_query.unwrap().into();
    *received.headers_mut() = parts.headers;
    let again = port(dialect).read(&received).expect("our own request is no call");
    let Operation::Submit(Ok(drafts)) = &again.operation else {
        panic!("{dialect:?}: {draft:?} became {again:?}")
    };
    let [read] = drafts.as_slice() else { panic!("{dialect:?}: {draft:?} became {drafts:?}") };
    let style = read.style;
    let to = number::destination(&read.to, style, &Country::NONE);
    assert_eq!(to.as_ref(), Some(&sms.destination), "{dialect:?}");
    let from = read.from.as_deref().map(|from| number::originator(from, style, &Country::NONE));
    assert_eq!(from.flatten(), sms.originator, "{dialect:?}");
    assert_eq!((&read.body, &read.udh), (&sms.body, &sms.udh), "{dialect:?}");
    let verdict = port(dialect).verify(&received, &accounts(), now());
    assert_eq!(verdict, Verdict::Proven, "{dialect:?}: our own request proves nothing");
    // What the message itself says is no secret, even when it is the same word.
    if !says(&sms, CANARY) && !says(&sms, BASIC_CANARY) {
        keeps_the_secret(port(dialect), &received);
    }
}

/// Octets stand as numbers in what `Debug` prints.
fn says(sms: &Sms, word: &str) -> bool {
    let octets = match &sms.body {
        SmsBody::Text(text) => text.as_bytes(),
        SmsBody::Binary(octets) => octets,
    };
    holds(octets, word) || holds(&sms.udh, word) || holds(format!("{sms:?}").as_bytes(), word)
}

/// What the application is answered and told of it.
fn told(dialect: Dialect, sms: &Sms, call: &Call) {
    let (port, accounts) = (port(dialect), accounts());
    let shown = Shown {
        id: MessageId::from_u128(0xab),
        sequence: Sequence(7),
        direction: Direction::Outbound,
        sms: sms.clone(),
        state: ShownState::Undelivered,
        failure: Some(FailureReason::Barred),
        provider_code: Some("30003".into()),
        accepted_at: now(),
        updated_at: now(),
        sent_at: Some(now()),
        done_at: Some(now()),
        parts: Vec::new(),
    };
    let answer = port.answer(call, &Answer::Submitted(std::slice::from_ref(&shown)));
    assert!(answer.status().is_success(), "{answer:?}");
    let url = sms.receipt.as_ref().map_or("https://erp.example/hook?a=%26", |wish| &wish.url);
    let notice = Notice { message: &shown, event: Sequence(9), at: now(), now: now() };
    port.receipts(&notice, url, &accounts);
    port.inbound(&shown, url, &accounts, now());
}

/// `None` for what is refused behind the dialect.
fn sms(dialect: Dialect, draft: &Draft, call: &Call) -> Option<Sms> {
    let country = Country::NONE;
    let originator = match &draft.from {
        Some(from) => Some(number::originator(from, draft.style, &country)?),
        None => None,
    };
    let measure = segment::measure(&draft.body, &draft.udh);
    let destination = number::destination(&draft.to, draft.style, &country)?;
    Some(Sms {
        originator,
        udh: draft.udh.clone(),
        encoding: measure.encoding,
        segments: u16::try_from(measure.segments).ok().filter(|count| *count <= 255)?,
        class: draft.class,
        dialect,
        account: call.account.clone(),
        client_reference: draft.client_reference.clone(),
        receipt: draft.receipt.clone(),
        ..Sms::new(destination, draft.body.clone())
    })
}

/// Nobody provides Waybill's own dialect.
fn protocol(dialect: Dialect) -> Option<ProviderProtocol> {
    let url = |text: &str| Url::parse(text).unwrap();
    let accounts = accounts();
    Some(match dialect {
        Dialect::Twilio => {
            ProviderProtocol::Twilio { url: url("https://p.example"), account: accounts.twilio? }
        }
        Dialect::Vonage => {
            ProviderProtocol::Vonage { url: url("https://p.example"), account: accounts.vonage? }
        }
        Dialect::Kannel => {
            let url = url("https://p.example/cgi-bin/sendsms");
            ProviderProtocol::Kannel { url, account: accounts.kannel? }
        }
        Dialect::GatewayApi => {
            let (url, account) = (url("https://p.example"), accounts.gatewayapi?);
            ProviderProtocol::GatewayApi { url, account }
        }
        Dialect::Waybill => return None,
    })
}
