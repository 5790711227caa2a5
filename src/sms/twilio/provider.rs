//! The Twilio protocol towards a provider.

use bytes::Bytes;
use http::{Request, Response};

use super::super::account::TwilioAccount;
use super::super::provider::{
    Callback, CallbackRefusal, Inbound, Judgement, Outbound, Provider, Receipt,
};

/// One upstream.
pub struct TwilioUpstream {
    pub url: url::Url,
    pub account: TwilioAccount,
}

impl Provider for TwilioUpstream {
    fn request(&self, _: &Outbound<'_>) -> Result<Request<Bytes>, String> {
        unimplemented!()
    }
    fn judge(&self, _: &Response<Bytes>) -> Judgement {
        unimplemented!()
    }
    fn status(&self, _: &Callback<'_>) -> Result<Vec<Receipt>, CallbackRefusal> {
        unimplemented!()
    }
    fn inbound(&self, _: &Callback<'_>) -> Result<Vec<Inbound>, CallbackRefusal> {
        unimplemented!()
    }
    fn taken(&self) -> Response<Bytes> {
        unimplemented!()
    }
}
