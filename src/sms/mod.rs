//! SMS without sockets: the GSM alphabet, segments, numbers, and each protocol as pure code, from a
//! request to a value and from a value to a response.
//!
//! A dialect ([`Port`]) is how applications speak to us; a provider ([`Provider`]) is how we speak
//! to one. Both take whole HTTP messages as values. Which app it is, whether it may, and what is stored is
//! decided elsewhere.
//!
//! In reading order: `gsm`, `segment`, `number`; `hex`, `form`, `basic`, `signature`, `proof`, `masked` and
//! `response` (how requests and responses are written, and what proves them); `account`, `call` (the
//! dialects' common words), `provider` (the providers'), then one folder for each protocol.

pub mod account;
mod basic;
pub mod call;
pub mod form;
pub mod gatewayapi;
pub mod generic;
pub mod gsm;
pub mod hex;
pub mod kannel;
pub mod masked;
pub mod native;
pub mod number;
pub mod proof;
pub mod provider;
mod response;
pub mod segment;
pub mod signature;
pub mod twilio;
pub mod vonage;

pub use account::SmsAccounts;
pub use call::Port;
pub use provider::{Provider, ProviderProtocol, SmsUpstream};

use crate::model::Dialect;

/// The face of a dialect.
pub fn port(dialect: Dialect) -> &'static dyn Port {
    match dialect {
        Dialect::Twilio => &twilio::TwilioPort,
        Dialect::Vonage => &vonage::VonagePort,
        Dialect::Kannel => &kannel::KannelPort,
        Dialect::GatewayApi => &gatewayapi::GatewayApiPort,
        Dialect::Waybill => &native::NativePort,
    }
}

/// The protocol of an upstream.
pub fn provider(protocol: ProviderProtocol) -> Box<dyn Provider> {
    match protocol {
        ProviderProtocol::Twilio { url, account } => {
            Box::new(twilio::TwilioUpstream { url, account })
        }
        ProviderProtocol::Vonage { url, account } => {
            Box::new(vonage::VonageUpstream { url, account })
        }
        ProviderProtocol::Kannel { url, account } => {
            Box::new(kannel::KannelUpstream { url, account })
        }
        ProviderProtocol::GatewayApi { url, account } => {
            Box::new(gatewayapi::GatewayApiUpstream { url, account })
        }
        ProviderProtocol::Http(settings) => Box::new(generic::HttpUpstream { settings }),
    }
}
