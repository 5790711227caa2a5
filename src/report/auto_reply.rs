//! Automatic answers (RFC 3834): out of office, received with thanks, prove that you are human.

use super::finding::{AutoReply, AutoReplyKind, Class};
use super::header::Header;
use super::wording;

/// Beginnings of subjects that programs alone write.
const SUBJECTS: &[&str] = &[
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
    "\u{c790}\u{b3d9} \u{d68c}\u{c2e0}",
    "automaattinen vastaus",
    "automatikus v\u{e1}lasz",
    "otomatik yan\u{131}t",
    "r\u{103}spuns automat",
    "\u{3b1}\u{3c5}\u{3c4}\u{3cc}\u{3bc}\u{3b1}\u{3c4}\u{3b7} \u{3b1}\u{3c0}\u{3ac}\u{3bd}\u{3c4}\u{3b7}\u{3c3}\u{3b7}",
    "automatski odgovor",
    "samodejni odgovor",
    "automaatvastus",
    "\u{5ea}\u{5e9}\u{5d5}\u{5d1}\u{5d4} \u{5d0}\u{5d5}\u{5d8}\u{5d5}\u{5de}\u{5d8}\u{5d9}\u{5ea}",
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
    "out-of-office",
    "ooo:",
    "automatische antwort",
    "r\u{e9}ponse automatique",
    "automatisk svar",
    "autosvar",
    "automatiskt svar",
    "respuesta autom\u{e1}tica",
    "risposta automatica",
    "automatisch antwoord",
    "resposta autom\u{e1}tica",
    "automatische abwesen",
    "automatische r\u{fc}ck",
    "automatische rueck",
    "autoantwort",
    "abwesenheitsnotiz",
    "abwesenheitsbenachrichtigung",
    "abwesenheitsagent",
    "abwesenheitsassistent",
    "mensaje autom\u{e1}tico",
    "automatisch bericht",
    "afwezigheidsbericht",
    "autopowiadomienie",
    "odpowied\u{17a} automatyczna",
    "autom\u{101}tisk\u{101} atbilde",
    "automatinis atsakymas",
    "sj\u{e1}lfvirkt svar",
    "\u{430}\u{432}\u{442}\u{43e}\u{43c}\u{430}\u{442}\u{438}\u{447}\u{435}\u{43d} \u{43e}\u{442}\u{433}\u{43e}\u{432}\u{43e}\u{440}",
    "\u{430}\u{45e}\u{442}\u{430}\u{43c}\u{430}\u{442}\u{44b}\u{447}\u{43d}\u{44b}",
    "tr\u{1ea3} l\u{1edd}i t\u{1ef1} \u{111}\u{1ed9}ng",
    "balasan otomatis",
    "\u{e15}\u{e2d}\u{e1a}\u{e01}\u{e25}\u{e31}\u{e1a}\u{e2d}\u{e31}\u{e15}\u{e42}\u{e19}\u{e21}\u{e31}\u{e15}\u{e34}",
    "\u{5de}\u{5e2}\u{5e0}\u{5d4} \u{5d0}\u{5d5}\u{5d8}\u{5d5}\u{5de}\u{5d8}\u{5d9}",
    "\u{631}\u{62f} \u{62a}\u{644}\u{642}\u{627}\u{626}\u{64a}",
    "\u{62a}\u{644}\u{642}\u{627}\u{626}\u{64a}",
    "\u{5916}\u{51fa}\u{81ea}\u{52a8}\u{56de}\u{590d}",
    "\u{81ea}\u{52a8}\u{5e94}\u{7b54}",
    "\u{bd80}\u{c7ac}\u{c911} \u{c790}\u{b3d9}",
    "\u{c790}\u{b3d9}\u{c751}\u{b2f5}",
    "\u{c790}\u{b3d9} \u{c751}\u{b2f5}",
    "autoreply message",
    "auto response from",
    "automatic answer",
    "automated answer",
    "r\u{e9}ponse automatis\u{e9}e",
    "frav\u{e6}rsbesked",
    "frav\u{e6}rsassistent",
    "fr\u{e5}nvaromeddelande",
    "poissaoloviesti",
    "vacation reply",
    "vacation response",
    "vacation message",
    "vacation auto",
    "out of office",
    "out of the office:",
    "abwesend:",
    "abwesenheit:",
    "ausente:",
    "ausencia:",
    "aus\u{ea}ncia:",
    "afwezig:",
    "frav\u{e6}r:",
    "frav\u{e6}rende:",
    "fr\u{e5}nvaro:",
    "ikke p\u{e5} kontoret:",
    "fuori ufficio:",
    "eingangsbest\u{e4}tigung:",
    "fuera de la oficina",
    "absence du bureau",
    "absent du bureau",
    "poissa:",
    "nieobecno\u{15b}\u{107}:",
];
/// Beginnings of subjects of those who are away, and of those who plan to be: the text has to say the same.
const ABSENT_SUBJECTS: &[&str] = &[
    "\u{4e0d}\u{5728}\u{306e}\u{304a}\u{77e5}\u{3089}\u{305b}",
    "\u{bd80}\u{c7ac} \u{c911}",
    "poissaolo",
    "ausente",
    "fuori ufficio",
    "nieobecno\u{15b}\u{107}",
    "eingangsbest\u{e4}tigung",
    "ich bin nicht im",
    "je suis absent",
    "jeg er ikke p\u{e5}",
    "out of office",
    "out of the office",
    "away from the office",
    "away from my mail",
    "vacation",
    "on vacation",
    "on holiday",
    "i am away",
    "i'm away",
    "currently away",
    "abwesend",
    "abwesenheit",
    "nicht im b\u{fc}ro",
    "au\u{df}er haus",
    "urlaub",
    "absence du bureau",
    "absent du bureau",
    "absence",
    "frav\u{e6}r",
    "ikke p\u{e5} kontoret",
    "fr\u{e5}nvaro",
    "fuera de la oficina",
    "afwezig",
    "away",
    "on leave",
    "annual leave",
    "maternity leave",
    "parental leave",
    "sick leave",
    "out until",
    "not in the office",
    "nicht im haus",
    "im urlaub",
    "elternzeit",
    "mutterschutz",
    "nicht erreichbar",
    "cong\u{e9}s",
    "en cong\u{e9}",
    "absent",
    "message d'absence",
    "vacances",
    "ausencia",
    "aus\u{ea}ncia",
    "de vacaciones",
    "f\u{e9}rias",
    "ferias",
    "assente",
    "assenza",
    "fuori sede",
    "in ferie",
    "niet aanwezig",
    "vakantie",
    "op vakantie",
    "frav\u{e6}rende",
    "p\u{e5} ferie",
    "semester",
    "poissa",
    "lomalla",
    "urlop",
    "na urlopie",
    "nep\u{159}\u{ed}tom",
    "dovolen",
    "nepr\u{ed}tom",
    "szabads\u{e1}g",
    "h\u{e1}zon k\u{ed}v\u{fc}l",
    "\u{ee}n concediu",
    "concediu",
    "ofis d\u{131}\u{15f}\u{131}nda",
    "izinde",
    "izindeyim",
    "\u{43e}\u{442}\u{43f}\u{443}\u{441}\u{43a}",
    "\u{43e}\u{442}\u{441}\u{443}\u{442}\u{441}\u{442}\u{432}",
    "\u{432}\u{43d}\u{435} \u{43e}\u{444}\u{438}\u{441}\u{430}",
    "\u{432}\u{456}\u{434}\u{43f}\u{443}\u{441}\u{442}\u{43a}\u{430}",
    "\u{4f11}\u{6687}",
    "\u{4e0d}\u{5728}",
    "\u{4f11}\u{5047}",
    "\u{5916}\u{51fa}",
    "\u{51fa}\u{5dee}",
    "\u{bd80}\u{c7ac}",
    "\u{d734}\u{ac00}",
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
/// What the text of one who is away says.
const ABSENT_WORDS: &[&str] = &[
    "out of the office",
    "out of office",
    "i am away",
    "i'm away",
    "am currently away",
    "will be away",
    "i am on ",
    "i'm on ",
    "am currently on",
    "on vacation",
    "on annual leave",
    "on leave",
    "on holiday",
    "will return",
    "be back",
    "back in the office",
    "not in the office",
    "not here",
    "nicht im b\u{fc}ro",
    "nicht im buero",
    "nicht im hause",
    "au\u{df}er haus",
    "wieder erreichbar",
    "wieder im b\u{fc}ro",
    "abwesend",
    "im urlaub",
    "nicht weitergeleitet",
    "absent",
    "de retour",
    "en cong\u{e9}",
    "en vacances",
    "fuera de la oficina",
    "ausente",
    "de vacaciones",
    "fuori ufficio",
    "assente",
    "in ferie",
    "fora do escrit\u{f3}rio",
    "de f\u{e9}rias",
    "afwezig",
    "op vakantie",
    "niet aanwezig",
    "ikke p\u{e5} kontoret",
    "p\u{e5} ferie",
    "tilbage",
    "tilbake",
    "tillbaka",
    "semester",
    "poissa",
    "lomalla",
    "na urlopie",
    "nieobecn",
    "dovolen",
    "nep\u{159}\u{ed}tom",
    "szabads\u{e1}g",
    "concediu",
    "izinde",
    "\u{43e}\u{442}\u{43f}\u{443}\u{441}\u{43a}",
    "\u{43e}\u{442}\u{441}\u{443}\u{442}\u{441}\u{442}\u{432}",
    "\u{432}\u{456}\u{434}\u{43f}\u{443}\u{441}\u{442}",
    "\u{4e0d}\u{5728}",
    "\u{4f11}\u{6687}",
    "\u{4f11}\u{5047}",
    "\u{5916}\u{51fa}",
    "\u{51fa}\u{5dee}",
    "\u{bd80}\u{c7ac}",
    "\u{d734}\u{ac00}",
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
    "senders i have approved",
    "mailinblack",
    "mail in black",
    "tira-teima",
    "antispam uol",
    "added to the recipient's allowed",
    "guest list",
    "pour que votre message me parvienne",
    "um nachrichten von ihnen zu empfangen",
];
/// What a challenge is about.
const MESSAGE_WORDS: &[&str] = &[
    "your message",
    "your email",
    "your e-mail",
    "your mail",
    "ihre nachricht",
    "ihre e-mail",
    "votre message",
    "sua mensagem",
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
    "your message to",
    "antispam",
    "anti-spam",
    "bitte best\u{e4}tigen",
    "awaiting your verification",
    "confirmation needed",
    "authenticate your",
    "challenge-response",
];

/// The answer, if a machine wrote it.
pub(super) fn read(header: &Header, notice: &str) -> Option<AutoReply> {
    let subject = wording::folded(&header.subject);
    let text = wording::folded(notice);
    let is_marked = is_marked(header) || is_from_nowhere(header);
    let is_challenge = is_challenge(header, &subject, &text);
    let is_absent = || is_of_the_absent(&subject) && wording::says(&text, ABSENT_WORDS);
    if !is_marked && !is_challenge && !is_in_words(&subject) && !is_absent() {
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
        "x-ms-exchange-generated-message-source" => value.contains("mailbox rules"),
        "x-loop" => value.contains("vacation") || value.contains("autore"),
        // The others are only ever written by those who answer by themselves.
        _ => true,
    })
}

/// Whether the subject of a folded header says so.
pub(super) fn is_in_words(subject: &str) -> bool {
    let bare = bare(subject);
    SUBJECTS.iter().any(|start| bare.starts_with(start)) || wording::says(bare, SUBJECT_WORDS)
}

/// Without marks of an answer and brackets before it.
fn bare(subject: &str) -> &str {
    let bare = subject.trim_start_matches("re:").trim_start_matches("aw:");
    bare.trim_start_matches([' ', '[', '(', '*', '\u{3010}'])
}

/// A subject that tells where its author is: nothing but that, or that before the subject that it answers.
fn is_of_the_absent(subject: &str) -> bool {
    let bare = bare(subject);
    let rest = |start: &&str| bare.strip_prefix(*start).map(str::trim_start);
    ABSENT_SUBJECTS.iter().filter_map(|start| rest(&start)).any(|rest| {
        rest.is_empty() || rest.starts_with([':', '\u{ff1a}', '-', '!', '.', '(', ']', '\u{3011}'])
    })
}

/// A null return path and no mail system: what answers by itself must not be answered (RFC 3834 §3.3).
fn is_from_nowhere(header: &Header) -> bool {
    header.has_null_return_path && !header.is_from_a_daemon()
}

fn is_challenge(header: &Header, subject: &str, text: &str) -> bool {
    let is_agent =
        ["x-choicemail", "x-spamarrest-id", "x-tmda-fingerprint", "x-bluebottle-request"]
            .iter()
            .any(|name| header.says(name).is_some())
            || header.says("x-delivery-agent").is_some_and(|value| value.contains("tmda"));
    let in_subject = wording::says(subject, CHALLENGE_SUBJECTS);
    let in_text = wording::says(text, CHALLENGES);
    // Shops ask to confirm as well, but not about a message.
    let is_about_mail = in_subject && wording::says(text, MESSAGE_WORDS);
    is_agent || (in_text && (is_about_mail || is_marked(header) || is_from_nowhere(header)))
}
