//! Bounces without a machine part, read by what they say to people.
//!
//! The notice is what stands before the quoted original. Whether it is a bounce is decided by points for sender, subject and
//! words; who is meant, by where an address stands: at the start of a line, behind `RCPT TO`, in a sentence
//! that tells of a failure, among the recipients of the original. What is said between one such address and the next
//! belongs to the first of them.

use std::collections::{HashMap, HashSet};

use super::address;
use super::auto_reply;
use super::finding::{Action, Clues, PerRecipient};
use super::header::Header;
use super::notice::{MAX_LINE_BYTES, Notice, key};
use super::verdict::Said;
use super::{MAX_RECIPIENTS, MAX_TEXT_BYTES, verdict, wording};
use crate::mime::Leaf;
use crate::model::Mailbox;

/// Text parts that are joined.
const MAX_TEXT_PARTS: usize = 4;
/// Points from which an address is taken as one that failed.
const SURE: i32 = 4;

/// Lines that stand before the original.
const SEPARATORS: [&str; 42] = [
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
];
/// Fields with which an original begins that nothing introduces.
const ORIGINAL_FIELDS: [&str; 7] = [
    "received: ",
    "return-path: ",
    "dkim-signature:",
    "message-id:",
    "mime-version:",
    "x-original-to:",
    "content-type:",
];

const RECIPIENT_LABELS: [&str; 18] = [
    "failed address",
    "addressed to",
    "original address",
    "to:",
    "to :",
    "recipient",
    "empf\u{e4}nger",
    "an:",
    "til:",
    "destinataire",
    "failed recipient",
    "original-recipient",
    "final-recipient",
    "modtager",
    "\u{c0} :",
    "rcpt to",
    "address:",
    "email:",
];
/// Words before the address to which a message went.
const DIRECTIONS: [&str; 12] = [
    "message to",
    "mail to",
    "email to",
    "e-mail to",
    "sent to",
    "send to",
    "deliver to",
    "delivered to",
    "delivery to",
    "undeliverable to",
    "nachricht an",
    "message \u{e0}",
];
const SENDER_LABELS: [&str; 12] = [
    "from:",
    "from :",
    "sender",
    "von:",
    "de :",
    "fra:",
    "mail from",
    "reply-to",
    "message-id",
    "return-path",
    "received:",
    "absender",
];
/// What only mail systems say of themselves.
const TECHNICAL: &[&str] = &[
    "did not reach the following",
    "delivery has failed to these recipients",
    "following address",
    "following recipient",
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
const CONTACTS: [&str; 16] = [
    "contact",
    "mailto:",
    "help",
    "question",
    "assistance",
    "e-mail us",
    "email us",
    "send mail to",
    "please send",
    "kontakt",
    "wenden sie",
    "administrator",
    "report this",
    "include this",
    "further information",
    "postmaster",
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
    for line in text.split_inclusive('\n') {
        let lower = line.trim().to_lowercase();
        // Some tell in a list further in which message they mean, and what is wrong with it after that.
        let is_further_in = line.starts_with([' ', '\t']);
        let is_original =
            !is_further_in && ORIGINAL_FIELDS.iter().any(|field| lower.starts_with(field));
        let is_separator =
            lower.len() < 200 && SEPARATORS.iter().any(|words| lower.contains(words));
        // A notice is never empty: what stands at the very top is its own header or title.
        if (is_original || is_separator) && !text[..at].trim().is_empty() {
            return text.split_at(at);
        }
        at += line.len();
    }
    (text, "")
}

/// The recipients of a bounce in prose; `None` when it is none.
pub(super) fn read(header: &Header, notice: &str, clues: &Clues) -> Option<Vec<PerRecipient>> {
    let whole = wording::folded(notice);
    let subject = wording::folded(&header.subject);
    let action = action(&whole).or_else(|| action(&subject));
    if !is_bounce(header, &subject, &whole, notice) {
        return None;
    }
    let action = action.unwrap_or(Action::Failed);
    let told = addresses(header, notice, clues);
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

fn action(folded: &str) -> Option<Action> {
    let is_final = wording::says(folded, wording::FINAL);
    if wording::says(folded, wording::DELAY) && !is_final {
        return Some(Action::Delayed);
    }
    if wording::says(folded, wording::FAILURE) || is_final {
        return Some(Action::Failed);
    }
    if !wording::says(folded, wording::DELIVERED) {
        return None;
    }
    let relayed = ["relayed to", "successfully relayed"];
    Some(if wording::says(folded, &relayed) { Action::Relayed } else { Action::Delivered })
}

/// A person who quotes a bounce is not one: something outside the text has to say so as well.
fn is_bounce(header: &Header, subject: &str, whole: &str, notice: &str) -> bool {
    let is_answer =
        ["re:", "aw:", "sv:", "fw:", "fwd:", "wg:"].iter().any(|p| subject.starts_with(p));
    let named = [
        "delivery status",
        "delivery notification",
        "mail system error",
        "delivery report",
        "delivery confirmation",
    ];
    let in_subject = !is_answer && (action(subject).is_some() || wording::says(subject, &named));
    let is_daemon = header.is_from_a_daemon();
    let in_body = action(whole).is_some();
    let has_trouble = wording::trouble(notice).is_some() || verdict::reply_code(notice).is_some();
    if !header.failed.is_empty() {
        return true;
    }
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
    let is_labelled = header.content_type.contains("report-type=delivery-status");
    let is_outside = is_daemon || header.has_null_return_path || is_labelled;
    // A person may write of a parcel that could not be delivered, but not in these numbers.
    let is_technical = verdict::reply_code(notice).is_some()
        || verdict::enhanced_in(notice).is_some()
        || wording::says(whole, TECHNICAL);
    (is_outside || (in_subject && is_technical))
        && points >= 3
        && (in_body || has_trouble || in_subject)
        && (is_daemon || in_subject || in_body)
}

/// The recipients that the notice is about, in the order in which it names them.
pub(super) fn addresses(header: &Header, notice: &str, clues: &Clues) -> Vec<Mailbox> {
    if !header.failed.is_empty() {
        return header.failed.clone();
    }
    let known = Known {
        recipients: clues.recipients.iter().map(key).collect(),
        ends: header.to.iter().chain(&header.from).map(key).collect(),
    };
    let mut order: Vec<Mailbox> = Vec::new();
    let mut points: HashMap<String, i32> = HashMap::new();
    let mut previous = String::new();
    for line in notice.lines() {
        let line = &line[..line.floor_char_boundary(MAX_LINE_BYTES)];
        let is_quote = line.starts_with("> ");
        let mut facts = None;
        for (at, mailbox) in address::in_line(line).filter(|_| !is_quote) {
            let key = key(&mailbox);
            let is_new = !points.contains_key(&key);
            if is_new && order.len() == MAX_RECIPIENTS {
                continue;
            }
            let facts = facts.get_or_insert_with(|| Line::of(line, &previous));
            let here = score(facts, &line[..at], &key, &known);
            let best = points.entry(key).or_insert(here);
            *best = here.max(*best);
            if is_new {
                order.push(mailbox);
            }
        }
        if !line.trim().is_empty() {
            previous = line.trim().to_lowercase();
        }
    }
    let of = |mailbox: &Mailbox| points.get(&key(mailbox)).copied().unwrap_or_default();
    let best = order.iter().map(of).max().unwrap_or_default();
    if best >= SURE {
        order.retain(|mailbox| of(mailbox) >= SURE);
        return order;
    }
    match &clues.recipients[..] {
        [only] if best <= 1 => vec![only.clone()],
        _ if best > 0 => {
            order.into_iter().filter(|m| points.get(&key(m)) == Some(&best)).take(1).collect()
        }
        _ => Vec::new(),
    }
}

/// What is the same for every address of a line.
struct Line {
    begins_with_recipient: bool,
    begins_with_sender: bool,
    is_contact: bool,
    tells: bool,
    follows: bool,
}

impl Line {
    fn of(line: &str, previous: &str) -> Line {
        let (lower, folded) = (line.trim().to_lowercase(), wording::folded(line));
        let begins = |labels: &[&str]| labels.iter().any(|label| lower.starts_with(label));
        Line {
            begins_with_recipient: begins(&RECIPIENT_LABELS),
            begins_with_sender: begins(&SENDER_LABELS),
            is_contact: CONTACTS.iter().any(|words| lower.contains(words)),
            tells: wording::says(&folded, wording::FAILURE)
                || wording::says(&folded, wording::DELIVERED)
                || wording::trouble(line).is_some(),
            follows: previous.ends_with(':') || wording::says(previous, wording::FAILURE),
        }
    }
}

/// Addresses that are known from elsewhere.
struct Known {
    /// Recipients of the original.
    recipients: HashSet<String>,
    /// Who writes the report, and who gets it.
    ends: HashSet<String>,
}

/// How much speaks for it that the line says of this address that it failed. `before`: what stands
/// before it in the line.
fn score(line: &Line, before: &str, address: &str, known: &Known) -> i32 {
    let before = before.trim().to_lowercase();
    let leading = before.trim_end_matches(['<', '(', '"', '\'', '[', ' ', ':']);
    let mut points = 0;
    if before.chars().all(|c| "<>*-\u{2022}\"'([:1234567890.) ".contains(c)) {
        points += 4;
    }
    if before.contains("rcpt to") || DIRECTIONS.iter().any(|words| leading.ends_with(words)) {
        points += 4;
    }
    // `expanded from`, `generated from`: whom the sender had named, and who is told beside it.
    if leading.ends_with(" from") {
        points -= 8;
    }
    if line.begins_with_recipient {
        points += 3;
    }
    if line.tells {
        points += 4;
    }
    if line.follows {
        points += 2;
    }
    if known.recipients.contains(address) {
        points += 4;
    }
    if line.begins_with_sender || before.contains("mail from") || before.ends_with("message from") {
        points -= 8;
    }
    if line.is_contact {
        points -= 5;
    }
    if known.ends.contains(address) {
        points -= 10;
    }
    points
}
