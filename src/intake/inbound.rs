//! The door for SMS that come in.
//!
//! Takes what a proven provider handed over and archives it in the thread of the last message
//! between the two numbers: its app, its references, and the id of what it answers. The provider's
//! id makes a resent callback add nothing. Nothing that comes in is ever refused for what it says.
//! Not here: whether the callback is the provider's (`feedback`), and who is told of it (`flow`).

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::Intake;
use crate::archive::{
    Acceptance, Accepted, ArchiveError, Client, Filter, Message, MessageNote, MessagePolicy,
    NewRecipient, Order, RepeatKey, Summary,
};
use crate::model::{
    AppName, Channel, Destination, Dialect, Digest, Direction, EventKind, Medium, Originator,
    RecipientKind, RecipientState, Reference, Reply, Sms, SmsBody, Timestamp, UpstreamName,
};
use crate::policy::{App, Apps, reference};
use crate::sms::provider::Inbound;
use crate::sms::segment;
use crate::telemetry;

/// Messages to one person that are looked through for the one that is answered.
const LOOKED_THROUGH: usize = 50;
/// Characters of the text that lists show.
const PREVIEW_CHARS: usize = 200;

/// An SMS from a proven provider.
#[derive(Clone, Debug)]
pub struct SmsArrival {
    pub upstream: UpstreamName,
    pub inbound: Inbound,
    /// The callback with its secrets masked.
    pub raw: Bytes,
    pub client: IpAddr,
    pub received_at: Timestamp,
}

impl Intake {
    /// Archives an inbound SMS in the thread of the last message between the two numbers. The same
    /// provider id is archived once.
    pub async fn receive_sms(
        &self,
        arrival: SmsArrival,
        apps: &Arc<Apps>,
    ) -> Result<Accepted, ArchiveError> {
        let inbound = &arrival.inbound;
        let answered = self.answered(&inbound.originator, &inbound.destination)?;
        let at = arrival.received_at;
        let key = repeat_key(&arrival.upstream, &inbound.provider_id);
        let acceptance = acceptance(arrival, answered.as_ref(), apps);
        let (app, client) = (acceptance.app.clone(), acceptance.client.address);
        let accepted = self.archive.accept_all(vec![acceptance], Some(key)).await?;
        if let Accepted::New(ids) = &accepted {
            for id in ids.iter().map(|id| id.get()) {
                tracing::info!(%id, %app, %client, "received");
                telemetry::record::submission(Channel::Sms.as_str(), app.as_str(), "received");
                if let Some(answered) = &answered {
                    let detail = Some(format!("by {id}"));
                    let note = MessageNote {
                        message: answered.id,
                        kind: EventKind::Replied,
                        by: None,
                        detail,
                        at,
                    };
                    self.archive.note(note).await?;
                }
            }
        }
        Ok(accepted)
    }

    /// What an earlier callback with the same provider id became.
    pub fn received_before(
        &self,
        upstream: &UpstreamName,
        provider_id: &str,
    ) -> Result<Option<Accepted>, ArchiveError> {
        self.archive.repeated(repeat_key(upstream, provider_id))
    }

    /// Whether this part of a long message is in the archive already, as a part of the whole or
    /// alone. The whole bears the ids of all of its parts, with spaces between them.
    pub fn received_part(&self, part: &Inbound) -> Result<bool, ArchiveError> {
        let filter = Filter {
            channel: Some(Channel::Sms),
            direction: Some(Direction::Inbound),
            sender: Some(part.originator.to_string()),
            ..Filter::default()
        };
        let page = self.archive.list(&filter, Order::Newest, None, LOOKED_THROUGH)?;
        let holds = |message: &Message| {
            let ids = message.medium.sms().and_then(|sms| sms.provider_id.as_deref());
            ids.is_some_and(|ids| ids.split(' ').any(|id| id == part.provider_id))
        };
        Ok(page.items.iter().any(holds))
    }

    /// The last message between the two numbers; without one the last to this person whose
    /// originator is no other number of ours, because a name or a pool can not be answered as such.
    pub fn answered(
        &self,
        person: &Originator,
        ours: &Destination,
    ) -> Result<Option<Message>, ArchiveError> {
        let to_person = Filter {
            channel: Some(Channel::Sms),
            direction: Some(Direction::Outbound),
            recipient: Some(person.to_string()),
            ..Filter::default()
        };
        let between = Filter { sender: Some(ours.to_string()), ..to_person.clone() };
        let found = self.archive.list(&between, Order::Newest, None, 1)?;
        if let Some(message) = found.items.into_iter().next() {
            return Ok(Some(message));
        }
        let found = self.archive.list(&to_person, Order::Newest, None, LOOKED_THROUGH)?;
        Ok(found.items.into_iter().find(|message| {
            match message.medium.sms().and_then(|sms| sms.originator.as_ref()) {
                None | Some(Originator::Alphanumeric(_) | Originator::Service(_)) => true,
                Some(Originator::Number(_) | Originator::ShortCode(_) | Originator::Opaque(_)) => {
                    false
                }
            }
        }))
    }
}

/// The same provider id at the same upstream is the same message, whatever else the callback says:
/// a resent one has another time and another signature.
fn repeat_key(upstream: &UpstreamName, provider_id: &str) -> RepeatKey {
    let name = upstream.as_str().as_bytes();
    let length = (name.len() as u64).to_be_bytes();
    let parts: [&[u8]; 4] = [b"inbound", &length, name, provider_id.as_bytes()];
    let hash = Digest::of_parts(parts);
    let mut fingerprint = [0; 16];
    fingerprint.copy_from_slice(&hash.0[..16]);
    RepeatKey { key: hash.0, fingerprint }
}

/// The app of what is answered, else the one that sends as our number, else the first.
fn app_of<'a>(apps: &'a Apps, answered: Option<&Message>, ours: &str) -> Option<&'a Arc<App>> {
    let by_name = answered.and_then(|m| apps.0.iter().find(|app| app.name == m.app));
    let sends_as = |app: &&Arc<App>| app.sms.originators.iter().any(|p| p.matches(ours));
    by_name.or_else(|| apps.0.iter().find(sends_as)).or_else(|| apps.0.first())
}

/// The dialect in which the app speaks: that of what is answered, else the first in which it takes
/// inbound messages.
fn dialect_of(app: Option<&Arc<App>>, answered: Option<&Message>) -> Dialect {
    let of_answered = answered.and_then(|m| m.medium.sms()).map(|sms| sms.dialect);
    let takes = |dialect: &Dialect| {
        let urls = app.and_then(|app| app.sms.callback_urls(*dialect));
        urls.is_some_and(|urls| urls.inbound.is_some())
    };
    let first = || Dialect::ALL.into_iter().find(takes);
    of_answered.or_else(first).unwrap_or(Dialect::Waybill)
}

pub(super) fn references(
    app: Option<&Arc<App>>,
    answered: Option<&Message>,
    text: &str,
) -> Vec<Reference> {
    let mut references = answered.map(|m| m.references.clone()).unwrap_or_default();
    let own = app.map_or(&[][..], |app| &app.references);
    for found in reference::find(own, &[text]) {
        let is_known = references.iter().any(|r| r.canonical() == found.canonical());
        if !is_known && references.len() < reference::MAX_REFERENCES {
            references.push(found);
        }
    }
    references
}

fn acceptance(arrival: SmsArrival, answered: Option<&Message>, apps: &Apps) -> Acceptance {
    let SmsArrival { upstream, inbound, raw, client, received_at } = arrival;
    let ours = inbound.destination.to_string();
    let app = app_of(apps, answered, &ours);
    let dialect = dialect_of(app, answered);
    let measure = segment::measure(&inbound.body, &inbound.udh);
    let (text, digest) = match &inbound.body {
        SmsBody::Text(text) => (text.as_str(), Digest::of(text.as_bytes())),
        SmsBody::Binary(bytes) => ("", Digest::of(bytes)),
    };
    let state = RecipientState::Sent {
        at: received_at,
        upstream: upstream.clone(),
        reply: Reply::new(200, None, "received"),
        digest,
    };
    let defects = inbound.concatenation.as_ref().map(|alone| {
        format!("this is part {} of {}; the others did not come in time", alone.part, alone.total)
    });
    let summary = Summary {
        preview: text.chars().take(PREVIEW_CHARS).collect(),
        defects: defects.into_iter().collect(),
        ..Summary::default()
    };
    Acceptance {
        accepted_at: received_at,
        direction: Direction::Inbound,
        // A configuration always has an app; what came in is kept even if there were none.
        app: app.map_or_else(nobody, |app| app.name.clone()),
        client: callback_client(client, &upstream),
        digest: Digest::of(&raw),
        raw,
        shared: Vec::new(),
        summary,
        recipients: vec![NewRecipient { name: None, kind: RecipientKind::To, state }],
        references: references(app, answered, text),
        tag: None,
        on_behalf_of: None,
        policy: MessagePolicy {
            hold_unknown: false,
            track_opens: false,
            track_clicks: false,
            is_foreign: false,
        },
        resend_of: None,
        medium: Medium::Sms(Box::new(Sms {
            originator: Some(inbound.originator),
            encoding: measure.encoding,
            segments: u16::try_from(measure.segments).unwrap_or(u16::MAX),
            udh: inbound.udh,
            dialect,
            reply_to: answered.map(|message| message.id),
            provider_id: Some(inbound.provider_id),
            ..Sms::new(inbound.destination, inbound.body)
        })),
    }
}

fn nobody() -> AppName {
    // Seven letters are a name.
    AppName::parse("default").expect("a name")
}

/// Who brought it: the provider's machine, under the upstream's name.
fn callback_client(address: IpAddr, upstream: &UpstreamName) -> Client {
    Client {
        address,
        helo: upstream.to_string(),
        protocol: "HTTP".to_owned(),
        tls: None,
        authenticated: Some(upstream.to_string()),
        gateway: String::new(),
    }
}
