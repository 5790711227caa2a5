//! The Vonage dialect.

mod provider;

use bytes::Bytes;
use http::{Request, Response};

use super::account::SmsAccounts;
use super::call::{Acknowledgement, Answer, Call, CallbackKind, Notice, Port, Shown, Verdict};
use crate::model::{Dialect, Timestamp};
pub use provider::VonageUpstream;

/// Its face to applications.
pub struct VonagePort;

impl Port for VonagePort {
    fn dialect(&self) -> Dialect {
        Dialect::Vonage
    }
    fn recognises(&self, _request: &Request<Bytes>) -> bool {
        false
    }
    fn read(&self, _request: &Request<Bytes>) -> Result<Call, Box<Response<Bytes>>> {
        unimplemented!()
    }
    fn verify(&self, _: &Request<Bytes>, _: &SmsAccounts, _: Timestamp) -> Verdict {
        unimplemented!()
    }
    fn answer(&self, _: &Call, _: &Answer<'_>) -> Response<Bytes> {
        unimplemented!()
    }
    fn masked(&self, _: &Request<Bytes>) -> Bytes {
        unimplemented!()
    }
    fn receipts(&self, _: &Notice<'_>, _: &str, _: &SmsAccounts) -> Vec<Request<Bytes>> {
        unimplemented!()
    }
    fn inbound(&self, _: &Shown, _: &str, _: &SmsAccounts, _: Timestamp) -> Vec<Request<Bytes>> {
        unimplemented!()
    }
    fn acknowledged(&self, _: &Response<Bytes>, _: CallbackKind) -> Acknowledgement {
        unimplemented!()
    }
}
