//! Sending an archived message once more, as a new message.
//!
//! Without changes the archived bytes go again as they are, with their Message-ID and Date; what
//! changes make of it is in `rebuild`. The new message passes the door like every other: its app's
//! policy, rate and suppressions are asked as they are now; only a hold is not, because a person has
//! just looked at it. The original is not touched; its history says `resent`.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::rebuild::{People, rebuild};
use super::{Intake, Milestone, Submission};
use crate::archive::{Acceptance, Accepted, ArchiveError, Client, Message};
use crate::model::{
    Dialect, Direction, Envelope, Medium, MessageId, RecipientState, Sms, SmsBody, Timestamp,
};
use crate::policy::{App, Apps};
use crate::sms::call::{Draft, HoldWish, Refusal};
use crate::sms::number::NumberStyle;
use crate::telemetry;

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
    #[error(
        "it is signed or encrypted: another text or fewer attachments would break that; it can be sent again as it is, or with other recipients or another subject"
    )]
    Sealed,
    #[error("{why}")]
    Field { name: &'static str, why: String },
    /// A wish that this message can not be given, though another one might.
    #[error("{why}")]
    Unfit { name: &'static str, why: String },
    #[error("it has no attachment {0}")]
    NoAttachment(u16),
    /// The door's own words.
    #[error("{0}")]
    Refused(String),
    #[error("its app {app} sends as much as it may; try again in {} seconds", .retry_after.as_secs())]
    TooMany { app: String, retry_after: Duration },
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
        if let Err(wait) = self.intake.limits.load().check_all(&app.name, NonZeroU32::MIN) {
            telemetry::record::submission(channel, app.name.as_str(), "deferred");
            // A whole second more: whoever comes back after so many is not too early.
            let retry_after = Duration::from_secs(wait.as_secs().saturating_add(1));
            return Err(ResendRefusal::TooMany { app: app.name.to_string(), retry_after });
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
        let is_foreign = wish.original.policy.is_foreign;
        let mut acceptance = match wish.original.medium.clone() {
            Medium::Mail(envelope) => self.mail(wish, app, envelope)?,
            Medium::Sms(sms) => self.sms(wish, app, &sms)?,
        };
        acceptance.resend_of = Some(of);
        // Sent again, it is still somebody else's.
        acceptance.policy.is_foreign = is_foreign;
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
            false => rebuild(&raw, &wish.edits, people.as_ref(), (wish.at, &self.hostname))?,
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
            return Err(ResendRefusal::Unfit { name, why });
        }
        let to = match to.as_deref() {
            None => original.destination.to_string(),
            Some([to]) => to.clone(),
            Some(_) => {
                let why = "an SMS goes to one number.".into();
                return Err(ResendRefusal::Unfit { name: "to", why });
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

fn refused(refusal: Refusal) -> ResendRefusal {
    let field = |name, why: &str| ResendRefusal::Unfit { name, why: why.to_owned() };
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
