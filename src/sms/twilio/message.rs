//! Messages and pages as Twilio shows them: all keys, always, each of its own type.
//!
//! Numbers of segments and media are strings, error codes are integers, times are RFC 2822 in UTC,
//! and what is not known is `null`.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::code::{self, Code};
use super::request::{VERSION, page_token};
use super::{sid, write};
use crate::model::{Direction, FailureReason, MessageId, Originator, Timestamp};
use crate::sms::call::{
    Answer, Call, Format, Handle, ListQuery, Operation, Probe, Refusal, Shown, ShownState,
};
use crate::sms::form::Fields;
use crate::sms::response;

/// Whose view this is, and in which form its links lead on.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub account: &'a str,
    pub format: Format,
}

/// The response to everything that was not refused.
pub(super) fn response(call: &Call, answer: &Answer<'_>) -> Response<Bytes> {
    let view = View { account: call.account.as_deref().unwrap_or_default(), format: call.format };
    let one = |status: StatusCode, shown: &[Shown], state: fn(&Shown) -> Status| {
        let Some(shown) = shown.first() else { return unknown(call) };
        write::response(status, view.format, "Message", &view.message(shown, state(shown)))
    };
    match answer {
        Answer::Submitted(shown) => one(StatusCode::CREATED, shown, initial),
        Answer::Found(shown) | Answer::Canceled(shown) => one(StatusCode::OK, shown, status),
        Answer::Redacted(shown) => one(StatusCode::OK, std::slice::from_ref(shown), status),
        Answer::Listed { page, query, next } => {
            let view = view.page(page, query, *next);
            write::page(call.format, ("messages", "message"), &view)
        }
        Answer::Deleted => response::empty(StatusCode::NO_CONTENT),
        Answer::Probed(probe) => view.probe(*probe),
        Answer::Refused(refusal) => super::refusal::response(refusal, call.format, &path(call)),
    }
}

/// An answer without a message is one about a message that is not there.
fn unknown(call: &Call) -> Response<Bytes> {
    super::refusal::response(&Refusal::UnknownMessage, call.format, &path(call))
}

/// What was asked for, as far as its text names it.
fn path(call: &Call) -> String {
    let account = call.account.as_deref().unwrap_or_default();
    let view = View { account, format: call.format };
    match &call.operation {
        Operation::Fetch(handle)
        | Operation::Cancel(handle)
        | Operation::Redact(handle)
        | Operation::Delete(handle) => match handle {
            Handle::Message(id) => view.uri(*id),
            Handle::Batch(_) | Handle::Unknown => {
                format!("/{VERSION}/Accounts/{account}/Messages")
            }
        },
        Operation::Submit(_) | Operation::List(_) | Operation::Probe(_) => {
            format!("/{VERSION}/Accounts/{account}/Messages{}", view.extension())
        }
    }
}

/// What a message is called, and why it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub word: &'static str,
    pub error: Option<Code>,
    /// Nobody has measured it yet: a pool has not picked its sender.
    is_unmeasured: bool,
}

impl Status {
    fn plain(word: &'static str) -> Status {
        Status { word, error: None, is_unmeasured: false }
    }

    fn failed(word: &'static str, error: Code) -> Status {
        Status { word, error: Some(error), is_unmeasured: false }
    }
}

/// What a new message is called, whatever has become of it meanwhile: `accepted` when a pool
/// is to pick its sender, else `queued`.
fn initial(shown: &Shown) -> Status {
    if shown.state == ShownState::Scheduled {
        return Status { is_unmeasured: is_pool(shown), ..Status::plain("scheduled") };
    }
    waiting(shown)
}

fn waiting(shown: &Shown) -> Status {
    match is_pool(shown) {
        true => Status { is_unmeasured: true, ..Status::plain("accepted") },
        false => Status::plain("queued"),
    }
}

fn is_pool(shown: &Shown) -> bool {
    matches!(shown.sms.originator, Some(Originator::Service(_)))
}

/// What a message is called.
pub(super) fn status(shown: &Shown) -> Status {
    let because = |otherwise: Code| match shown.failure {
        None | Some(FailureReason::Unknown) => otherwise,
        Some(reason) => code::of(reason),
    };
    match shown.state {
        ShownState::Held | ShownState::Queued => waiting(shown),
        ShownState::Scheduled => initial(shown),
        ShownState::Sending => Status::plain("sending"),
        ShownState::Sent => Status::plain("sent"),
        ShownState::Delivered => Status::plain("delivered"),
        ShownState::Undelivered => Status::failed("undelivered", because(code::UNKNOWN)),
        ShownState::Expired => Status::failed("failed", code::EXPIRED),
        ShownState::Canceled => Status::plain("canceled"),
        ShownState::Stopped => Status::failed("failed", because(code::BLOCKED)),
        ShownState::Rejected => Status::failed("failed", because(code::FILTERED)),
        ShownState::NotSent => Status::failed("failed", code::of(FailureReason::NoRoute)),
        ShownState::Received => Status::plain("received"),
    }
}

impl View<'_> {
    fn extension(self) -> &'static str {
        match self.format {
            Format::Json | Format::Text | Format::Gateway => ".json",
            Format::Xml => "",
        }
    }

    fn uri(self, id: MessageId) -> String {
        let (account, sid, extension) = (self.account, sid::of(id), self.extension());
        format!("/{VERSION}/Accounts/{account}/Messages/{sid}{extension}")
    }

    fn message(self, shown: &Shown, status: Status) -> Value {
        let sms = &shown.sms;
        let (from, service) = match &sms.originator {
            Some(Originator::Service(service)) => (None, Some(service.to_string())),
            originator => (originator.as_ref().map(Originator::to_string), None),
        };
        let direction = match (shown.direction, sms.reply_to) {
            (Direction::Inbound, _) => "inbound",
            (Direction::Outbound, Some(_)) => "outbound-reply",
            (Direction::Outbound, None) => "outbound-api",
        };
        let segments = if status.is_unmeasured { 0 } else { sms.segments };
        let (account, sid) = (self.account, sid::of(shown.id));
        let media = self.extension();
        json!({
            "account_sid": account,
            "api_version": VERSION,
            "body": sms.text(),
            "date_created": shown.accepted_at.to_rfc5322(),
            "date_sent": shown.sent_at.map(Timestamp::to_rfc5322),
            "date_updated": shown.updated_at.to_rfc5322(),
            "direction": direction,
            "error_code": status.error.map(|error| error.number),
            "error_message": status.error.map(|error| error.text),
            "from": from,
            "messaging_service_sid": service,
            "num_media": "0",
            "num_segments": segments.to_string(),
            "price": null,
            "price_unit": null,
            "sid": sid,
            "status": status.word,
            "subresource_uris": {
                "media": format!("/{VERSION}/Accounts/{account}/Messages/{sid}/Media{media}"),
            },
            "to": sms.destination.to_string(),
            "uri": self.uri(shown.id),
        })
    }

    /// Iteration ends where `next_page_uri` is `null`.
    fn page(self, page: &[Shown], query: &ListQuery, next: Option<MessageId>) -> Value {
        let messages: Vec<Value> = page.iter().map(|m| self.message(m, status(m))).collect();
        let link = |number: u32, after: Option<MessageId>| {
            let mut fields = filters(query);
            fields.push("PageSize", &query.page_size.to_string());
            fields.push("Page", &number.to_string());
            if let Some(after) = after {
                fields.push("PageToken", &page_token(after));
            }
            let (account, extension) = (self.account, self.extension());
            format!("/{VERSION}/Accounts/{account}/Messages{extension}?{}", fields.encode())
        };
        let start = usize::try_from(query.page).unwrap_or(0).saturating_mul(query.page_size);
        json!({
            "end": start.saturating_add(page.len().saturating_sub(1)),
            "first_page_uri": link(0, None),
            "messages": messages,
            "next_page_uri": next.map(|next| link(query.page.saturating_add(1), Some(next))),
            "page": query.page,
            "page_size": query.page_size,
            // Pages are found by what stood before them, which leads forwards only.
            "previous_page_uri": null,
            "start": start,
            "uri": link(query.page, query.after),
        })
    }

    fn probe(self, probe: Probe) -> Response<Bytes> {
        let (account, extension) = (self.account, self.extension());
        let base = format!("/{VERSION}/Accounts/{account}");
        match probe {
            Probe::Account => {
                let view = json!({
                    "date_created": null,
                    "date_updated": null,
                    "friendly_name": "Waybill",
                    "owner_account_sid": account,
                    "sid": account,
                    "status": "active",
                    "subresource_uris": {
                        "messages": format!("{base}/Messages{extension}"),
                        "incoming_phone_numbers": format!("{base}/IncomingPhoneNumbers{extension}"),
                    },
                    "type": "Full",
                    "uri": format!("{base}{extension}"),
                });
                write::response(StatusCode::OK, self.format, "Account", &view)
            }
            // There is no money here, but careful clients do not send when they read zero.
            Probe::Balance => {
                let view = json!({"account_sid": account, "balance": "1000.00", "currency": "USD"});
                write::response(StatusCode::OK, self.format, "Balance", &view)
            }
            Probe::Numbers => {
                let link = format!("{base}/IncomingPhoneNumbers{extension}?PageSize=50&Page=0");
                let view = json!({
                    "end": 0, "first_page_uri": link, "incoming_phone_numbers": [],
                    "next_page_uri": null, "page": 0, "page_size": 50,
                    "previous_page_uri": null, "start": 0, "uri": link,
                });
                let names = ("incoming_phone_numbers", "incoming_phone_number");
                write::page(self.format, names, &view)
            }
        }
    }
}

/// What the next page must ask for again.
fn filters(query: &ListQuery) -> Fields {
    let mut fields = Fields::default();
    let mut push = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            fields.push(name, &value);
        }
    };
    push("To", query.to.clone());
    push("From", query.from.clone());
    push("DateSent>", query.since.map(|at| at.to_string()));
    push("DateSent<", query.until.map(|at| at.to_string()));
    fields
}
