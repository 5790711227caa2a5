//! What providers and applications say by themselves or in answer: any HTTP message.
//!
//! Oracle: nothing panics; without the right secret no callback is taken; what is taken from a
//! provider (ids, codes, texts, addresses) holds no control character; what a response says of a
//! message fits its status.
//!
//! The input is readable: `POST /path?query` or a status on the first line, fields, an empty line, a body.
#![no_main]

#[path = "../support/http_text.rs"]
mod http_text;

use std::net::{IpAddr, Ipv4Addr};

use bytes::Bytes;
use http::{Request, Response};
use libfuzzer_sys::fuzz_target;
use url::Url;
use waybill::model::{Dialect, Secret, Timestamp};
use waybill::sms::account::{
    CallbackUrls, KannelAccount, SignatureMethod, TokenAccount, TwilioAccount, VonageAccount,
    VonageSignature,
};
use waybill::sms::call::{Acknowledgement, CallbackKind};
use waybill::sms::form::Fields;
use waybill::sms::generic::{HttpMethod, HttpProvider};
use waybill::sms::provider::{Callback, CallbackRefusal, Inbound, Judgement, Receipt};
use waybill::sms::twilio::sign_callback;
use waybill::sms::{Provider, ProviderProtocol, port, provider};

const PUBLIC_URL: &str = "https://gateway.example";

fuzz_target!(|octets: &[u8]| {
    if let Some(request) = http_text::request(octets) {
        for (protocol, signs) in protocols() {
            let provider = provider(protocol);
            forged(&*provider, &request, signs);
            honest(&*provider, &request);
        }
        signed_by_twilio(request);
    }
    if let Some(response) = http_text::response(octets) {
        answers(&response);
    }
});

fn secret() -> Secret {
    Secret::new("a secret that nobody guesses: 5d1c07".into())
}

/// Every protocol; twice where callbacks may be signed or not.
fn protocols() -> Vec<(ProviderProtocol, bool)> {
    let url = Url::parse("https://provider.example/api").unwrap();
    let callbacks = CallbackUrls::default();
    let vonage = |signature| ProviderProtocol::Vonage {
        url: url.clone(),
        account: VonageAccount {
            api_key: "key".into(),
            api_secret: secret(),
            signature,
            callbacks: CallbackUrls::default(),
        },
    };
    let gatewayapi = |callback_secret| ProviderProtocol::GatewayApi {
        url: url.clone(),
        account: TokenAccount {
            token: secret(),
            callback_secret,
            callbacks: CallbackUrls::default(),
        },
    };
    let signature = VonageSignature { secret: secret(), method: SignatureMethod::HmacSha256 };
    let twilio = TwilioAccount {
        account_sid: "AC0123456789abcdef0123456789abcdef".into(),
        auth_token: secret(),
        callbacks: callbacks.clone(),
    };
    let kannel = KannelAccount { username: "waybill".into(), password: secret(), callbacks };
    let described = HttpProvider {
        url: url.clone(),
        method: HttpMethod::Post,
        headers: Vec::new(),
        body: Some("to={to}&text={text}".into()),
        success: None,
        permanent: None,
        temporary: None,
    };
    vec![
        (ProviderProtocol::Twilio { url: url.clone(), account: twilio }, true),
        (vonage(Some(signature)), true),
        (vonage(None), false),
        (ProviderProtocol::Kannel { url: url.clone(), account: kannel }, false),
        (gatewayapi(Some(secret())), true),
        (gatewayapi(None), false),
        (ProviderProtocol::Http(described), false),
    ]
}

fn callback(request: &Request<Bytes>, is_proven: bool) -> Callback<'_> {
    Callback {
        request,
        public_url: PUBLIC_URL,
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        is_proven,
        now: Timestamp::from_millis(1_795_321_671_000),
    }
}

/// Nobody has signed this and its URL proves nothing. Where callbacks are signed, a URL that proves
/// something is not enough for an inbound message either.
fn forged(provider: &dyn Provider, request: &Request<Bytes>, signs: bool) {
    let callback = callback(request, false);
    let nothing = |callback: &Callback<'_>| {
        let messages = provider.inbound(callback).unwrap_or_default();
        assert!(messages.is_empty(), "a forged message was taken");
    };
    // Vonage tries whether somebody is there with a call that says nothing.
    let receipts = provider.status(&callback).unwrap_or_default();
    assert!(receipts.is_empty(), "a forged receipt was taken");
    nothing(&callback);
    if signs {
        nothing(&Callback { is_proven: true, ..callback });
    }
}

fn honest(provider: &dyn Provider, request: &Request<Bytes>) {
    let callback = callback(request, true);
    provider.status(&callback).unwrap_or_default().iter().for_each(clean_receipt);
    provider.inbound(&callback).unwrap_or_default().iter().for_each(clean_inbound);
    assert!(provider.taken().status().is_success());
}

/// The same request with the signature that belongs to it: never called forged.
fn signed_by_twilio(mut request: Request<Bytes>) {
    let form = "application/x-www-form-urlencoded";
    let is_form = request.headers().get("content-type").is_some_and(|kind| kind == form);
    if request.method() != "POST" || !is_form {
        return;
    }
    let url = format!("{PUBLIC_URL}{}", request.uri().path_and_query().unwrap());
    let signature = sign_callback(&secret(), &url, &Fields::parse(request.body()));
    request.headers_mut().insert("x-twilio-signature", signature.parse().unwrap());
    let Some((protocol, _)) = protocols().into_iter().next() else { return };
    let (provider, callback) = (provider(protocol), callback(&request, false));
    match provider.status(&callback) {
        Ok(receipts) => receipts.iter().for_each(clean_receipt),
        Err(refusal) => assert_ne!(refusal, CallbackRefusal::Forged),
    }
    match provider.inbound(&callback) {
        Ok(messages) => messages.iter().for_each(clean_inbound),
        Err(refusal) => assert_ne!(refusal, CallbackRefusal::Forged),
    }
}

fn clean(text: &str) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

fn clean_receipt(receipt: &Receipt) {
    receipt.provider_id.as_deref().into_iter().chain(receipt.code.as_deref()).for_each(clean);
}

fn clean_inbound(inbound: &Inbound) {
    clean(&inbound.provider_id);
    clean(&inbound.originator.to_string());
    clean(&inbound.destination.to_string());
    if let Some(part) = &inbound.concatenation {
        assert!(part.part >= 1 && part.part <= part.total, "{part:?}");
    }
}

fn answers(response: &Response<Bytes>) {
    for (protocol, _) in protocols() {
        let text = match provider(protocol).judge(response) {
            Judgement::Accepted { ids, text } => {
                assert!(response.status().is_success(), "{text}");
                ids.iter().for_each(|id| clean(id));
                text
            }
            Judgement::Permanent { text, .. }
            | Judgement::Upstream { text }
            | Judgement::Temporary { text }
            | Judgement::Throttled { text, .. }
            | Judgement::Unclear { text } => text,
        };
        clean(&text);
        assert!(text.chars().count() <= 4_096, "{} characters", text.chars().count());
    }
    for dialect in Dialect::ALL {
        let receipt = port(dialect).acknowledged(response, CallbackKind::Receipt);
        if let Acknowledgement::Taken { replies } = receipt {
            assert!(replies.is_empty(), "a receipt was answered with a message");
        }
        if let Acknowledgement::Taken { .. } =
            port(dialect).acknowledged(response, CallbackKind::Inbound)
        {
            assert!(response.status().is_success(), "{dialect:?} takes {}", response.status());
        }
    }
}
