//! Bounces without a machine part, read by what they say to people.
//!
//! The notice is what stands before the quoted original. Whether it is a bounce is decided by points for sender, subject and
//! words; who is meant is `told`'s. What is said between one address and the next belongs to the first of them.

use super::auto_reply;
use super::finding::{Action, Clues, PerRecipient};
use super::header::Header;
use super::notice::Notice;
use super::sentences::{DELAY, DELIVERED, FAILURE, FAILURE_PERHAPS, FINAL};
use super::verdict::Said;
use super::{MAX_TEXT_BYTES, told, verdict, wording};
use crate::mime::Leaf;
use crate::model::Mailbox;

/// Text parts that are joined.
const MAX_TEXT_PARTS: usize = 4;
/// Lines that stand before the original.
const SEPARATORS: [&str; 54] = [
    "below is a copy of the original message",
    "the attachment contains the original mail headers",
    "below this line is a copy of the message",
    "below the next line is a copy",
    "enclosed are the original headers",
    "this is a copy of",
    "original message -",
    "-original message",
    "header of the original message",
    "headers of the original message",
    "original message headers",
    "original message header",
    "original message follows",
    "unsent message follows",
    "message header follows",
    "message headers follow",
    "returned message -",
    "-- returned message",
    "returned mail follows",
    "message text follows",
    "begin original message",
    "urspr\u{fc}ngliche nachricht",
    "kopfzeilen der urspr\u{fc}nglichen nachricht",
    "nachrichtenkopfzeilen",
    "en-t\u{ea}tes de message d'origine",
    "en-t\u{ea}tes du message d'origine",
    "message d'origine",
    "oprindelige brevhoveder",
    "oprindelige meddelelse",
    "oprindelig meddelelse",
    "oprindelige meddelelseshoveder",
    "*** original message",
    "here is your message",
    "original headers",
    "start of returned message",
    "copy of your message",
    "message header:",
    "original mail header",
    "included is a copy of the message header",
    "the first 50 lines of the original",
    "encabezados de mensajes originales",
    "originele berichtkoppen",
    "possibly truncated original message",
    "copie du message",
    "copia del mensaje",
    "first part of the message, including",
    "attachment is a copy of the message",
    "header and top 20 lines",
    "original message text",
    "mensaje original",
    "mensagem original",
    "messaggio originale",
    "\u{5143}\u{306e}\u{30e1}\u{30c3}\u{30bb}\u{30fc}\u{30b8}",
    "old message:",
];
/// Fields with which an original begins that nothing introduces.
const ORIGINAL_FIELDS: [&str; 8] = [
    "received: ",
    "return-path: ",
    "dkim-signature:",
    "message-id:",
    "mime-version:",
    "x-original-to:",
    "content-type:",
    "received:from",
];

/// Beginnings of subjects of what people answer or pass on.
const ANSWERS: [&str; 8] = ["re:", "aw:", "sv:", "fw:", "fwd:", "wg:", "tr:", "rv:"];
/// What reports call themselves.
const NAMED: &[&str] = &[
    "delivery status",
    "delivery notification",
    "mail system error",
    "delivery report",
    "delivery confirmation",
    "mail error",
    "processing error",
];
/// With what else the subjects of mail systems begin.
const TITLES: &[&str] =
    &["mail ", "e-mail ", "email ", "message ", "your message", "warning:", "[postmaster]"];
/// What only mail systems say of themselves.
const TECHNICAL: &[&str] = &[
    "did not reach the following",
    "delivery has failed to these recipients",
    "following address",
    "following recipient",
    "following user",
    "these recipients",
    "spam firewall",
    "mail delivery",
    "mail server",
    "mailbox",
    "mail system",
    "remote host",
    "remote server",
    "diagnostic",
    "automatically generated",
    "created automatically",
    "rcpt to",
    "empf\u{e4}nger oder gruppen",
    "destinataires ou groupes",
    "modtagere eller grupper",
];
/// The text for people: plain where there is some, else HTML.
pub(super) fn notification(parts: &[Leaf<'_>]) -> String {
    let of = |kind: &str| {
        let mut whole = String::new();
        // A multipart whose boundary is lost is read as the text that it is.
        let is_it = |part: &&Leaf<'_>| {
            part.content_type == kind || part.content_type.starts_with("multipart/")
        };
        for part in parts.iter().filter(is_it).take(MAX_TEXT_PARTS) {
            let room = MAX_TEXT_BYTES.saturating_sub(whole.len());
            whole.push_str(&part.text(room));
            whole.push('\n');
        }
        whole
    };
    let plain = of("text/plain");
    if plain.trim().is_empty() { of("text/html") } else { plain }
}

/// The notice, and what is quoted after it.
pub(super) fn split(text: &str) -> (&str, &str) {
    let mut at = 0;
    let mut is_part_head = false;
    for line in text.split_inclusive('\n') {
        let lower = line.trim().to_lowercase();
        // Some tell in a list further in which message they mean, and what is wrong with it after that.
        let is_further_in = line.starts_with([' ', '\t']);
        // Gateways to X.400 list the fields of the message that they mean, with commas.
        let is_original = !is_further_in
            && !is_part_head
            && !lower.ends_with(',')
            && ORIGINAL_FIELDS.iter().any(|field| lower.starts_with(field));
        // "The following addresses did not receive a copy of your message" is no separator.
        let is_separator = lower.len() < 200
            && !lower.contains("receive a copy")
            && SEPARATORS.iter().any(|words| lower.contains(words));
        // A notice is never empty: what stands at the very top is its own header or title.
        if (is_original || is_separator) && !text[..at].trim().is_empty() {
            return text.split_at(at);
        }
        // Where a message lost its boundary, the fields of its parts stand in the text.
        is_part_head = !lower.is_empty()
            && (is_part_head || (lower.starts_with("--") && !lower.contains(' ')));
        at += line.len();
    }
    (text, "")
}

/// The recipients of a bounce in prose; `None` when it is none.
pub(super) fn read(header: &Header, notice: &str, clues: &Clues) -> Option<Vec<PerRecipient>> {
    let whole = wording::folded(notice);
    let subject = wording::folded(&header.subject);
    let is_daemon = header.is_from_a_daemon();
    let action = action(&whole, is_daemon).or_else(|| action(&subject, is_daemon));
    if !is_bounce(header, &subject, &whole, notice) {
        return None;
    }
    let action = action.unwrap_or(Action::Failed);
    let told = told::addresses(header, notice, clues);
    // Of parcels, payments and texts others tell in the same words, but not whose mail it was.
    if told.is_empty() && !is_outside(header) {
        return None;
    }
    let lines = Notice::new(notice);
    let (general, titled) = (Said::of(&whole), Said::of(&subject));
    let one = |address: Option<Mailbox>| {
        let block = address.as_ref().map(|a| lines.around(a)).unwrap_or_default();
        let verdict = verdict::judge(action, None, &[Said::of(&block), general, titled]);
        PerRecipient {
            original: None,
            action,
            class: verdict.class,
            trouble: verdict.trouble,
            status: verdict.status,
            diagnostic: lines.diagnostic(&block, address.as_ref()),
            remote_mta: None,
            address,
        }
    };
    if told.is_empty() {
        return Some(vec![one(None)]);
    }
    Some(told.into_iter().map(|address| one(Some(address))).collect())
}

fn action(folded: &str, is_daemon: bool) -> Option<Action> {
    let is_final = wording::says(folded, FINAL);
    if wording::says(folded, DELAY) && !is_final {
        return Some(Action::Delayed);
    }
    if wording::says(folded, FAILURE) || is_final {
        return Some(Action::Failed);
    }
    if !wording::says(folded, DELIVERED) {
        let fails = is_daemon && wording::says(folded, FAILURE_PERHAPS);
        return fails.then_some(Action::Failed);
    }
    let relayed = ["relayed to", "successfully relayed"];
    Some(if wording::says(folded, &relayed) { Action::Relayed } else { Action::Delivered })
}

/// A person who quotes a bounce is not one: something outside the text has to say so as well.
fn is_bounce(header: &Header, subject: &str, whole: &str, notice: &str) -> bool {
    if !header.failed.is_empty() {
        return true;
    }
    let is_daemon = header.is_from_a_daemon();
    let in_subject = is_in_subject(subject, is_daemon);
    let in_body = action(whole, is_daemon).is_some();
    let has_trouble = wording::trouble(notice).is_some() || verdict::reply_code(notice).is_some();
    let is_answer_of_a_machine = auto_reply::is_marked(header) || auto_reply::is_in_words(subject);
    if !is_daemon && !in_subject && is_answer_of_a_machine {
        return false;
    }
    let points = 2 * i32::from(is_daemon)
        + i32::from(header.has_null_return_path)
        + 2 * i32::from(in_subject)
        + 2 * i32::from(in_body)
        + i32::from(has_trouble)
        + i32::from(header.content_type.contains("multipart/report"));
    (is_outside(header) || is_technical(header, subject, whole, notice))
        && points >= 3
        && (in_body
            || in_subject
            || (is_daemon && has_trouble && speaks_as_one(header, subject, notice)))
}

/// A postmaster answers as a person as well.
fn speaks_as_one(header: &Header, subject: &str, notice: &str) -> bool {
    header.has_null_return_path
        || !is_answer(subject)
        || verdict::reply_code(notice).is_some()
        || verdict::enhanced_in(notice).is_some()
}

fn is_answer(subject: &str) -> bool {
    ANSWERS.iter().any(|start| subject.starts_with(start))
}

fn is_in_subject(subject: &str, is_daemon: bool) -> bool {
    !is_answer(subject) && (action(subject, is_daemon).is_some() || wording::says(subject, NAMED))
}

/// A mail system that hides what it is begins its subject with what it has to say, speaks in numbers, and
/// writes to one. A person may write of a parcel that could not be delivered, but not like that.
fn is_technical(header: &Header, subject: &str, whole: &str, notice: &str) -> bool {
    let title = subject.trim_start_matches(['*', '!', '-', ' ']);
    let begins = |words: &[&str]| words.iter().any(|start| title.starts_with(start));
    let is_title = [FAILURE, DELAY, DELIVERED, NAMED, TITLES].into_iter().any(begins);
    let in_numbers =
        verdict::reply_code(notice).is_some() || verdict::enhanced_in(notice).is_some();
    is_title
        && is_in_subject(subject, false)
        && !header.is_to_many
        && (in_numbers || wording::says(whole, TECHNICAL))
}

/// Whether something says so that a person does not write.
fn is_outside(header: &Header) -> bool {
    let is_labelled = header.content_type.contains("report-type=delivery-status");
    header.is_from_a_daemon() || header.has_null_return_path || is_labelled
}
