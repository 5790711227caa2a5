//! Who is meant by a notice in prose.
//!
//! Decided by where an address stands: at the start of a line, behind `RCPT TO`, in a sentence that tells of
//! a failure, among the recipients of the original. Where some stand in such a place, those that are only
//! spoken of are left out. A provider may name its users without their domain.

use std::collections::{HashMap, HashSet};

use super::finding::Clues;
use super::header::Header;
use super::notice::{MAX_LINE_BYTES, key};
use super::refusals::SENDER;
use super::sentences::{DELAY, DELIVERED, FAILURE, FAILURE_PERHAPS};
use super::{MAX_RECIPIENTS, address, wording};
use crate::model::Mailbox;

/// Points from which an address is taken as one that failed.
const SURE: i32 = 4;

const RECIPIENT_LABELS: [&str; 36] = [
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
    "intended recipient",
    "error-for",
    "addressee",
    "-> ",
    "destinat",
    "ontvanger",
    "geadresseerde",
    "mottag",
    "vastaanottaja",
    "adresat",
    "odbiorca",
    "p\u{159}\u{ed}jemce",
    "\u{43f}\u{43e}\u{43b}\u{443}\u{447}\u{430}\u{442}\u{435}\u{43b}",
    "\u{6536}\u{4ef6}\u{4eba}",
    "\u{5b9b}\u{5148}",
    "\u{53d7}\u{4fe1}\u{8005}",
    "\u{9001}\u{4fe1}\u{5148}",
    "\u{bc1b}\u{b294}",
];
/// Words before the address to which a message went.
const DIRECTIONS: [&str; 26] = [
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
    "addressed to",
    "mensaje a",
    "mensaje para",
    "messaggio a",
    "mensagem para",
    "bericht aan",
    "meddelande till",
    "meddelelse til",
    "besked til",
    "meldingen til",
    "wiadomo\u{15b}ci do",
    "zpr\u{e1}vu pro",
    "\u{441}\u{43e}\u{43e}\u{431}\u{449}\u{435}\u{43d}\u{438}\u{435} \u{434}\u{43b}\u{44f}",
    "bezorgd bij",
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
/// Whom a heading speaks of, in its own words.
const FOLLOWERS: &[&str] = &[
    "following",
    "recipient",
    "address",
    "to:",
    "empf\u{e4}nger",
    "adresse",
    "destinat",
    "modtager",
    "mottag",
    "geadresseerde",
];
const CONTACTS: [&str; 19] = [
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
    "request removal",
    "to be removed",
    "delist",
];

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
    let mut points: HashMap<String, Score> = HashMap::new();
    let mut previous = String::new();
    let mut is_under_heading = false;
    for line in notice.lines() {
        let line = &line[..line.floor_char_boundary(MAX_LINE_BYTES)];
        let is_quote = line.strip_prefix("> ").is_some_and(|rest| rest.trim().contains(' '));
        let mut facts = None;
        for (at, mailbox) in address::in_line(line).filter(|_| !is_quote) {
            let key = key(&mailbox);
            let is_new = !points.contains_key(&key);
            if is_new && order.len() == MAX_RECIPIENTS {
                continue;
            }
            let facts = facts.get_or_insert_with(|| Line::of(line, &previous));
            let here = score(facts, &line[..at], &key, &known);
            let here = Score { is_listed: here.is_in_place && is_under_heading, ..here };
            points.entry(key).and_modify(|best| *best = best.with(here)).or_insert(here);
            if is_new {
                order.push(mailbox);
            }
        }
        if !line.trim().is_empty() {
            previous = line.trim().to_lowercase();
            is_under_heading |= is_heading(line);
        }
    }
    let of = |mailbox: &Mailbox| points.get(&key(mailbox)).copied().unwrap_or_default();
    let best = order.iter().map(of).max().unwrap_or_default();
    if best.points >= SURE {
        // Where some stand in their place, others are only spoken of. What stands above a heading may be the
        // fields of the message.
        let sure = || order.iter().map(of).filter(|one| one.points >= SURE);
        let (has_list, has_place) =
            (sure().any(|one| one.is_listed), sure().any(|one| one.is_in_place));
        let is_meant = |one: Score| match (has_list, has_place) {
            (true, _) => one.is_listed,
            (false, true) => one.is_in_place,
            (false, false) => true,
        };
        order.retain(|mailbox| of(mailbox).points >= SURE && is_meant(of(mailbox)));
        return order;
    }
    let others = clues.recipients.iter().filter(|one| !known.ends.contains(&key(one)));
    match &others.collect::<Vec<_>>()[..] {
        [only] if best.points <= 1 => vec![(*only).clone()],
        _ if best.points > 0 => order.into_iter().filter(|one| of(one) == best).take(1).collect(),
        _ if order.iter().any(|one| of(one).is_named_by_sender) => {
            order.retain(|one| of(one).is_named_by_sender);
            order
        }
        _ => {
            let named = without_domain(header, notice, clues);
            if named.is_empty() {
                order.retain(|one| of(one).is_end_in_place);
                return order;
            }
            named
        }
    }
}

/// A sentence that ends in a colon, and tells what became of those who follow.
fn is_heading(line: &str) -> bool {
    let folded = wording::folded(line);
    let tells = |words: &&[&str]| wording::says(&folded, words);
    folded.ends_with([':', '\u{ff1a}'])
        && [FAILURE, FAILURE_PERHAPS, DELAY, DELIVERED].iter().any(tells)
        && wording::says(&folded, FOLLOWERS)
}

/// Users whom a provider names without their domain, in a list under a sentence that tells of a failure.
fn without_domain(header: &Header, notice: &str, clues: &Clues) -> Vec<Mailbox> {
    let mut found = Vec::new();
    let mut is_list = false;
    for line in notice.lines().filter(|line| !line.trim().is_empty()) {
        let line = &line[..line.floor_char_boundary(MAX_LINE_BYTES)];
        let user = user(line).filter(|_| is_list && found.len() < MAX_RECIPIENTS);
        match user.and_then(|user| at_home(user, header, clues)) {
            Some(mailbox) => found.push(mailbox),
            None => is_list = is_heading(line),
        }
    }
    found
}

/// The name at the beginning of a line, if it stands alone or what follows is set off from it.
fn user(line: &str) -> Option<&str> {
    let line = line.trim();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    let (name, rest) = line.split_at(line.find(|c| !is_name(c)).unwrap_or(line.len()));
    let is_set_off = ["", "  ", "\t", " ("].iter().any(|mark| match *mark {
        "" => rest.is_empty(),
        mark => rest.starts_with(mark),
    });
    let is_user = name.len() <= 64 && name.bytes().any(|b| b.is_ascii_alphabetic());
    (is_set_off && is_user).then_some(name)
}

/// The address of the original that has this name, else one at the provider that tells.
fn at_home(user: &str, header: &Header, clues: &Clues) -> Option<Mailbox> {
    let known = clues.recipients.iter().find(|one| one.local().eq_ignore_ascii_case(user));
    let told = || Mailbox::parse(&format!("{user}@{}", header.from.as_ref()?.domain())).ok();
    known.cloned().or_else(told)
}

/// What is the same for every address of a line.
struct Line {
    begins_with_recipient: bool,
    begins_with_sender: bool,
    is_contact: bool,
    /// What it says is said of the sender.
    is_about_sender: bool,
    tells: bool,
    follows: bool,
}

impl Line {
    fn of(line: &str, previous: &str) -> Line {
        // Outlook writes `bob@example.com<mailto:bob@example.com>`.
        let lower = line.trim().to_lowercase().replace("<mailto:", "<");
        let folded = wording::folded(line);
        let begins = |labels: &[&str]| labels.iter().any(|label| lower.starts_with(label));
        let says = wording::says;
        Line {
            begins_with_recipient: begins(&RECIPIENT_LABELS),
            begins_with_sender: begins(&SENDER_LABELS),
            is_about_sender: says(&folded, SENDER),
            is_contact: CONTACTS.iter().any(|words| lower.contains(words)),
            tells: [FAILURE, FAILURE_PERHAPS, DELAY, DELIVERED].iter().any(|w| says(&folded, w))
                || wording::trouble(line).is_some(),
            follows: previous.ends_with([':', '\u{ff1a}'])
                || says(previous, FAILURE)
                || says(previous, FAILURE_PERHAPS),
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

/// How much speaks for it that an address is one that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    points: i32,
    /// It stands where recipients stand: at the start of a line, behind a label or `RCPT TO`.
    is_in_place: bool,
    /// And that below a heading that tells of a failure.
    is_listed: bool,
    /// `generated from bob@example.com`: whom the sender had named.
    is_named_by_sender: bool,
    /// Who gets the report stands where recipients stand: they write to themselves.
    is_end_in_place: bool,
}

impl Score {
    fn with(self, other: Score) -> Score {
        Score {
            points: self.points.max(other.points),
            is_in_place: self.is_in_place || other.is_in_place,
            is_listed: self.is_listed || other.is_listed,
            is_named_by_sender: self.is_named_by_sender || other.is_named_by_sender,
            is_end_in_place: self.is_end_in_place || other.is_end_in_place,
        }
    }
}

/// What the line says of this address. `before`: what stands before it in the line.
fn score(line: &Line, before: &str, address: &str, known: &Known) -> Score {
    let before = before.trim().to_lowercase();
    let leading = before.trim_end_matches(['<', '(', '"', '\'', '[', ' ', ':']);
    let mut points = 0;
    let is_first = before.chars().all(|c| "<>*-\u{2022}\"'([:1234567890.) ".contains(c));
    // `550 <eve@example.org> Sender rejected`
    let has_code = before.bytes().any(|b| b.is_ascii_digit());
    let is_sender = line.is_about_sender && (has_code || !is_first);
    // An X.400 address that holds one of the Internet ends with it.
    let is_directed = before.contains("rcpt to")
        || leading.ends_with("smtp=")
        || DIRECTIONS.iter().any(|words| leading.ends_with(words));
    if is_first {
        points += 4;
    }
    if is_directed {
        points += 4;
    }
    // `expanded from`, `generated from`: whom the sender had named, and who is told beside it.
    let is_named_by_sender = leading.ends_with(" from") && !before.contains("mail from");
    if is_named_by_sender {
        points -= 8;
    }
    if is_sender && !known.recipients.contains(address) {
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
    let is_end = known.ends.contains(address);
    let is_in_place =
        is_first || is_directed || line.begins_with_recipient || known.recipients.contains(address);
    let is_named_by_sender = is_named_by_sender && !is_end;
    let is_end_in_place = is_end && is_in_place && points >= SURE;
    if is_end {
        points -= 10;
    }
    Score { points, is_in_place, is_listed: false, is_named_by_sender, is_end_in_place }
}
