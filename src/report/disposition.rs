//! Receipts of the reader's program (RFC 8098, RFC 6533 §5), and the plain ones of old groupware.

use crate::mime::Leaf;

use super::address;
use super::block::{self, Block};
use super::finding::{Class, Disposition, DispositionKind};
use super::header::Header;
use super::sentences::FAILURE;
use super::wording;

/// Subjects of receipts that have no machine part.
const READ_SUBJECTS: &[&str] = &[
    "read:",
    "read receipt",
    "return receipt",
    "message status - opened",
    "gelesen:",
    "lesebest\u{e4}tigung",
    "empfangsbest\u{e4}tigung (angezeigt)",
    "lu :",
    "lu:",
    "accus\u{e9} de lecture",
    "retour de lecture",
    "confirmation de lecture",
    "l\u{e6}st:",
    "lest:",
    "kvittering for",
    "l\u{e4}st:",
    "l\u{e4}skvitto",
    "le\u{ed}do:",
    "confirmaci\u{f3}n de lectura",
    "acuse de recibo",
    "letto:",
    "conferma di lettura",
    "ricevuta di ritorno",
    "gelezen:",
    "leesbevestiging",
    "lida:",
    "confirma\u{e7}\u{e3}o de leitura",
    "luettu:",
    "przeczytano:",
    "potwierdzenie przeczytania",
    "p\u{159}e\u{10d}teno:",
    "potvrzen\u{ed} o p\u{159}e\u{10d}ten\u{ed}",
    "pre\u{10d}\u{ed}tan\u{e9}:",
    "elolvasva:",
    "citit:",
    "okundu:",
    "\u{43f}\u{440}\u{43e}\u{447}\u{442}\u{435}\u{43d}\u{43e}:",
    "\u{43f}\u{440}\u{43e}\u{447}\u{438}\u{442}\u{430}\u{43d}\u{43e}:",
    "\u{443}\u{432}\u{435}\u{434}\u{43e}\u{43c}\u{43b}\u{435}\u{43d}\u{438}\u{435} \u{43e} \u{43f}\u{440}\u{43e}\u{447}\u{442}\u{435}\u{43d}\u{438}\u{438}",
    "\u{958b}\u{5c01}\u{6e08}\u{307f}:",
    "\u{958b}\u{5c01}\u{78ba}\u{8a8d}",
    "\u{958b}\u{5c01}\u{901a}\u{77e5}",
    "\u{5df2}\u{8bfb}:",
    "\u{5df2}\u{8b80}:",
    "\u{c77d}\u{c74c}:",
];
const UNREAD_SUBJECTS: &[&str] = &[
    "not read:",
    "nicht gelesen:",
    "ungelesen",
    "non lu",
    "ikke l\u{e6}st:",
    "ikke lest:",
    "no le\u{ed}do:",
    "non letto:",
    "niet gelezen:",
    "n\u{e3}o lida:",
    "ej l\u{e4}st:",
    "nieprzeczytane:",
    "nep\u{159}e\u{10d}teno:",
    "\u{43d}\u{435} \u{43f}\u{440}\u{43e}\u{447}\u{442}\u{435}\u{43d}\u{43e}:",
    "\u{672a}\u{958b}\u{5c01}:",
    "\u{672a}\u{8bfb}:",
    "message status - deleted",
];
/// What their text says was done.
const READ_WORDS: &[&str] = &[
    "was read on",
    "was read at",
    "was read by",
    "read on",
    "was displayed",
    "has been read",
    "been displayed",
    "was seen by",
    "was opened by",
    "been opened",
    "acknowledges that the message",
    "return receipt for the mail",
    "this is a return receipt",
    "this is a read receipt",
    "wurde am",
    "wurde gelesen",
    "gelesen",
    "a \u{e9}t\u{e9} lu",
    "a \u{e9}t\u{e9} affich\u{e9}",
    "lu le",
    "blev l\u{e6}st",
    "er l\u{e6}st",
    "ble lest",
    "ha sido le\u{ed}do",
    "fue le\u{ed}do",
    "\u{e8} stato letto",
    "is gelezen",
    "foi lida",
    "foi lido",
    "l\u{e4}stes",
    "on luettu",
    "zosta\u{142}a przeczytana",
    "przeczytan",
    "byla p\u{159}e\u{10d}tena",
    "bol pre\u{10d}\u{ed}tan",
    "elolvast",
    "a fost citit",
    "okundu",
    "\u{431}\u{44b}\u{43b}\u{43e} \u{43f}\u{440}\u{43e}\u{447}\u{438}\u{442}\u{430}\u{43d}\u{43e}",
    "\u{43f}\u{440}\u{43e}\u{447}\u{438}\u{442}\u{430}\u{43d}\u{43e}",
    "\u{958b}\u{5c01}\u{3055}\u{308c}",
    "\u{88ab}\u{9605}\u{8bfb}",
    "\u{5df2}\u{88ab}\u{9605}\u{8bfb}",
    "\u{88ab}\u{8b80}\u{53d6}",
    "\u{c77d}\u{c5c8}\u{c2b5}\u{b2c8}\u{b2e4}",
    "\u{c77d}\u{c74c}",
];
const DELETED_WORDS: &[&str] = &[
    "deleted without being read",
    "deleted without reading",
    "ungelesen gel\u{f6}scht",
    "ohne gelesen",
    "supprim\u{e9} sans",
    "slettet uden",
    "slettet uten",
    "sin haber sido le\u{ed}do",
    "sin leer",
    "senza essere letto",
    "zonder te zijn gelezen",
    "ongelezen verwijderd",
    "sem ser lida",
    "sem ter sido lida",
    "utan att ha l\u{e4}sts",
    "utan att l\u{e4}sas",
    "usuni\u{119}ta bez",
    "odstran\u{11b}na bez",
    "\u{443}\u{434}\u{430}\u{43b}\u{435}\u{43d}\u{43e}",
    "\u{431}\u{435}\u{437} \u{43f}\u{440}\u{43e}\u{447}\u{442}\u{435}\u{43d}\u{438}\u{44f}",
    "\u{8aad}\u{307e}\u{305a}\u{306b}\u{524a}\u{9664}",
    "\u{958b}\u{5c01}\u{3055}\u{308c}\u{305a}\u{306b}\u{524a}\u{9664}",
    "\u{672a}\u{9605}\u{8bfb}\u{5373}\u{88ab}\u{5220}\u{9664}",
    "\u{c77d}\u{c9c0} \u{c54a}\u{ace0} \u{c0ad}\u{c81c}",
];
/// With what it was done: people write of what they read as well.
const MESSAGE_WORDS: &[&str] = &[
    "your message",
    "message that you sent",
    "mail that you sent",
    "ihre nachricht",
    "ihre e-mail",
    "ihre mail",
    "votre message",
    "su mensaje",
    "el mensaje",
    "il messaggio",
    "il suo messaggio",
    "uw bericht",
    "sua mensagem",
    "a mensagem",
    "ditt meddelande",
    "din meddelelse",
    "din besked",
    "meldingen",
    "viestisi",
    "twoja wiadomo\u{15b}\u{107}",
    "wiadomo\u{15b}\u{107}",
    "va\u{161}e zpr\u{e1}va",
    "va\u{161}a spr\u{e1}va",
    "\u{fc}zenet",
    "mesajul",
    "iletiniz",
    "\u{432}\u{430}\u{448}\u{435} \u{441}\u{43e}\u{43e}\u{431}\u{449}\u{435}\u{43d}\u{438}\u{435}",
    "\u{441}\u{43e}\u{43e}\u{431}\u{449}\u{435}\u{43d}\u{438}\u{435}",
    "\u{30e1}\u{30c3}\u{30bb}\u{30fc}\u{30b8}",
    "\u{60a8}\u{7684}\u{90ae}\u{4ef6}",
    "\u{60a8}\u{7684}\u{90f5}\u{4ef6}",
    "\u{90ae}\u{4ef6}",
    "\u{ba54}\u{c2dc}\u{c9c0}",
    "return receipt",
    "read receipt",
    "lesebest\u{e4}tigung",
];

/// The receipt, if the message is one.
pub(super) fn read(header: &Header, parts: &[Leaf<'_>], notice: &str) -> Option<Disposition> {
    let part = parts.iter().find(|part| part.content_type.ends_with("disposition-notification"));
    // Dovecot tells in this form that the recipient's filter rejected the message (RFC 5429 §2.2.1).
    if header.is_from_a_daemon() && wording::says(&wording::folded(notice), FAILURE) {
        return None;
    }
    match part {
        Some(part) => of_part(&part.decoded(), header),
        None => of_words(header, notice),
    }
}

fn of_part(body: &[u8], header: &Header) -> Option<Disposition> {
    let blocks = block::blocks(body);
    let block = blocks.iter().find(|block| block.get("disposition").is_some());
    let block = block.or(blocks.first())?;
    let (modes, kind) = match block.get("disposition") {
        Some(text) => text.split_once(';').unwrap_or(("", text)),
        None => ("", ""),
    };
    let modes = modes.to_ascii_lowercase();
    let kind = kind_of(kind).unwrap_or(DispositionKind::Processed);
    Some(Disposition {
        kind,
        class: class_of(kind),
        sent_by_person: if modes.contains("mdn-sent-manually") {
            Some(true)
        } else if modes.contains("mdn-sent-automatically") {
            Some(false)
        } else {
            None
        },
        is_manual: modes.contains("manual-action"),
        recipient: field(block, "final-recipient").or_else(|| header.from.clone()),
        original: field(block, "original-recipient"),
    })
}

fn field(block: &Block, name: &str) -> Option<crate::model::Mailbox> {
    block.get(name).and_then(address::of_field)
}

/// `displayed/error`: what stands after the slash modifies it.
fn kind_of(text: &str) -> Option<DispositionKind> {
    let word = text.trim().split(|c: char| !c.is_ascii_alphabetic()).next()?.to_ascii_lowercase();
    match word.as_str() {
        "displayed" | "read" => Some(DispositionKind::Displayed),
        "deleted" => Some(DispositionKind::Deleted),
        "denied" => Some(DispositionKind::Denied),
        "failed" | "error" => Some(DispositionKind::Failed),
        "dispatched" => Some(DispositionKind::Dispatched),
        "processed" => Some(DispositionKind::Processed),
        _ => None,
    }
}

fn class_of(kind: DispositionKind) -> Class {
    match kind {
        DispositionKind::Displayed => Class::Displayed,
        // It arrived, which is all that can be said.
        DispositionKind::Deleted | DispositionKind::Dispatched | DispositionKind::Processed => {
            Class::Delivered
        }
        DispositionKind::Denied | DispositionKind::Failed => Class::Unknown,
    }
}

fn of_words(header: &Header, notice: &str) -> Option<Disposition> {
    let subject = wording::folded(&header.subject);
    let text = wording::folded(notice);
    let begins = |list: &[&str]| list.iter().any(|start| subject.starts_with(start));
    if header.is_to_many || !wording::says(&text, MESSAGE_WORDS) {
        return None;
    }
    let is_deleted = wording::says(&text, DELETED_WORDS);
    let is_receipt = begins(READ_SUBJECTS) || begins(UNREAD_SUBJECTS);
    let kind = if is_receipt && is_deleted {
        DispositionKind::Deleted
    } else if begins(READ_SUBJECTS) && wording::says(&text, READ_WORDS) {
        DispositionKind::Displayed
    } else {
        return None;
    };
    let recipient = header.from.clone();
    let class = class_of(kind);
    Some(Disposition {
        kind,
        class,
        sent_by_person: None,
        is_manual: false,
        recipient,
        original: None,
    })
}
