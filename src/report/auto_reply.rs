//! Automatic answers (RFC 3834): out of office, received with thanks, prove that you are human.

use super::finding::{AutoReply, AutoReplyKind, Class};
use super::header::Header;
use super::wording;

/// Beginnings of subjects of automatic answers.
const SUBJECTS: [&str; 78] = [
    "automatick\u{e1} odpov\u{11b}\u{10f}",
    "automatick\u{e1} odpove\u{10f}",
    "automatyczna odpowied\u{17a}",
    "autoodpowied\u{17a}",
    "\u{430}\u{432}\u{442}\u{43e}\u{43c}\u{430}\u{442}\u{438}\u{447}\u{435}\u{441}\u{43a}\u{438}\u{439} \u{43e}\u{442}\u{432}\u{435}\u{442}",
    "\u{430}\u{432}\u{442}\u{43e}\u{43e}\u{442}\u{432}\u{435}\u{442}",
    "\u{430}\u{432}\u{442}\u{43e}\u{43c}\u{430}\u{442}\u{438}\u{447}\u{43d}\u{430} \u{432}\u{456}\u{434}\u{43f}\u{43e}\u{432}\u{456}\u{434}\u{44c}",
    "\u{81ea}\u{52d5}\u{5fdc}\u{7b54}",
    "\u{81ea}\u{52d5}\u{8fd4}\u{4fe1}",
    "\u{81ea}\u{52a8}\u{7b54}\u{590d}",
    "\u{81ea}\u{52a8}\u{56de}\u{590d}",
    "\u{81ea}\u{52d5}\u{56de}\u{8986}",
    "\u{4e0d}\u{5728}\u{306e}\u{304a}\u{77e5}\u{3089}\u{305b}",
    "\u{c790}\u{b3d9} \u{d68c}\u{c2e0}",
    "\u{bd80}\u{c7ac} \u{c911}",
    "automaattinen vastaus",
    "poissaolo",
    "automatikus v\u{e1}lasz",
    "otomatik yan\u{131}t",
    "r\u{103}spuns automat",
    "\u{3b1}\u{3c5}\u{3c4}\u{3cc}\u{3bc}\u{3b1}\u{3c4}\u{3b7} \u{3b1}\u{3c0}\u{3ac}\u{3bd}\u{3c4}\u{3b7}\u{3c3}\u{3b7}",
    "automatski odgovor",
    "samodejni odgovor",
    "automaatvastus",
    "\u{5ea}\u{5e9}\u{5d5}\u{5d1}\u{5d4} \u{5d0}\u{5d5}\u{5d8}\u{5d5}\u{5de}\u{5d8}\u{5d9}\u{5ea}",
    "ausente",
    "fuori ufficio",
    "nieobecno\u{15b}\u{107}",
    "eingangsbest\u{e4}tigung",
    "ich bin nicht im",
    "je suis absent",
    "jeg er ikke p\u{e5}",
    "auto:",
    "auto reply",
    "auto-reply",
    "autoreply",
    "automatic reply",
    "automated reply",
    "automatic response",
    "automated response",
    "auto response",
    "auto-response",
    "autoresponse",
    "autoresponder",
    "out of office",
    "out of the office",
    "out-of-office",
    "ooo:",
    "away from the office",
    "away from my mail",
    "vacation",
    "on vacation",
    "on holiday",
    "i am away",
    "i'm away",
    "currently away",
    "automatische antwort",
    "abwesend",
    "abwesenheit",
    "nicht im b\u{fc}ro",
    "au\u{df}er haus",
    "urlaub",
    "r\u{e9}ponse automatique",
    "absence du bureau",
    "absent du bureau",
    "absence",
    "automatisk svar",
    "autosvar",
    "frav\u{e6}r",
    "ikke p\u{e5} kontoret",
    "fr\u{e5}nvaro",
    "automatiskt svar",
    "respuesta autom\u{e1}tica",
    "fuera de la oficina",
    "risposta automatica",
    "automatisch antwoord",
    "afwezig",
    "resposta autom\u{e1}tica",
];
/// The same anywhere in a subject.
const SUBJECT_WORDS: &[&str] = &[
    "out of office",
    "out of the office",
    "automatic reply",
    "autoreply",
    "auto-reply",
    "abwesenheitsnotiz",
    "autosvar",
];
/// Sentences of those who want a proof.
const CHALLENGES: &[&str] = &[
    "confirm that you are",
    "verify your email to deliver",
    "verify that you are",
    "prove that you are human",
    "prove you are human",
    "prove that you're human",
    "sender verification",
    "please confirm your message",
    "confirm your message",
    "confirm delivery of your message",
    "spamarrest",
    "spam arrest",
    "boxbe",
    "challenge-response",
    "challenge/response",
    "not on my list of approved",
    "approved senders",
    "not yet been approved",
    "is protected by",
    "to deliver your message, click",
    "click the link below to deliver",
    "one-time verification",
    "to release your message",
    "mailblocks",
    "knowspam",
    "choicemail",
    "tmda",
    "bitte best\u{e4}tigen sie ihre",
    "absenderbest\u{e4}tigung",
    "confirmez votre message",
    "whitelist your",
    "is in quarantine",
    "your message is being held",
];
const CHALLENGE_SUBJECTS: &[&str] = &[
    "confirm your message",
    "please confirm",
    "verify your email",
    "verification required",
    "sender verification",
    "action required: deliver",
    "email verification",
    "are you human",
    "challenge",
    "your message to",
    "antispam",
    "anti-spam",
    "bitte best\u{e4}tigen",
    "awaiting your verification",
    "confirmation needed",
    "authenticate your",
];

/// The answer, if a machine wrote it.
pub(super) fn read(header: &Header, notice: &str) -> Option<AutoReply> {
    let subject = wording::folded(&header.subject);
    let text = wording::folded(notice);
    let is_marked = is_marked(header) || is_from_nowhere(header);
    let is_challenge = is_challenge(header, &subject, &text);
    if !is_marked && !is_challenge && !is_in_words(&subject) {
        return None;
    }
    let kind = if is_challenge { AutoReplyKind::Challenge } else { AutoReplyKind::Answer };
    let recipient = header.from.clone();
    Some(AutoReply { kind, class: Class::AutoReply, recipient })
}

/// Whether a field says so.
pub(super) fn is_marked(header: &Header) -> bool {
    header.automatic.iter().any(|(name, value)| match name.as_str() {
        "auto-submitted" => !value.is_empty() && !value.starts_with("no"),
        "precedence" | "preference" | "x-precedence" => value.contains("auto"),
        "delivered-to" => value.contains("autoresponder"),
        "x-mailer" => value.contains("vacation") || value.contains("autorespond"),
        "x-autoreply" | "x-autorespond" => value != "no",
        // Redirects are marked `Mirror`.
        "x-autogenerated" => value.contains("reply"),
        "x-post-messageclass" => value.contains("9"),
        "x-delivery-agent" => value.contains("tmda"),
        // The others are only ever written by those who answer by themselves.
        _ => true,
    })
}

/// Whether the subject of a folded header says so.
pub(super) fn is_in_words(subject: &str) -> bool {
    let bare = subject.trim_start_matches("re:").trim_start_matches("aw:").trim();
    SUBJECTS.iter().any(|start| bare.starts_with(start)) || wording::says(bare, SUBJECT_WORDS)
}

/// A null return path and no mail system: what answers by itself must not be answered (RFC 3834 §3.3).
fn is_from_nowhere(header: &Header) -> bool {
    header.has_null_return_path && !header.is_from_a_daemon()
}

fn is_challenge(header: &Header, subject: &str, text: &str) -> bool {
    let is_agent = ["x-choicemail", "x-spamarrest-id", "x-tmda-fingerprint"]
        .iter()
        .any(|name| header.says(name).is_some())
        || header.says("x-delivery-agent").is_some_and(|value| value.contains("tmda"));
    let in_subject = wording::says(subject, CHALLENGE_SUBJECTS);
    let in_text = wording::says(text, CHALLENGES);
    is_agent || (in_text && (in_subject || is_marked(header) || is_from_nowhere(header)))
}
