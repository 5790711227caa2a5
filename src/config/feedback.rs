//! What follows a message after it left: `[tracking]`, `[dkim]`, `[feedback]`, `[[flow]]`.

use super::address::{DOMAIN, LISTEN, MAILBOX};
use super::kind::{Complaint, Flag, List, Word};
use super::listener::{Ports, read_listener_tls};
use super::pattern::{GLOB, Glob, HTTP_URL, REGEX};
use super::problem::closest;
use super::secret::{OneLine, PemKey};
use super::section::Section;
use super::sms::REPLY;
use crate::evidence::LinkSettings;
use crate::feedback::settings::{ReturnPathListener, ReturnPathSettings, ReturnPathTls};
use crate::flow::{Flow, FlowAction, FlowMatcher};
use crate::model::{Channel, EventKind, Secret};
use crate::rewrite::{DkimKeyError, DkimSigner, PublicUrl};
use crate::submission::settings::ListenerTls;
use url::Url;

/// `[tracking]`.
#[derive(Clone, Debug)]
pub struct TrackingSettings {
    pub links: LinkSettings,
    /// Where links and pixels lead, as the other doors name it.
    pub public_url: Url,
    pub anonymize_ip: bool,
}

/// `hooks`: the URL of `[public]`.
pub(super) fn read_tracking(
    top: &Section<'_, '_>,
    hooks: Option<&Url>,
) -> Option<TrackingSettings> {
    top.optional_table("tracking", |tracking| {
        let url = tracking.required("public_url", &HTTP_URL);
        let exclude = tracking.get("exclude", &List(GLOB), Vec::new());
        let anonymize_ip = tracking.get("anonymize_ip", &Flag, true);
        let honeypot = tracking.get("honeypot", &Flag, false);
        let report = &tracking.context.report;
        if url.as_ref().is_some_and(|url| url.scheme() == "http") {
            let what = "public_url is not https, so mail programs warn of its links";
            let advice = "write an https:// URL that a TLS proxy or Waybill's own TLS answers";
            report.warning(tracking.place("public_url"), what, advice);
        }
        if url.as_ref().is_some_and(|url| is_below_hooks(url, hooks)) {
            let what = "public_url ends where the URLs begin that providers call";
            let advice = "let it end in another path, such as \"https://t.example.com/mail\"";
            report.error(tracking.place("public_url"), what, advice);
        }
        let public_url = url.as_ref().and_then(|url| PublicUrl::parse(url.as_str()));
        if url.is_some() && public_url.is_none() {
            let what = "public_url is too long, or has more than scheme, host, port and path";
            let advice = "write a short one, such as \"https://t.example.com\"";
            report.error(tracking.place("public_url"), what, advice);
        }
        let exclude = exclude.into_iter().map(|glob| glob.text).collect();
        let links = LinkSettings { public_url: public_url?, exclude, honeypot };
        Some(TrackingSettings { links, public_url: url?, anonymize_ip })
    })
}

/// Links and callbacks are answered on one port, each below the path of its own URL, and without it. Were the
/// links below the callbacks, an upstream called `o` or `c` would not be heard.
fn is_below_hooks(links: &Url, hooks: Option<&Url>) -> bool {
    let path = |url: &Url| url.path().trim_end_matches('/').to_owned();
    let (links, hooks) = (path(links), hooks.map(path).unwrap_or_default());
    links == "/hooks" || links == format!("{hooks}/hooks")
}

pub(super) fn read_dkim(top: &Section<'_, '_>) -> Vec<DkimSigner> {
    top.table("dkim", |dkim| {
        let keys = dkim.tables("key", |key| {
            let domain = key.required("domain", &DOMAIN);
            let selector = key.required("selector", &DOMAIN);
            let private_key = key.required("private_key", &PemKey);
            let place = key.place("selector");
            match DkimSigner::from_pem(domain?, selector?.as_str(), &private_key?) {
                Ok(signer) => Some((signer, place)),
                Err(error) => {
                    let (at, advice) = match error {
                        DkimKeyError::Selector => ("selector", "write one such as \"s2026\""),
                        DkimKeyError::Domain => ("domain", "write it as DNS has it, in A-labels"),
                        DkimKeyError::Pem | DkimKeyError::Kind => {
                            ("private_key", "make one with `openssl genrsa 2048`")
                        }
                    };
                    dkim.context.report.error(key.place(at), error.to_string(), advice);
                    None
                }
            }
        });
        let keys: Vec<_> = keys.into_iter().flatten().collect();
        for (index, (key, place)) in keys.iter().enumerate() {
            if keys[..index].iter().any(|(other, _)| other.dns_name() == key.dns_name()) {
                let what = format!("there are two keys {}", key.dns_name());
                let advice = "give each key its own selector";
                dkim.context.report.error(place.clone(), what, advice);
            }
        }
        keys.into_iter().map(|(key, _)| key).collect()
    })
}

pub(super) fn read_feedback(
    top: &Section<'_, '_>,
    has_tls: bool,
    ports: &mut Ports,
) -> Option<ReturnPathSettings> {
    top.optional_table("feedback", |feedback| {
        let return_path = feedback.required("return_path", &MAILBOX);
        let listeners = feedback.tables("listener", |listener| {
            let listen = listener.required("listen", &LISTEN).flatten();
            let tls = match read_listener_tls(listener, has_tls) {
                ListenerTls::Off => ReturnPathTls::Off,
                ListenerTls::StartTls => ReturnPathTls::StartTls,
                ListenerTls::Implicit => ReturnPathTls::Implicit,
            };
            if let Some(listen) = listen {
                ports.take(listen, listener);
            }
            listen.map(|listen| ReturnPathListener { listen, tls })
        });
        let listeners = listeners.into_iter().flatten().collect();
        Some(ReturnPathSettings { return_path: return_path?, listeners })
    })
}

/// `sms.received`, `email.bounced`, or the event alone for both channels.
const ON: Word<(Option<Channel>, EventKind)> = Word {
    expected: "an event",
    example: "sms.received",
    parse: |text| {
        let (channel, event) = match text.split_once('.') {
            Some((channel, event)) => {
                let instead =
                    || Complaint::instead("write \"email.\" or \"sms.\" before the event");
                (Some(Channel::parse(channel).ok_or_else(instead)?), event)
            }
            None => (None, text),
        };
        let kind = EventKind::parse(event).ok_or_else(|| {
            let words = EventKind::ALL.map(EventKind::as_str);
            match closest(event, words) {
                Some(word) => Complaint::instead(format!("did you mean {word:?}?")),
                None => Complaint::instead(format!("the events are {}", words.join(", "))),
            }
        })?;
        Ok((channel, kind))
    },
    write: |(channel, event)| match channel {
        Some(channel) => format!("{}.{}", channel.as_str(), event.as_str()),
        None => event.as_str().to_owned(),
    },
};

pub(super) fn read_flows(top: &Section<'_, '_>) -> Vec<Flow> {
    let flows = top.tables("flow", |flow| {
        let on = flow.required("on", &ON);
        let event = on.map(|(_, event)| event);
        let matcher = flow.optional_table("match", |matcher| read_matcher(matcher, event));
        let matcher = matcher.unwrap_or_default();
        let webhook = flow.optional_table("webhook", read_webhook);
        let reply = flow.optional("reply", &REPLY);
        if flow.is_set("webhook") == flow.is_set("reply") {
            let what = match reply {
                None => "[[flow]] does nothing, because it has neither webhook nor reply",
                Some(_) => "[[flow]] has both webhook and reply",
            };
            let advice = "write webhook = { url = \"https://…\", secret = { file = \"…\" } }, \
                          or reply = \"…\"";
            flow.context.report.error(flow.place(""), what, advice);
        }
        if reply.is_some() && on.is_some_and(|on| on != (Some(Channel::Sms), EventKind::Received)) {
            let what = "only an SMS that came in can be replied to";
            flow.context.report.error(flow.place("on"), what, "write on = \"sms.received\"");
        }
        let (channel, event) = on?;
        let webhook = webhook.map(|Webhook { url, secret }| FlowAction::Webhook { url, secret });
        let action = webhook.or(reply.map(|text| FlowAction::Reply { text }))?;
        Some(Flow { channel, event, matcher, action })
    });
    flows.into_iter().flatten().collect()
}

fn read_matcher(matcher: &Section<'_, '_>, event: Option<EventKind>) -> Option<FlowMatcher> {
    let glob = |key| matcher.optional(key, &GLOB).map(|glob: Glob| glob.pattern);
    let is_visit = matches!(event, None | Some(EventKind::Opened | EventKind::Clicked));
    if matcher.is_set("automated") && !is_visit {
        let what = "only opens and clicks may be those of machines";
        let advice = "take automated away, or write on = \"email.opened\" or \"email.clicked\"";
        matcher.context.report.error(matcher.place("automated"), what, advice);
    }
    Some(FlowMatcher {
        text: matcher.optional("text", &REGEX),
        app: glob("app"),
        sender: glob("sender"),
        recipient: glob("recipient"),
        tag: glob("tag"),
        automated: matcher.optional("automated", &Flag),
    })
}

/// Where a signed notice goes.
struct Webhook {
    url: Url,
    secret: Option<Secret>,
}

fn read_webhook(webhook: &Section<'_, '_>) -> Option<Webhook> {
    let url = webhook.required("url", &HTTP_URL);
    let secret = webhook.optional("secret", &OneLine);
    if secret.is_none() && !webhook.is_set("secret") {
        let what = "a webhook without a secret is not signed, so anybody can send the same";
        let advice = "write secret = { file = \"…\" }";
        webhook.context.report.warning(webhook.place("url"), what, advice);
    }
    Some(Webhook { url: url?, secret })
}
