//! A mail that is sent again with changes, put together anew.
//!
//! Fields that nobody changed are taken over byte for byte (`From`, `In-Reply-To`, `References`); what
//! belongs to one message alone is made new (`Message-ID`, `Date`), and what only said how the first
//! one travelled stays behind (`Received`, signatures of its header). Where only recipients or the
//! subject change, the body is the archived one, byte for byte. Where its text changes, a body is
//! built around the new text, and the attachments that stay go into it as they stood, with all that
//! their authors said of them; a body that is signed or encrypted is not opened for that.
//! Not here: who may send it, and where it goes; that is `resend` and the door.

use bytes::Bytes;
use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::text::Text;
use mail_builder::mime::MimePart;

use super::resend::{ResendEdits, ResendRefusal};
use crate::mime::{self, AttachmentPlace};
use crate::model::{Envelope, EnvelopeRecipient, ForwardPath, Mailbox, SteeringField, Timestamp};

/// Recipients of one message that is sent again with changes.
const MAX_RECIPIENTS: usize = 1_000;
/// Longest subject, in characters.
const MAX_SUBJECT_CHARS: usize = 2_000;

/// The message with its changes; `at` and the name of this host are for its new id.
pub(super) fn rebuild(
    raw: &Bytes,
    edits: &ResendEdits,
    people: Option<&People>,
    (at, hostname): (Timestamp, &str),
) -> Result<Bytes, ResendRefusal> {
    let mut made = MessageBuilder::new()
        .message_id(format!("{}@{hostname}", token()?))
        .date(at.as_millis() / 1_000);
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
    let opens_body = edits.text.is_some() || edits.html.is_some() || edits.keep.is_some();
    let body = match opens_body {
        true => new_body(raw, edits)?,
        false => MimePart::raw(old_body(raw)),
    };
    let made = made.body(body).write_to_vec().map_err(|_| ResendRefusal::NotNow)?;
    Ok([kept_fields(raw, edits, people.is_some()), made].concat().into())
}

/// The body as it is, below the fields that say how to read it.
fn old_body(raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(raw.len());
    for field in mime::all_fields(raw).filter(|field| is_of_body(field)) {
        add_field(&mut body, raw, &field);
    }
    body.extend_from_slice(b"\r\n");
    body.extend_from_slice(raw.get(mime::body_start(raw)..).unwrap_or_default());
    body
}

/// `mixed` around the attachments, `alternative` around the forms of the text, `related` around the
/// HTML and what it shows, each only where it is needed (RFC 2046 §5.1, RFC 2387).
fn new_body(raw: &[u8], edits: &ResendEdits) -> Result<MimePart<'static>, ResendRefusal> {
    if is_sealed(raw) {
        return Err(ResendRefusal::Sealed);
    }
    for (name, body) in [("text", &edits.text), ("html", &edits.html)] {
        if body.as_ref().is_some_and(|body| body.contains('\0')) {
            let why = format!("{name} holds a null character.");
            return Err(ResendRefusal::Field { name, why });
        }
    }
    // A text that was changed and an HTML that was not would be two different messages.
    let is_new = edits.text.is_some() || edits.html.is_some();
    let old = |read: fn(&[u8]) -> Option<String>| read(raw).filter(|_| !is_new);
    let text = edits.text.clone().or_else(|| old(mime::text));
    let html = edits.html.clone().or_else(|| old(mime::html));
    let (mut forms, mut shown, mut beside) = (Vec::new(), Vec::new(), Vec::new());
    for source in kept_attachments(raw, edits.keep.as_deref())? {
        let part = MimePart::raw(source.part);
        match source.place {
            AttachmentPlace::Alternative => forms.push(part),
            AttachmentPlace::Related if html.is_some() => shown.push(part),
            AttachmentPlace::Related | AttachmentPlace::Beside => beside.push(part),
        }
    }
    let html = html.map(|html| {
        let html = MimePart::new("text/html", html);
        around("multipart/related", std::iter::once(html).chain(shown).collect())
    });
    let text = match (text, &html) {
        (None, None) => Some(String::new()),
        (text, _) => text,
    };
    let text = text.map(|text| MimePart::new("text/plain", text));
    let body = around("multipart/alternative", text.into_iter().chain(html).chain(forms).collect());
    Ok(around("multipart/mixed", std::iter::once(body).chain(beside).collect()))
}

/// A multipart of them; one alone needs none.
fn around(kind: &'static str, mut parts: Vec<MimePart<'static>>) -> MimePart<'static> {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            MimePart::new(kind, parts)
        }
    }
}

/// Those that stay, each once, in the order in which they stood.
fn kept_attachments(
    raw: &[u8],
    keep: Option<&[u16]>,
) -> Result<Vec<mime::AttachmentSource>, ResendRefusal> {
    let mut sources = mime::attachment_sources(raw);
    let Some(keep) = keep else { return Ok(sources) };
    if let Some(unknown) = keep.iter().find(|index| usize::from(**index) >= sources.len()) {
        return Err(ResendRefusal::NoAttachment(*unknown));
    }
    let keep: std::collections::BTreeSet<usize> = keep.iter().map(|i| usize::from(*i)).collect();
    let mut index = 0;
    sources.retain(|_| {
        index += 1;
        keep.contains(&(index - 1))
    });
    Ok(sources)
}

/// What says how the body is to be read (RFC 2045 §3).
fn is_of_body(field: &mime::Field<'_>) -> bool {
    field.name.to_ascii_lowercase().starts_with(b"content-")
}

fn add_field(text: &mut Vec<u8>, raw: &[u8], field: &mime::Field<'_>) {
    text.extend_from_slice(raw.get(field.span.clone()).unwrap_or_default());
    if !text.ends_with(b"\n") {
        text.extend_from_slice(b"\r\n");
    }
}

/// The original's fields that are still true, byte for byte.
fn kept_fields(raw: &[u8], edits: &ResendEdits, has_people: bool) -> Vec<u8> {
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
        let steers = match SteeringField::of_name(field.name) {
            // When to send was said of the first one alone.
            Some(SteeringField::Hold | SteeringField::SendAt) => true,
            Some(
                SteeringField::Reference
                | SteeringField::Tag
                | SteeringField::Track
                | SteeringField::Sender,
            )
            | None => false,
        };
        is_new || steers || is_of_body(field) || name.starts_with(b"arc-")
    };
    let mut kept = Vec::new();
    for field in mime::all_fields(raw).filter(|field| !is_of_the_first(field)) {
        add_field(&mut kept, raw, &field);
    }
    kept
}

/// Whether taking the body apart would break a signature, or can not be done. A text may be signed
/// in itself too (RFC 9580 §7).
fn is_sealed(raw: &[u8]) -> bool {
    mime::is_sealed(raw) || memchr::memmem::find(raw, b"-----BEGIN PGP ").is_some()
}

/// The new recipients.
pub(super) struct People {
    to: Vec<(String, Mailbox)>,
    cc: Vec<(String, Mailbox)>,
    bcc: Vec<(String, Mailbox)>,
}

impl People {
    /// `None` when nobody said anything about them.
    pub(super) fn read(edits: &ResendEdits) -> Result<Option<People>, ResendRefusal> {
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
                Err(ResendRefusal::Unfit { name: "to", why })
            }
        }
    }

    pub(super) fn envelope(&self, original: &Envelope) -> Envelope {
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
            Some((unquoted(name.trim()), Mailbox::parse(address.trim()).ok()?))
        }
        None => Some((String::new(), Mailbox::parse(text).ok()?)),
    }
}

/// A name that is written in quotes (RFC 5322 §3.2.4) without them.
fn unquoted(name: &str) -> String {
    let inside = name.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let Some(inside) = inside else { return name.to_owned() };
    let (mut text, mut is_escaped) = (String::with_capacity(inside.len()), false);
    for c in inside.chars() {
        is_escaped = c == '\\' && !is_escaped;
        if !is_escaped {
            text.push(c);
        }
    }
    text
}

fn header(people: &[(String, Mailbox)]) -> Address<'static> {
    let one = |(name, mailbox): &(String, Mailbox)| {
        let name = Some(name.clone()).filter(|name| !name.is_empty());
        Address::new_address(name, mailbox.to_string())
    };
    Address::new_list(people.iter().map(one).collect())
}

/// 128 random bits in letters and digits.
fn token() -> Result<String, ResendRefusal> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| ResendRefusal::NotNow)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_read_as_mail_writes_them() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = person(text).map(|(name, mailbox)| (name, mailbox.to_string()));
            let found = found.as_ref().map(|(name, mailbox)| (name.as_str(), mailbox.as_str()));
            assert_eq!(found, expected, "{text}");
        };
        for wrong in ["", "kim", "<>", "Kim <kim>", "a@b.example\r\nBcc: c@d.example", "a@b, c@d"] {
            check(wrong, None);
        }
        check(" kim@example.org ", Some(("", "kim@example.org")));
        check("Kim Berg <kim@example.org>", Some(("Kim Berg", "kim@example.org")));
        check("<kim@example.org>", Some(("", "kim@example.org")));
        let quoted = r#""Berg, Kim \"K\" \\" <kim@example.org>"#;
        check(quoted, Some((r#"Berg, Kim "K" \"#, "kim@example.org")));
    }

    #[test]
    fn a_body_that_can_not_be_opened_is_not_opened() {
        let check = |raw: &str, expected: bool| {
            assert_eq!(is_sealed(raw.as_bytes()), expected, "{raw}");
        };
        check("Subject: multipart/signed\r\n\r\nx\r\n", false);
        check("Content-Type: application/pkcs7-mime\r\n\r\nAAAA\r\n", true);
        check("CONTENT-TYPE: Multipart/Encrypted; boundary=b\r\n\r\n--b\r\n\r\n--b--\r\n", true);
        let within = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/signed; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--\r\n";
        check(within, true);
        check("\r\n-----BEGIN PGP MESSAGE-----\r\n", true);
    }
}
