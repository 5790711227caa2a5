//! The stored facts of an SMS, inside the record of its message.

use serde::{Deserialize, Serialize};

use crate::model::{
    Destination, Dialect, MessageId, Originator, ReceiptRequest, Sms, SmsBatch, SmsBody,
    SmsEncoding, Timestamp,
};

use super::Corrupt;

/// An SMS; addresses in their normal form, the dialect by its word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::archive) struct StoredSms {
    originator: Option<String>,
    destination: String,
    body: StoredSmsBody,
    udh: Vec<u8>,
    encoding: StoredEncoding,
    segments: u16,
    class: Option<u8>,
    valid_until: Option<i64>,
    send_at: Option<i64>,
    dialect: String,
    account: Option<String>,
    client_reference: Option<String>,
    receipt: Option<StoredReceiptRequest>,
    /// Which of the messages of its call it is, and how many there were.
    batch: (u32, u32),
    fingerprint: [u8; 16],
    reply_to: Option<u128>,
    provider_id: Option<String>,
    confirms_opt_out: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum StoredSmsBody {
    Text(String),
    Binary(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum StoredEncoding {
    Gsm7,
    Ucs2,
    Binary,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct StoredReceiptRequest {
    url: String,
    mask: u8,
}

impl StoredSms {
    pub(super) fn new(sms: &Sms) -> StoredSms {
        StoredSms {
            originator: sms.originator.as_ref().map(ToString::to_string),
            destination: sms.destination.to_string(),
            body: match &sms.body {
                SmsBody::Text(text) => StoredSmsBody::Text(text.clone()),
                SmsBody::Binary(data) => StoredSmsBody::Binary(data.clone()),
            },
            udh: sms.udh.clone(),
            encoding: match sms.encoding {
                SmsEncoding::Gsm7 => StoredEncoding::Gsm7,
                SmsEncoding::Ucs2 => StoredEncoding::Ucs2,
                SmsEncoding::Binary => StoredEncoding::Binary,
            },
            segments: sms.segments,
            class: sms.class,
            valid_until: sms.valid_until.map(Timestamp::as_millis),
            send_at: sms.send_at.map(Timestamp::as_millis),
            dialect: sms.dialect.as_str().to_owned(),
            account: sms.account.clone(),
            client_reference: sms.client_reference.clone(),
            receipt: sms
                .receipt
                .as_ref()
                .map(|r| StoredReceiptRequest { url: r.url.clone(), mask: r.mask }),
            batch: (sms.batch.index, sms.batch.count),
            fingerprint: sms.fingerprint,
            reply_to: sms.reply_to.map(MessageId::as_u128),
            provider_id: sms.provider_id.clone(),
            confirms_opt_out: sms.confirms_opt_out,
        }
    }

    pub(super) fn sms(&self) -> Result<Sms, Corrupt> {
        let originator = |text: &String| {
            Originator::parse(text).ok_or_else(|| Corrupt::new("originator", "it has no such form"))
        };
        Ok(Sms {
            originator: self.originator.as_ref().map(originator).transpose()?,
            destination: Destination::parse(&self.destination)
                .ok_or_else(|| Corrupt::new("destination", "it has no such form"))?,
            body: match &self.body {
                StoredSmsBody::Text(text) => SmsBody::Text(text.clone()),
                StoredSmsBody::Binary(data) => SmsBody::Binary(data.clone()),
            },
            udh: self.udh.clone(),
            encoding: match self.encoding {
                StoredEncoding::Gsm7 => SmsEncoding::Gsm7,
                StoredEncoding::Ucs2 => SmsEncoding::Ucs2,
                StoredEncoding::Binary => SmsEncoding::Binary,
            },
            segments: self.segments,
            class: self.class,
            valid_until: self.valid_until.map(Timestamp::from_millis),
            send_at: self.send_at.map(Timestamp::from_millis),
            dialect: Dialect::parse(&self.dialect)
                .ok_or_else(|| Corrupt::new("dialect", &self.dialect))?,
            account: self.account.clone(),
            client_reference: self.client_reference.clone(),
            receipt: self
                .receipt
                .as_ref()
                .map(|r| ReceiptRequest { url: r.url.clone(), mask: r.mask }),
            batch: SmsBatch { index: self.batch.0, count: self.batch.1 },
            fingerprint: self.fingerprint,
            reply_to: self.reply_to.map(MessageId::from_u128),
            provider_id: self.provider_id.clone(),
            confirms_opt_out: self.confirms_opt_out,
        })
    }

    /// Takes away what it says; addresses, encoding and segments stay.
    pub(super) fn redact(&mut self) {
        self.body = match &self.body {
            StoredSmsBody::Text(_) => StoredSmsBody::Text(String::new()),
            StoredSmsBody::Binary(_) => StoredSmsBody::Binary(Vec::new()),
        };
        self.udh = Vec::new();
    }
}
