//! Sending an archived message once more, as a new message.
//!
//! Without changes the archived bytes go again as they are. With changes a mail is put together anew:
//! fields that nobody changed are taken over byte for byte (`From`, `In-Reply-To`, `References`), what
//! belongs to one message alone is made new (`Message-ID`, `Date`), and what only said how the first
//! one travelled stays behind (`Received`, signatures). The new message passes the door like every
//! other: its app's policy, rate and suppressions are asked as they are now; only a hold is not,
//! because a person has just looked at it. The original is not touched; its history says `resent`.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::text::Text;

use super::{Intake, Milestone, Submission};
use crate::archive::{Acceptance, Accepted, ArchiveError, Client, Message};
use crate::mime;
use crate::model::{
    Dialect, Direction, Envelope, EnvelopeRecipient, ForwardPath, Mailbox, Medium, MessageId,
    RecipientState, Sms, SmsBody, SteeringField, Timestamp,
};
use crate::policy::{App, Apps};
use crate::sms::call::{Draft, HoldWish, Refusal};
use crate::sms::number::NumberStyle;
use crate::telemetry;

/// Recipients of one message that is sent again with changes.
const MAX_RECIPIENTS: usize = 1_000;
/// Longest subject, in characters.
const MAX_SUBJECT_CHARS: usize = 2_000;

/// What is to be changed; nothing at all is the exact message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResendEdits {
    /// One of the three replaces all recipients.
    pub to: Option<Vec<String>>,
    pub cc: Option<Vec<String>>,
    pub bcc: Option<Vec<String>>,
    pub subject: Option<String>,
    pub text: Option<String>,
    pub html: Option<String>,
    /// The attachments that stay, by their index.
    pub keep: Option<Vec<u16>>,
}

/// Who wants it, and when.
#[derive(Clone, Debug)]
pub struct ResendWish {
    pub original: Message,
    pub edits: ResendEdits,
    pub by: String,
    pub client: IpAddr,
    pub at: Timestamp,
}

/// Why a message is not sent again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResendRefusal {
    #[error("only what was sent can be sent again; this message came in")]
    Inbound,
    #[error("its content was deleted")]
    Erased,
    #[error("its app {0} is not configured any more")]
    NoApp(String),
    #[error("it is signed or encrypted: a change would break that; it can be sent again as it is")]
    Sealed,
    #[error("{why}")]
    Field { name: &'static str, why: String },
    /// The door's own words.
    #[error("{0}")]
    Refused(String),
    #[error("it can not be stored now")]
    NotNow,
}

/// The door for messages that are sent again; clones share it.
#[derive(Clone)]
pub struct Resender {
    intake: Intake,
    apps: Arc<ArcSwap<Apps>>,
    /// The right side of new Message-IDs.
    hostname: Arc<str>,
}

impl Resender {
    /// Sends through this door, by the policies of these apps.
    pub fn new(intake: Intake, apps: Arc<ArcSwap<Apps>>, hostname: &str) -> Resender {
        Resender { intake, apps, hostname: hostname.into() }
    }

    /// Sends a message once more. `Ok` means that the new one is on disk.
    pub async fn resend(&self, wish: ResendWish) -> Result<MessageId, ResendRefusal> {
        if wish.original.direction == Direction::Inbound {
            return Err(ResendRefusal::Inbound);
        }
        if wish.original.redacted_at.is_some() {
            return Err(ResendRefusal::Erased);
        }
        let apps = self.apps.load();
        let app = apps.0.iter().find(|app| app.name == wish.original.app).cloned();
        let app = app.ok_or_else(|| ResendRefusal::NoApp(wish.original.app.to_string()))?;
        let channel = wish.original.channel().as_str();
        if let Err(which) = self.intake.limits.load().check(&app.name) {
            telemetry::record::submission(channel, app.name.as_str(), "deferred");
            let why = format!("this application sends more than its {which}; try again later");
            return Err(ResendRefusal::Refused(why));
        }
        let name = app.name.clone();
        let outcome = self.take(wish, app).await;
        let word = match &outcome {
            Ok(_) => "accepted",
            Err(ResendRefusal::NotNow) => "deferred",
            Err(_) => "refused",
        };
        telemetry::record::submission(channel, name.as_str(), word);
        outcome
    }

    async fn take(&self, wish: ResendWish, app: Arc<App>) -> Result<MessageId, ResendRefusal> {
        let door = self.clone();
        let make = move || door.acceptance(wish, app);
        let acceptance = tokio::task::spawn_blocking(make);
        let acceptance = acceptance.await.map_err(|_| ResendRefusal::NotNow)??;
        let milestone = Milestone::of(&acceptance);
        match self.intake.archive.accept_all(vec![acceptance], None).await {
            Ok(Accepted::New(ids) | Accepted::Repeated(ids)) => {
                let id = ids.first().ok_or(ResendRefusal::NotNow)?.get();
                milestone.tell(id);
                Ok(id)
            }
            Ok(Accepted::Conflict) => Err(ResendRefusal::NotNow),
            Err(error) => Err(not_now(&error)),
        }
    }

    fn acceptance(&self, wish: ResendWish, app: Arc<App>) -> Result<Acceptance, ResendRefusal> {
        let (of, at) = (wish.original.id, wish.at);
        let mut acceptance = match wish.original.medium.clone() {
            Medium::Mail(envelope) => self.mail(wish, app, envelope)?,
            Medium::Sms(sms) => self.sms(wish, app, &sms)?,
        };
        acceptance.resend_of = Some(of);
        for recipient in &mut acceptance.recipients {
            match &recipient.state {
                RecipientState::Held { .. } => {
                    recipient.state = RecipientState::Due { at, rank: 0 };
                }
                RecipientState::Due { .. }
                | RecipientState::Claimed { .. }
                | RecipientState::Sent { .. }
                | RecipientState::Stopped { .. }
                | RecipientState::Failed { .. }
                | RecipientState::NotSent { .. } => {}
            }
        }
        Ok(acceptance)
    }

    fn client(&self, wish: &ResendWish) -> Client {
        Client {
            address: wish.client,
            helo: String::new(),
            protocol: "HTTP".into(),
            tls: None,
            authenticated: Some(wish.by.clone()),
            gateway: wish.original.client.gateway.clone(),
        }
    }

    fn mail(
        &self,
        wish: ResendWish,
        app: Arc<App>,
        original: Envelope,
    ) -> Result<Acceptance, ResendRefusal> {
        let raw = self.intake.archive.raw(wish.original.id).map_err(|error| not_now(&error))?;
        let raw = raw.ok_or(ResendRefusal::Erased)?;
        let people = People::read(&wish.edits)?;
        let is_exact = wish.edits == ResendEdits::default();
        let envelope = match &people {
            None => Envelope { release: None, ..original },
            Some(people) => people.envelope(&original),
        };
        if !app.may_send_as(&envelope.reverse_path) {
            let why = "this application may not send as the original's return address any more";
            return Err(ResendRefusal::Refused(why.into()));
        }
        let raw = match is_exact {
            true => raw,
            false => self.rebuilt(&raw, &wish, people.as_ref())?,
        };
        let submission = Submission {
            app,
            envelope,
            client: self.client(&wish),
            raw,
            newlines_fixed: false,
            received_at: wish.at,
        };
        let read = self.intake.read(submission);
        read.map_err(|reply| ResendRefusal::Refused(reply.to_string()))
    }

    /// The message with its changes.
    fn rebuilt(
        &self,
        raw: &Bytes,
        wish: &ResendWish,
        people: Option<&People>,
    ) -> Result<Bytes, ResendRefusal> {
        let edits = &wish.edits;
        if is_sealed(raw) {
            return Err(ResendRefusal::Sealed);
        }
        let mut made = MessageBuilder::new()
            .message_id(format!("{}@{}", token()?, self.hostname))
            .date(wish.at.as_millis() / 1_000);
        if let Some(people) = people {
            if !people.to.is_empty() {
                made = made.to(header(&people.to));
            }
            if !people.cc.is_empty() {
                made = made.cc(header(&people.cc));
            }
        }
        if let Some(subject) = &edits.subject {
            let is_bad = subject.chars().any(char::is_control);
            if is_bad || subject.chars().count() > MAX_SUBJECT_CHARS {
                let why = format!("subject is one line of at most {MAX_SUBJECT_CHARS} characters.");
                return Err(ResendRefusal::Field { name: "subject", why });
            }
            made = made.subject(Text::new(subject.as_str()));
        }
        // A text that was changed and an HTML that was not would be two different messages.
        let is_new = edits.text.is_some() || edits.html.is_some();
        let old = |read: fn(&[u8]) -> Option<String>| read(raw).filter(|_| !is_new);
        let text = edits.text.clone().or_else(|| old(mime::text));
        let html = edits.html.clone().or_else(|| old(mime::html));
        for (name, body) in [("text", &edits.text), ("html", &edits.html)] {
            if body.as_ref().is_some_and(|body| body.contains('\0')) {
                let why = format!("{name} holds a null character.");
                return Err(ResendRefusal::Field { name, why });
            }
        }
        let has_html = html.is_some();
        made = match (text, html) {
            (None, None) => made.text_body(""),
            (Some(text), None) => made.text_body(text),
            (None, Some(html)) => made.html_body(html),
            (Some(text), Some(html)) => made.text_body(text).html_body(html),
        };
        let known = &wish.original.summary.attachments;
        let all = 0..u16::try_from(known.len()).unwrap_or(u16::MAX);
        let keep = edits.keep.clone().unwrap_or_else(|| all.collect());
        for index in keep {
            let place = usize::from(index);
            let found = known.get(place).zip(mime::attachment(raw, place));
            let Some((info, content)) = found else {
                let why = format!("the message has no attachment {index}.");
                return Err(ResendRefusal::Field { name: "attachments", why });
            };
            let name = content.filename.unwrap_or_else(|| format!("attachment-{index}"));
            made = match content.content_id.filter(|_| info.inline && has_html) {
                Some(id) => made.inline(content.content_type, id, content.bytes),
                None => made.attachment(content.content_type, name, content.bytes),
            };
        }
        let made = made.write_to_vec().map_err(|_| ResendRefusal::NotNow)?;
        Ok([kept_fields(raw, edits, people.is_some()), made].concat().into())
    }

    fn sms(
        &self,
        wish: ResendWish,
        app: Arc<App>,
        original: &Sms,
    ) -> Result<Acceptance, ResendRefusal> {
        let ResendEdits { to, cc, bcc, subject, text, html, keep } = &wish.edits;
        let others = [
            ("cc", cc.is_some()),
            ("bcc", bcc.is_some()),
            ("subject", subject.is_some()),
            ("html", html.is_some()),
            ("attachments", keep.is_some()),
        ];
        if let Some((name, _)) = others.into_iter().find(|(_, is_given)| *is_given) {
            let why = format!("an SMS has no {name}; it can be given to and text.");
            return Err(ResendRefusal::Field { name, why });
        }
        let to = match to.as_deref() {
            None => original.destination.to_string(),
            Some([to]) => to.clone(),
            Some(_) => {
                let why = "an SMS goes to one number.".into();
                return Err(ResendRefusal::Field { name: "to", why });
            }
        };
        let body = text.clone().map_or_else(|| original.body.clone(), SmsBody::Text);
        let mut draft = Draft::new(to.clone(), NumberStyle::International, body);
        draft.from = original.originator.as_ref().map(ToString::to_string);
        draft.class = original.class;
        if text.is_none() {
            draft.udh.clone_from(&original.udh);
        }
        draft.hold = Some(HoldWish::None);
        draft.references.clone_from(&wish.original.references);
        draft.tag.clone_from(&wish.original.tag);
        let raw = format!(
            "POST /api/v1/messages/{}/resend HTTP/1.1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}",
            wish.original.id,
            draft_text(&draft.body),
        );
        let call = super::SmsSubmission {
            app,
            client: self.client(&wish),
            dialect: Dialect::Waybill,
            account: None,
            raw: raw.into(),
            fingerprint: [0; 16],
            drafts: Vec::new(),
            idempotency_key: None,
            received_at: wish.at,
            reply_to: original.reply_to,
            confirms_opt_out: false,
        };
        let made = self.intake.read_call(&call, vec![draft]).map_err(refused)?;
        made.into_iter().next().ok_or(ResendRefusal::NotNow)
    }
}

fn draft_text(body: &SmsBody) -> &str {
    match body {
        SmsBody::Text(text) => text,
        SmsBody::Binary(_) => "",
    }
}

/// The new recipients.
struct People {
    to: Vec<(String, Mailbox)>,
    cc: Vec<(String, Mailbox)>,
    bcc: Vec<(String, Mailbox)>,
}

impl People {
    /// `None` when nobody said anything about them.
    fn read(edits: &ResendEdits) -> Result<Option<People>, ResendRefusal> {
        let (to, cc, bcc) = (&edits.to, &edits.cc, &edits.bcc);
        if to.is_none() && cc.is_none() && bcc.is_none() {
            return Ok(None);
        }
        let list = |name: &'static str, list: &Option<Vec<String>>| {
            let people = list.iter().flatten().map(|one| {
                person(one).ok_or_else(|| {
                    let shown: String = one.chars().take(60).collect();
                    let why = format!("{shown:?} is no mail address.");
                    ResendRefusal::Field { name, why }
                })
            });
            people.collect::<Result<Vec<_>, _>>()
        };
        let people = People { to: list("to", to)?, cc: list("cc", cc)?, bcc: list("bcc", bcc)? };
        let count = people.to.len() + people.cc.len() + people.bcc.len();
        match (1..=MAX_RECIPIENTS).contains(&count) {
            true => Ok(Some(people)),
            false => {
                let why = format!("a message has 1 to {MAX_RECIPIENTS} recipients.");
                Err(ResendRefusal::Field { name: "to", why })
            }
        }
    }

    fn envelope(&self, original: &Envelope) -> Envelope {
        let mut recipients: Vec<EnvelopeRecipient> = Vec::new();
        for (_, mailbox) in self.to.iter().chain(&self.cc).chain(&self.bcc) {
            let path = ForwardPath::Mailbox(mailbox.clone());
            if recipients.iter().all(|known| known.path != path) {
                recipients.push(EnvelopeRecipient { path, notify: None, original: None });
            }
        }
        let mut envelope = Envelope { recipients, release: None, ..original.clone() };
        envelope.smtputf8 |= envelope.needs_smtputf8();
        envelope
    }
}

/// `kim@example.org` or `Kim Berg <kim@example.org>`.
fn person(text: &str) -> Option<(String, Mailbox)> {
    if text.chars().any(char::is_control) {
        return None;
    }
    let text = text.trim();
    match text.strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, address)) => {
            let name = name.trim().trim_matches('"').to_owned();
            Some((name, Mailbox::parse(address.trim()).ok()?))
        }
        None => Some((String::new(), Mailbox::parse(text).ok()?)),
    }
}

fn header(people: &[(String, Mailbox)]) -> Address<'static> {
    let one = |(name, mailbox): &(String, Mailbox)| {
        let name = Some(name.clone()).filter(|name| !name.is_empty());
        Address::new_address(name, mailbox.to_string())
    };
    Address::new_list(people.iter().map(one).collect())
}

/// The original's fields that are still true, byte for byte.
fn kept_fields(raw: &Bytes, edits: &ResendEdits, has_people: bool) -> Vec<u8> {
    let is_of_the_first = |field: &mime::Field<'_>| {
        let name = field.name.to_ascii_lowercase();
        let is_new = match name.as_slice() {
            b"subject" => edits.subject.is_some(),
            b"to" | b"cc" => has_people,
            b"message-id"
            | b"date"
            | b"bcc"
            | b"resent-bcc"
            | b"mime-version"
            | b"received"
            | b"return-path"
            | b"dkim-signature"
            | b"domainkey-signature"
            | b"delivered-to"
            | b"authentication-results"
            | b"x-original-to" => true,
            _ => false,
        };
        is_new
            || name.starts_with(b"content-")
            || name.starts_with(b"arc-")
            || SteeringField::of_name(field.name).is_some()
    };
    let mut kept = Vec::new();
    for field in mime::fields(raw).filter(|field| !is_of_the_first(field)) {
        kept.extend_from_slice(raw.get(field.span.clone()).unwrap_or_default());
        if !kept.ends_with(b"\r\n") {
            kept.extend_from_slice(b"\r\n");
        }
    }
    kept
}

/// Whether a change would break a signature (RFC 1847) or can not be made (RFC 8551, RFC 3156).
fn is_sealed(raw: &Bytes) -> bool {
    let kinds = mime::fields(raw).filter(|field| field.is("Content-Type"));
    kinds.map(|field| field.text().to_ascii_lowercase()).any(|kind| {
        [
            "multipart/signed",
            "multipart/encrypted",
            "application/pkcs7-mime",
            "application/x-pkcs7-mime",
        ]
        .iter()
        .any(|sealed| kind.trim_start().starts_with(sealed))
    })
}

/// 128 random bits in letters and digits.
fn token() -> Result<String, ResendRefusal> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ResendRefusal::NotNow)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn refused(refusal: Refusal) -> ResendRefusal {
    let field = |name, why: &str| ResendRefusal::Field { name, why: why.to_owned() };
    match refusal {
        Refusal::BadDestination(shown) => field("to", &format!("{shown:?} is no number.")),
        Refusal::NoDestination => field("to", "to is a number such as +4512345678."),
        Refusal::NoBody => field("text", "an SMS needs a text."),
        Refusal::TooLong { segments, most } => {
            field("text", &format!("the text takes {segments} segments, and at most {most} go."))
        }
        Refusal::Field { name, why } => field("text", &format!("{name} {why}.")),
        Refusal::OptedOut(who) => ResendRefusal::Refused(format!("{who} has opted out")),
        Refusal::OriginatorNotAllowed(from) => {
            ResendRefusal::Refused(format!("this application may not send as {from} any more"))
        }
        Refusal::NotNow | Refusal::RateLimited { .. } => ResendRefusal::NotNow,
        other @ (Refusal::Credentials
        | Refusal::BadSignature
        | Refusal::NoOriginator
        | Refusal::BadOriginator(_)
        | Refusal::BadCallback(_)
        | Refusal::BadSchedule(_)
        | Refusal::Unsupported(_)
        | Refusal::Malformed(_)
        | Refusal::TooManyDestinations { .. }
        | Refusal::UnknownMessage
        | Refusal::TooLate
        | Refusal::NotFinished
        | Refusal::KeyReused) => {
            tracing::warn!(?other, "an SMS can not be sent again");
            ResendRefusal::Refused("the message can not be sent again as it is".into())
        }
    }
}

fn not_now(error: &ArchiveError) -> ResendRefusal {
    tracing::error!(%error, "a message can not be sent again");
    ResendRefusal::NotNow
}
