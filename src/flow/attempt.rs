//! One attempt to tell an application of one event: the request made anew from the archived
//! message, sent to where it may go, and the response judged.
//!
//! Signatures and times are those of the attempt. What can not be made or must not be sent is given
//! up at once, for a person to see; everything else is tried again. No URL is logged or kept
//! in an error: it may hold a secret.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::notice::as_it_stood;
use super::plan::dialect_of_inbound;
use super::reply::{self, Answered};
use super::rule::{Flow, FlowAction};
use super::{Flows, webhook};
use crate::archive::{ArchiveError, Delivery, DeliveryKind, Event, Message};
use crate::intake::shown;
use crate::model::{Dialect, Sequence};
use crate::net::client::{FetchError, FetchLimits, Reach};
use crate::policy::{App, CallbackReach};
use crate::sms;
use crate::sms::call::{Acknowledgement, CallbackKind, Notice, SmsReply};

/// What several requests of one delivery may take in all (Vonage tells of each part by itself).
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(40);
/// Twilio's bounds for the timeouts that a fragment of the URL asks for.
const FRAGMENT_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 100..=15_000;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The application took it, or there was nothing to tell.
    Done,
    /// To be tried again. `answered`: there was a response.
    Again { error: String, answered: bool },
    /// It makes no sense to try again.
    GivenUp { error: String },
}

impl Ended {
    fn again(error: impl Into<String>) -> Ended {
        Ended::Again { error: error.into(), answered: true }
    }

    fn given_up(error: impl Into<String>) -> Ended {
        Ended::GivenUp { error: error.into() }
    }
}

/// The requests of one delivery, in order, and how their responses are read.
struct Prepared {
    requests: Vec<Request<Bytes>>,
    reading: Reading,
    limits: FetchLimits,
}

#[derive(Clone, Copy)]
enum Reading {
    /// 2xx is taken, and 410 says that there is nobody to tell any more.
    Webhook,
    Dialect(Dialect, CallbackKind),
}

/// Makes one attempt.
pub(super) async fn attempt(with: &Flows, delivery: &Delivery) -> Result<Ended, ArchiveError> {
    let what = &delivery.what;
    let Some(message) = with.archive.message(what.message)? else { return Ok(Ended::Done) };
    let before = Sequence(what.event.0.saturating_sub(1));
    let events = with.archive.events(what.message, Some(before), 1)?.items;
    let Some(event) = events.first().filter(|event| event.sequence == what.event) else {
        return Ok(Ended::given_up("its event is not in the archive"));
    };
    let apps = with.apps.load_full();
    let app = apps.0.iter().find(|app| app.name == message.app).map(|app| &**app);
    let prepared = match prepare(with, delivery, &message, event, app) {
        Ok(prepared) => prepared,
        Err(error) => return Ok(Ended::given_up(error)),
    };
    let deadline = Instant::now() + DELIVERY_TIMEOUT;
    for request in prepared.requests {
        if Instant::now() >= deadline {
            return Ok(Ended::again("there was no time for all of its requests"));
        }
        let reach = match reach(delivery, &message, app, &request) {
            Ok(reach) => reach,
            Err(error) => return Ok(Ended::given_up(error)),
        };
        match send(with, request, reach, prepared.reading, prepared.limits).await {
            Ok(replies) if replies.is_empty() => {}
            Ok(replies) => {
                if reply::by_app(with, &message, replies).await? == Answered::NotNow {
                    return Ok(Ended::again("its replies can not be taken now"));
                }
            }
            Err(ended) => return Ok(ended),
        }
    }
    Ok(Ended::Done)
}

fn prepare(
    with: &Flows,
    delivery: &Delivery,
    message: &Message,
    event: &Event,
    app: Option<&App>,
) -> Result<Prepared, &'static str> {
    let (now, url) = ((with.clock)(), delivery.what.url.as_str());
    if delivery.what.kind == DeliveryKind::Webhook {
        let flows = with.flows.load();
        let action = flows.iter().find_map(|flow| webhook_of(flow, url));
        let (url, secret) = action.ok_or("no rule of the configuration names this URL any more")?;
        let uri = url.as_str().parse().map_err(|_| "the URL can not be called")?;
        let requests = vec![webhook::request(message, event, uri, secret, now)];
        let limits = FetchLimits::default();
        return Ok(Prepared { requests, reading: Reading::Webhook, limits });
    }
    let app = app.ok_or("its app is no longer configured")?;
    let shown = shown(message).ok_or("it is no SMS")?;
    let accounts = &app.sms.accounts;
    let (dialect, kind) = match delivery.what.kind {
        DeliveryKind::Inbound => {
            let dialect = dialect_of_inbound(app, url);
            let dialect = dialect.ok_or("no account of its app names this URL any more")?;
            (dialect, CallbackKind::Inbound)
        }
        DeliveryKind::Receipt | DeliveryKind::Webhook => (shown.sms.dialect, CallbackKind::Receipt),
    };
    let (limits, target) = limits(dialect, url);
    let port = sms::port(dialect);
    let requests = match kind {
        CallbackKind::Inbound => port.inbound(&shown, target, accounts, now),
        CallbackKind::Receipt => {
            let message = as_it_stood(shown, event);
            let notice = Notice { message: &message, event: event.sequence, at: event.at, now };
            port.receipts(&notice, target, accounts)
        }
    };
    Ok(Prepared { requests, reading: Reading::Dialect(dialect, kind), limits })
}

fn webhook_of<'a>(
    flow: &'a Flow,
    wanted: &str,
) -> Option<(&'a Url, Option<&'a crate::model::Secret>)> {
    match &flow.action {
        FlowAction::Webhook { url, secret } if url.as_str() == wanted => {
            Some((url, secret.as_ref()))
        }
        FlowAction::Webhook { .. } | FlowAction::Reply { .. } => None,
    }
}

/// Twilio lets the fragment of a callback's URL tune its timeouts (`#ct=2000&rt=5000&tt=9000`); it is
/// never sent.
fn limits(dialect: Dialect, url: &str) -> (FetchLimits, &str) {
    let mut limits = FetchLimits::default();
    let Some((target, fragment)) = url.split_once('#').filter(|_| dialect == Dialect::Twilio)
    else {
        return (limits, url);
    };
    for pair in fragment.split('&') {
        let Some((name, value)) = pair.split_once('=') else { continue };
        let value = value.parse().ok().filter(|ms| FRAGMENT_TIMEOUT_MS.contains(ms));
        let Some(time) = value.map(Duration::from_millis) else { continue };
        match name {
            "ct" => limits.connect_timeout = time,
            "rt" | "tt" => limits.timeout = limits.timeout.min(time),
            _ => {}
        }
    }
    (limits, target)
}

/// Whether the configuration names where this goes; if not, only public addresses are reached.
fn reach(
    delivery: &Delivery,
    message: &Message,
    app: Option<&App>,
    request: &Request<Bytes>,
) -> Result<Reach, &'static str> {
    let own = |app: &App| {
        let dialect = message.medium.sms().map(|sms| sms.dialect)?;
        app.sms.callback_urls(dialect)?.status.clone()
    };
    match delivery.what.kind {
        DeliveryKind::Webhook | DeliveryKind::Inbound => Ok(Reach::Configured),
        DeliveryKind::Receipt => {
            let app = app.ok_or("its app is no longer configured")?;
            if own(app).is_some_and(|url| url == delivery.what.url) {
                return Ok(Reach::Configured);
            }
            let url = Url::parse(&request.uri().to_string()).map_err(|_| "the URL is none")?;
            match app.sms.callback_reach(&url) {
                Some(CallbackReach::Public) => Ok(Reach::Public),
                Some(CallbackReach::Listed) => Ok(Reach::Configured),
                None => Err("its app may not be called back there"),
            }
        }
    }
}

/// Sends one request; gives the replies of a response that took it.
async fn send(
    with: &Flows,
    request: Request<Bytes>,
    reach: Reach,
    reading: Reading,
    limits: FetchLimits,
) -> Result<Vec<SmsReply>, Ended> {
    let response =
        with.client.fetch(request, reach, limits).await.map_err(|error| match error {
            FetchError::Forbidden(why) => Ended::GivenUp { error: why },
            FetchError::NotSent(error) | FetchError::NoResponse(error) => {
                Ended::Again { error, answered: false }
            }
        })?;
    let status = response.status();
    match reading {
        Reading::Webhook if status.is_success() => Ok(Vec::new()),
        Reading::Webhook if status == StatusCode::GONE => {
            Err(Ended::given_up("the receiver says that it is gone (410)"))
        }
        Reading::Webhook => Err(Ended::again(format!("the answer was {}", status.as_u16()))),
        Reading::Dialect(dialect, kind) => match sms::port(dialect).acknowledged(&response, kind) {
            Acknowledgement::Taken { replies } => Ok(replies),
            Acknowledgement::NotTaken => {
                Err(Ended::again(format!("the answer was {}", status.as_u16())))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fragment_tunes_timeouts_and_is_never_sent() {
        let check = |dialect, url: &str, expected: (u64, u64, &str)| {
            let (limits, target) = limits(dialect, url);
            let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap();
            assert_eq!((ms(limits.connect_timeout), ms(limits.timeout), target), expected, "{url}");
        };
        let base = "https://a.example/x";
        check(Dialect::Twilio, base, (5_000, 15_000, base));
        check(
            Dialect::Twilio,
            "https://a.example/x#ct=1&rt=99999999&tt=x&y",
            (5_000, 15_000, base),
        );
        check(Dialect::Twilio, "https://a.example/x#ct=200&rt=3000", (200, 3_000, base));
        check(
            Dialect::Kannel,
            "https://a.example/#x?%d",
            (5_000, 15_000, "https://a.example/#x?%d"),
        );
    }
}
