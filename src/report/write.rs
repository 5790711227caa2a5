//! Delivery reports that Waybill writes itself, for a client that asked to be told (RFC 3461) where
//! the upstream can not tell it.
//!
//! A `multipart/report` (RFC 6522) of a text for people, the fields of RFC 3464, and the original: whole only for a failure and
//! when the client wanted it and it is not too long, else its header. Nothing is ever written to the null
//! reverse-path, so no report is ever written about a report. Time, Message-ID and boundary come from
//! the caller, so that the same record gives the same bytes. mail-builder writes the MIME.

use std::fmt::Write;

use mail_builder::headers::content_type::ContentType;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::{BodyPart, MimePart};

use super::finding::Action;
use crate::mime;
use crate::model::envelope::{DsnReturn, OriginalRecipient};
use crate::model::{EnhancedCode, ForwardPath, Mailbox, Reply, ReversePath, Timestamp};

/// A longer original is not returned whole.
const MAX_RETURNED_BYTES: usize = 1024 * 1024;

/// What a report is made of.
#[derive(Clone, Debug)]
pub struct Dsn<'a> {
    /// This host's name.
    pub reporting_mta: &'a str,
    /// Who writes the report.
    pub author: &'a Mailbox,
    /// Who gets it: the reverse-path of the original.
    pub reverse_path: &'a ReversePath,
    /// Of the report, without brackets; unknown to whoever wrote the original.
    pub message_id: &'a str,
    pub written_at: Timestamp,
    pub arrived_at: Timestamp,
    /// `ENVID`, decoded.
    pub envelope_id: Option<&'a str>,
    pub ret: Option<DsnReturn>,
    pub original: &'a [u8],
    pub recipients: &'a [DsnRecipient<'a>],
}

/// What became of one recipient.
#[derive(Clone, Debug)]
pub struct DsnRecipient<'a> {
    pub path: &'a ForwardPath,
    /// `ORCPT`, decoded.
    pub original: Option<&'a OriginalRecipient>,
    pub action: Action,
    pub status: EnhancedCode,
    /// What the upstream said.
    pub reply: Option<&'a Reply>,
    /// Our own words for people, where it said nothing.
    pub words: Option<&'a str>,
    pub remote_mta: Option<&'a str>,
    pub last_attempt_at: Option<Timestamp>,
    /// For a delay: how long it is tried.
    pub will_retry_until: Option<Timestamp>,
}

/// The report; `None` when nobody may get one or there is nothing to tell.
pub fn write_dsn(dsn: &Dsn<'_>) -> Option<Vec<u8>> {
    let ReversePath::Mailbox(to) = dsn.reverse_path else { return None };
    if dsn.recipients.is_empty() {
        return None;
    }
    let boundary =
        format!("={}=", dsn.message_id.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
    let boundary = &boundary[..boundary.len().min(70)];
    let kind = ContentType::new("multipart/report")
        .attribute("report-type", "delivery-status")
        .attribute("boundary", boundary);
    let parts = vec![text_part(dsn), status_part(dsn), original_part(dsn)];
    let body = MimePart::new(kind, BodyPart::Multipart(parts));
    let mut out = Vec::with_capacity(4096);
    let fields = [
        ("From", format!("Mail Delivery System <{}>", dsn.author)),
        ("To", format!("<{to}>")),
        ("Subject", subject(dsn).to_owned()),
        ("Date", dsn.written_at.to_rfc5322()),
        ("Message-ID", format!("<{}>", one_line(dsn.message_id))),
        ("Auto-Submitted", String::from("auto-replied")),
        ("MIME-Version", String::from("1.0")),
    ];
    for (name, value) in fields {
        out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    body.write_part(&mut out);
    Some(out)
}

/// The worst that is told.
fn worst(dsn: &Dsn<'_>) -> Action {
    let order = [Action::Failed, Action::Delayed, Action::Relayed, Action::Expanded];
    let has = |action: &Action| dsn.recipients.iter().any(|one| one.action == *action);
    order.into_iter().find(has).unwrap_or(Action::Delivered)
}

fn subject(dsn: &Dsn<'_>) -> &'static str {
    match worst(dsn) {
        Action::Failed => "Undelivered mail returned to sender",
        Action::Delayed => "Delayed mail (still being tried)",
        Action::Delivered | Action::Relayed | Action::Expanded => "Successful mail delivery report",
    }
}

fn sentence(action: Action) -> &'static str {
    match action {
        Action::Failed => "could not be delivered",
        Action::Delayed => {
            "not delivered yet; it is still being tried, nothing needs to be sent again"
        }
        Action::Delivered => "delivered",
        Action::Relayed => "handed on to a system that gives no delivery reports",
        Action::Expanded => "handed on to a list of recipients",
    }
}

fn text_part<'a>(dsn: &Dsn<'_>) -> MimePart<'a> {
    let mut text = format!("This is the mail gateway at {}.\r\n\r\n", one_line(dsn.reporting_mta));
    text.push_str("What became of your message, which is attached below:\r\n\r\n");
    for one in dsn.recipients {
        let mut line = format!("<{}>: {}", one.path, sentence(one.action));
        if let Some(reply) = one.reply {
            // Writing to a String can not fail.
            let _ = write!(line, "\r\n    {}", diagnostic(reply));
        }
        if let Some(words) = one.words {
            let _ = write!(line, "\r\n    {}", one_line(words));
        }
        text.push_str(&line);
        text.push_str("\r\n");
    }
    MimePart::new(
        ContentType::new("text/plain").attribute("charset", "utf-8"),
        BodyPart::Text(text.into()),
    )
}

fn status_part<'a>(dsn: &Dsn<'_>) -> MimePart<'a> {
    let mut body = String::new();
    if let Some(id) = dsn.envelope_id {
        add(&mut body, "Original-Envelope-Id", id);
    }
    add(&mut body, "Reporting-MTA", &format!("dns; {}", dsn.reporting_mta));
    add(&mut body, "Arrival-Date", &dsn.arrived_at.to_rfc5322());
    for one in dsn.recipients {
        body.push_str("\r\n");
        add_recipient(&mut body, one);
    }
    raw_part("message/delivery-status", body.into_bytes())
}

fn add_recipient(body: &mut String, one: &DsnRecipient<'_>) {
    if let Some(original) = one.original {
        let address = embedded(&original.address);
        add(body, "Original-Recipient", &format!("{}; {address}", original.address_type));
    }
    let (path, kind) =
        (one.path.to_string(), if one.path.needs_smtputf8() { "utf-8" } else { "rfc822" });
    add(body, "Final-Recipient", &format!("{kind}; {}", embedded(&path)));
    add(body, "Action", action_word(one.action));
    add(body, "Status", &one.status.to_string());
    if let Some(mta) = one.remote_mta {
        add(body, "Remote-MTA", &format!("dns; {mta}"));
    }
    if let Some(reply) = one.reply {
        add(body, "Diagnostic-Code", &format!("smtp; {}", diagnostic(reply)));
    }
    if let Some(at) = one.last_attempt_at {
        add(body, "Last-Attempt-Date", &at.to_rfc5322());
    }
    if let (Action::Delayed, Some(at)) = (one.action, one.will_retry_until) {
        add(body, "Will-Retry-Until", &at.to_rfc5322());
    }
}

fn action_word(action: Action) -> &'static str {
    match action {
        Action::Failed => "failed",
        Action::Delayed => "delayed",
        Action::Delivered => "delivered",
        Action::Relayed => "relayed",
        Action::Expanded => "expanded",
    }
}

fn diagnostic(reply: &Reply) -> String {
    one_line(&reply.to_string())
}

/// One field, folded before column 78 where there is a space (RFC 5322 §2.1.1).
fn add(body: &mut String, name: &str, value: &str) {
    let value = one_line(value);
    let mut column = name.len() + 1;
    body.push_str(name);
    body.push(':');
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if column + 1 + word.len() > 76 && column > name.len() + 1 {
            body.push_str("\r\n   ");
            column = 3;
        }
        body.push(' ');
        body.push_str(word);
        column += 1 + word.len();
    }
    body.push_str("\r\n");
}

/// No line break and no other control character can get in from what somebody else said; what is not ASCII
/// can not stand in `message/delivery-status` (RFC 6533 §4).
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() {
                ' '
            } else if c.is_ascii() {
                c
            } else {
                '?'
            }
        })
        .collect()
}

/// RFC 6533 §3: in ASCII, a character beyond it is `\x{HEX}`.
fn embedded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
        }
    }
    out
}

fn original_part<'a>(dsn: &Dsn<'_>) -> MimePart<'a> {
    let is_whole = worst(dsn) == Action::Failed
        && dsn.ret == Some(DsnReturn::Full)
        && dsn.original.len() <= MAX_RETURNED_BYTES;
    if is_whole {
        return raw_part("message/rfc822", dsn.original.to_vec());
    }
    let mut fields = mime::fields(dsn.original);
    fields.by_ref().for_each(drop);
    let end = fields.position().min(dsn.original.len());
    let header = dsn.original[..end].trim_ascii_end();
    raw_part("text/rfc822-headers", [header, b"\r\n"].concat())
}

/// A part whose bytes stay as they are.
fn raw_part<'a>(kind: &'static str, body: Vec<u8>) -> MimePart<'a> {
    let encoding = if body.is_ascii() { "7bit" } else { "8bit" };
    let kind = ContentType::new(kind);
    MimePart::new(kind, BodyPart::Binary(body.into()))
        .header("Content-Transfer-Encoding", Raw::new(encoding))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Class, Finding, read};

    const ORIGINAL: &[u8] =
        b"Message-ID: <m1@app.example>\r\nTo: bob@example.com\r\nSubject: x\r\n\r\nthe body\r\n";

    fn write(reverse: &str, action: Action, ret: Option<DsnReturn>, path: &str) -> Option<Vec<u8>> {
        let reply = Reply::new(550, Some(EnhancedCode(5, 1, 1)), "User unknown\r\nX-Evil: 1");
        let class = if action == Action::Failed { 5 } else { 2 };
        let original = OriginalRecipient {
            address_type: String::from("rfc822"),
            address: String::from("robert@example.com"),
        };
        let recipient = DsnRecipient {
            path: &ForwardPath::parse(path).unwrap(),
            original: Some(&original),
            action,
            status: EnhancedCode(class, 1, 1),
            reply: (action == Action::Failed).then_some(&reply),
            words: (action == Action::Delayed).then_some("nobody answered"),
            remote_mta: Some("mx.example.com"),
            last_attempt_at: Some(Timestamp::from_millis(0)),
            will_retry_until: Some(Timestamp::from_millis(1000)),
        };
        write_dsn(&Dsn {
            reporting_mta: "waybill.example",
            author: &Mailbox::parse("postmaster@waybill.example").unwrap(),
            reverse_path: &ReversePath::parse(reverse).unwrap(),
            message_id: "d1.abc@waybill.example",
            written_at: Timestamp::from_millis(2000),
            arrived_at: Timestamp::from_millis(1000),
            envelope_id: Some("env-1"),
            ret,
            original: ORIGINAL,
            recipients: &[recipient],
        })
    }

    #[test]
    fn nothing_is_told_to_the_null_return_path() {
        assert_eq!(write("", Action::Failed, None, "bob@example.com"), None);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let check = |action, path: &str, class: Class| {
            let raw = write("app@example.org", action, None, path).unwrap();
            let report = read(&raw).unwrap();
            let Finding::Delivery(recipients) = &report.finding else { panic!("{report:?}") };
            let [one] = &recipients[..] else { panic!("{recipients:?}") };
            assert_eq!(one.address.as_ref().unwrap().to_string(), path);
            assert_eq!(one.original.as_ref().unwrap().to_string(), "robert@example.com");
            assert_eq!((one.action, one.class), (action, class));
            assert_eq!(report.clues.envelope_id.as_deref(), Some("env-1"));
            assert_eq!(report.clues.message_ids, ["m1@app.example"]);
            assert_eq!(raw, write("app@example.org", action, None, path).unwrap());
        };
        check(Action::Failed, "bob@example.com", Class::Hard);
        check(Action::Delayed, "bob@example.com", Class::Delayed);
        check(Action::Relayed, "bob@example.com", Class::Delivered);
        check(Action::Delivered, "bl\u{e5}@example.com", Class::Delivered);
    }

    #[test]
    fn the_whole_original_comes_back_only_with_a_failure_and_on_request() {
        let holds = |action, ret| {
            let raw = write("app@example.org", action, ret, "bob@example.com").unwrap();
            memchr::memmem::find(&raw, b"the body").is_some()
        };
        assert!(holds(Action::Failed, Some(DsnReturn::Full)));
        assert!(!holds(Action::Failed, Some(DsnReturn::Headers)));
        assert!(!holds(Action::Failed, None));
        assert!(!holds(Action::Relayed, Some(DsnReturn::Full)));
    }

    #[test]
    fn nobody_writes_fields_into_a_report() {
        let raw = write("app@example.org", Action::Failed, None, "bob@example.com").unwrap();
        let text = String::from_utf8(raw).unwrap();
        assert!(text.lines().all(|line| !line.starts_with("X-Evil")));
        assert!(text.lines().all(|line| line.len() <= 998));
    }
}
