//! How mail is changed now, and how it was changed then.
//!
//! What a recipient gets depends on the settings of the day. They have a number in the archive, each
//! touched mail names it with the signatures that it left with, and so the same bytes come out years later,
//! with other settings, and without the keys that signed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::rendition;
use crate::archive::{Archive, ArchiveError, Content, Message, Rendering};
use crate::model::{Mailbox, Medium, Outgoing, ReversePath, Sequence, Touch, TouchReport};
use crate::rewrite::{
    self, DkimSigner, PublicUrl, RULES, Rendition, SEVERAL, Signing, TokenKeys, Tokens, Tracking,
    Treatment, VerpKeys,
};

/// What is done to mail on its way out.
#[derive(Default)]
pub struct RenderSettings {
    pub tracking: Option<LinkSettings>,
    pub signers: Arc<Vec<DkimSigner>>,
    /// Where reports come back to; `None` leaves the sender's own return path.
    pub return_path: Option<Mailbox>,
}

/// How links and pixels are made.
#[derive(Clone, Debug)]
pub struct LinkSettings {
    pub public_url: PublicUrl,
    /// Globs over links that are left alone.
    pub exclude: Vec<String>,
    pub honeypot: bool,
}

/// The keys of what comes back.
#[derive(Clone, Debug)]
pub struct ReturnKeys {
    pub tokens: TokenKeys,
    pub verp: VerpKeys,
}

/// Renders; clones share everything.
#[derive(Clone)]
pub struct Renderer {
    inner: Arc<Inner>,
}

struct Inner {
    archive: Archive,
    /// `None`: nothing is ever changed for one recipient.
    keys: Option<ReturnKeys>,
    now: Option<Way>,
    signers: Arc<Vec<DkimSigner>>,
    return_path: Option<Mailbox>,
    /// The log was told that a message asks for what is not set up.
    has_warned: AtomicBool,
}

/// One way of tracking, under its number.
struct Way {
    number: u32,
    public_url: PublicUrl,
    exclude: Vec<String>,
    honeypot: bool,
    tokens: TokenKeys,
}

impl Way {
    /// `None` when its key or its URL is no more.
    fn new(number: u32, rendering: Rendering, keys: &ReturnKeys) -> Option<Way> {
        Some(Way {
            number,
            public_url: PublicUrl::parse(&rendering.public_url)?,
            exclude: rendering.exclude,
            honeypot: rendering.honeypot,
            tokens: keys.tokens.with_key(rendering.key)?,
        })
    }
}

/// A message for one transaction.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub outgoing: Outgoing,
    /// Instead of the sender's own.
    pub reverse_path: Option<ReversePath>,
    /// What was changed, when something could have been.
    pub touch: Option<Touch>,
}

impl Renderer {
    /// Renders by these settings from now on, and by those of the day whatever was sent before.
    pub async fn new(
        archive: Archive,
        keys: ReturnKeys,
        settings: RenderSettings,
    ) -> Result<Renderer, ArchiveError> {
        let now = match settings.tracking {
            None => None,
            Some(tracking) => {
                let rendering = Rendering {
                    rules: RULES,
                    key: keys.tokens.key_id(),
                    public_url: tracking.public_url.as_str().to_owned(),
                    exclude: tracking.exclude,
                    honeypot: tracking.honeypot,
                };
                let number = archive.rendering_number(rendering.clone()).await?;
                Way::new(number, rendering, &keys)
            }
        };
        let RenderSettings { signers, return_path, .. } = settings;
        let has_warned = AtomicBool::new(false);
        let inner = Inner { archive, keys: Some(keys), now, signers, return_path, has_warned };
        Ok(Renderer { inner: Arc::new(inner) })
    }

    /// Changes nothing for anybody.
    pub fn plain(archive: Archive) -> Renderer {
        let (signers, return_path) = (Arc::default(), None);
        let has_warned = AtomicBool::new(false);
        let inner = Inner { archive, keys: None, now: None, signers, return_path, has_warned };
        Renderer { inner: Arc::new(inner) }
    }

    pub(super) fn archive(&self) -> &Archive {
        &self.inner.archive
    }

    /// Whether all recipients get the same bytes, and so can share a transaction.
    pub fn shares(&self, message: &Message) -> bool {
        self.way_of(message).is_none()
    }

    /// A message as its recipients get it now; `only`: the one recipient of the transaction.
    pub fn render(
        &self,
        message: &Message,
        content: &Content,
        only: Option<u16>,
    ) -> Result<Rendered, ArchiveError> {
        let raw = self.inner.archive.raw_of(content)?;
        let (outgoing, touch) = self.render_now(message, &raw, only);
        Ok(Rendered { outgoing, reverse_path: self.reverse_path(message, only), touch })
    }

    /// The bytes, by the settings of today.
    pub(super) fn render_now(
        &self,
        message: &Message,
        raw: &Bytes,
        only: Option<u16>,
    ) -> (Outgoing, Option<Touch>) {
        let tracked = self.way_of(message).zip(only);
        if tracked.is_none() && self.inner.signers.is_empty() {
            return (rendition::untouched(message, raw), None);
        }
        let rendition = touched(message, raw, tracked, Signing::With(&self.inner.signers));
        if tracked.is_none() && rendition.signatures.is_empty() {
            return (rendition.outgoing, None);
        }
        let touch = Touch {
            settings: tracked.map_or(0, |(way, _)| way.number),
            signatures: rendition.signatures,
            report: rendition.report,
        };
        (rendition.outgoing, Some(touch))
    }

    /// The bytes as they were changed then; `None` when the settings or the keys of then are gone.
    pub(super) fn render_again(
        &self,
        message: &Message,
        raw: &Bytes,
        recipient: u16,
        touch: &Touch,
    ) -> Result<Option<Outgoing>, ArchiveError> {
        let signing = Signing::As(&touch.signatures);
        if touch.settings == 0 {
            return Ok(Some(touched(message, raw, None, signing).outgoing));
        }
        let rendering = self.inner.archive.rendering(touch.settings)?;
        let known =
            rendering.filter(|rendering| rendering.rules == RULES).zip(self.inner.keys.as_ref());
        let Some((rendering, keys)) = known else { return Ok(None) };
        let way = Way::new(touch.settings, rendering, keys);
        let again = way.map(|way| touched(message, raw, Some((&way, recipient)), signing).outgoing);
        Ok(again)
    }

    /// How this message is tracked, if it is.
    fn way_of(&self, message: &Message) -> Option<&Way> {
        let policy = &message.policy;
        let is_tracked = (policy.track_opens || policy.track_clicks) && !policy.is_foreign;
        if !is_tracked || !matches!(message.medium, Medium::Mail(_)) {
            return None;
        }
        let now = self.inner.now.as_ref();
        if now.is_none() && !self.inner.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(id = %message.id, "a message asks to be tracked, but there is no [tracking]; it goes as it came");
        }
        now
    }

    /// Where reports on this transaction come back to. A null return path stays one: what it stands
    /// on asks for no report (RFC 5321 §4.5.5).
    fn reverse_path(&self, message: &Message, only: Option<u16>) -> Option<ReversePath> {
        let (base, keys) = self.inner.return_path.as_ref().zip(self.inner.keys.as_ref())?;
        let Medium::Mail(envelope) = &message.medium else { return None };
        if envelope.reverse_path == ReversePath::Null {
            return None;
        }
        let recipient = only.unwrap_or(SEVERAL);
        let path = keys.verp.return_path(base, message.sequence, recipient)?;
        Some(ReversePath::Mailbox(path))
    }
}

/// One rendition of a message for a recipient. What somebody outside wrote is never touched: whoever saw a
/// return path could have anything signed as ours.
fn touched(
    message: &Message,
    raw: &Bytes,
    tracked: Option<(&Way, u16)>,
    signing: Signing<'_>,
) -> Rendition {
    let trace = rendition::trace(message).filter(|_| !message.policy.is_foreign);
    let Some(trace) = trace else {
        let outgoing = rendition::untouched(message, raw);
        return Rendition { outgoing, signatures: Bytes::new(), report: TouchReport::default() };
    };
    let Some((way, recipient)) = tracked else {
        return rewrite::render_for(raw, &trace, Treatment { tracking: None, signing });
    };
    let tokens = TokensOf { keys: &way.tokens, message: message.sequence, recipient };
    let tracking = Tracking {
        opens: message.policy.track_opens,
        clicks: message.policy.track_clicks,
        honeypot: way.honeypot,
        public_url: &way.public_url,
        exclude: &way.exclude,
        tokens: &tokens,
    };
    rewrite::render_for(raw, &trace, Treatment { tracking: Some(&tracking), signing })
}

/// The tokens of one recipient of one message.
struct TokensOf<'a> {
    keys: &'a TokenKeys,
    message: Sequence,
    recipient: u16,
}

impl Tokens for TokensOf<'_> {
    fn open(&self) -> String {
        self.keys.open_token(self.message, self.recipient)
    }

    fn click(&self, link: u16, url: &[u8]) -> String {
        self.keys.click_token(self.message, self.recipient, link, url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::tests::{acceptance, settings};
    use crate::archive::{Acceptance, Accepted};
    use crate::model::{Domain, Secret};

    #[tokio::test]
    async fn what_somebody_outside_wrote_is_signed_neither_today_nor_in_a_proof() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive::open(&settings(dir.path())).unwrap();
        let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem();
        let domain = Domain::parse("example.com").unwrap();
        let signer = DkimSigner::from_pem(domain, "s1", &Secret::new(pem)).unwrap();
        let keys = ReturnKeys {
            tokens: TokenKeys::new((1, &[7; 32]), []),
            verp: VerpKeys::new(&[7; 32], &[]),
        };
        let signing = RenderSettings { signers: Arc::new(vec![signer]), ..Default::default() };
        let renderer = Renderer::new(archive.clone(), keys, signing).await.unwrap();
        let raw = Bytes::from_static(b"From: ceo@example.com\r\nSubject: Pay\r\n\r\nNow.\r\n");
        for is_foreign in [false, true] {
            let mut one = acceptance(1, 1, raw.clone());
            one.policy.is_foreign = is_foreign;
            let message = archived(&archive, one).await;
            let (today, touch) = renderer.render_now(&message, &raw, Some(0));
            assert_eq!(touch.is_none(), is_foreign);
            assert_eq!(today.digest == rendition::untouched(&message, &raw).digest, is_foreign);
            let signatures = Bytes::from_static(b"DKIM-Signature: v=1; d=example.com\r\n");
            let touch = Touch { settings: 0, signatures, report: TouchReport::default() };
            let again = renderer.render_again(&message, &raw, 0, &touch).unwrap().unwrap();
            assert_eq!(again.digest == today.digest, is_foreign);
        }
    }

    async fn archived(archive: &Archive, one: Acceptance) -> Message {
        let Accepted::New(ids) = archive.accept_all(vec![one], None).await.unwrap() else {
            panic!("it was there before")
        };
        archive.message(ids[0].get()).unwrap().unwrap()
    }
}
