//! The rows of an export and their cells (RFC 4180).
//!
//! Every cell stands in quotes. What was written by strangers may begin like a formula, and a
//! spreadsheet would run it (OWASP: CSV injection); such a cell gets an apostrophe in front, which makes
//! it text. The search for it looks through what a spreadsheet strips: white space, control and
//! invisible characters, quotes, and the other forms of a sign. A spreadsheet of a country where the
//! semicolon divides cells sees quotes only at the start of a row, and ends a cell at each semicolon,
//! tab and line break in it; so what follows one of those is looked at like a beginning.
//! UTF-8 without a byte order mark, as the media type says: a program would take the mark for a part
//! of the first name (RFC 3629 §6).

use crate::archive::{Message, Recipient};
use crate::model::{Cause, Engagement, RecipientState, Timestamp};

/// Recipients whose addresses stand in their cell; the next column says how many there are.
const MAX_ADDRESSES: u16 = 100;
/// What spreadsheets take of a cell.
const MAX_CELL_CHARS: usize = 32_000;

const COLUMNS: [&str; 34] = [
    "id",
    "accepted_at",
    "channel",
    "direction",
    "status",
    "app",
    "sender_name",
    "sender",
    "envelope_from",
    "recipients",
    "recipient_count",
    "sent_count",
    "sent_at",
    "subject",
    "preview",
    "references",
    "tag",
    "size",
    "segments",
    "attachments",
    "message_id",
    "resend_of",
    "deleted_at",
    "delivered_count",
    "bounced_count",
    "read_count",
    "opened_count",
    "opened_at",
    "opens",
    "automated_opens",
    "clicked_count",
    "clicked_at",
    "clicks",
    "automated_clicks",
];

/// The first row: the names of the columns.
pub(super) fn head() -> String {
    let mut text = String::new();
    line(&mut text, COLUMNS.map(str::to_owned));
    text
}

/// Adds the row of one message.
pub(super) fn row(text: &mut String, message: &Message) {
    let (name, sender) = match &message.summary.author {
        Some(author) => (author.name.clone(), Some(author.address.clone())),
        None => (None, message.medium.sender()),
    };
    let addresses: Vec<String> =
        (0..MAX_ADDRESSES).map_while(|index| message.medium.recipient(index)).collect();
    let sent_at = message.recipients.iter().filter_map(|recipient| recipient.sent_at);
    let attachments = message.summary.attachments.iter();
    let attachments = attachments.filter_map(|a| a.filename.as_deref()).collect::<Vec<_>>();
    let references = message.references.iter().map(ToString::to_string).collect::<Vec<_>>();
    fn word(value: Option<impl ToString>) -> String {
        value.map(|value| value.to_string()).unwrap_or_default()
    }
    let known = [
        message.id.to_string(),
        message.accepted_at.to_string(),
        message.channel().as_str().to_owned(),
        message.direction.as_str().to_owned(),
        message.status().as_str().to_owned(),
        message.app.to_string(),
        word(name),
        word(sender),
        word(message.medium.sender()),
        addresses.join("; "),
        message.recipients.len().to_string(),
        sent_at.clone().count().to_string(),
        word(sent_at.max()),
        word(message.summary.subject.as_ref()),
        message.summary.preview.clone(),
        references.join("; "),
        word(message.tag.as_ref()),
        message.size_bytes.to_string(),
        word(message.medium.sms().map(|sms| sms.segments)),
        attachments.join("; "),
        word(message.summary.message_id.as_ref()),
        word(message.resend_of),
        word(message.deleted_at),
    ];
    line(text, known.into_iter().chain(afterwards(message)));
}

/// What became of it after it left: of recipients how many, of persons' first times when, and of hits all.
fn afterwards(message: &Message) -> [String; 11] {
    let of = |is: fn(&Recipient) -> bool| {
        message.recipients.iter().filter(|recipient| is(recipient)).count().to_string()
    };
    let sum = |hits: fn(&Engagement) -> u64| {
        let all = message.recipients.iter().map(|recipient| hits(&recipient.engagement));
        all.fold(0, u64::saturating_add).to_string()
    };
    let first = |at: fn(&Engagement) -> Option<Timestamp>| {
        let all = message.recipients.iter().filter_map(|recipient| at(&recipient.engagement));
        all.min().map(|at| at.to_string()).unwrap_or_default()
    };
    [
        of(|recipient| recipient.delivered_at.is_some()),
        of(|recipient| {
            matches!(recipient.state, RecipientState::Failed { cause: Cause::Bounced { .. }, .. })
        }),
        of(|recipient| recipient.engagement.read_at.is_some()),
        of(|recipient| recipient.engagement.is_opened()),
        first(|seen| seen.opened_at),
        sum(|seen| seen.opens),
        sum(|seen| seen.automated_opens),
        of(|recipient| recipient.engagement.is_clicked()),
        first(|seen| seen.clicked_at),
        sum(|seen| seen.clicks),
        sum(|seen| seen.automated_clicks),
    ]
}

fn line(text: &mut String, cells: impl IntoIterator<Item = String>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        add_cell(text, &cell);
    }
    text.push_str("\r\n");
}

fn add_cell(text: &mut String, cell: &str) {
    text.push('"');
    if is_formula(cell) {
        text.push('\'');
    }
    let mut is_new = false;
    for c in cell.chars().take(MAX_CELL_CHARS) {
        if is_new && begins_formula(c) {
            text.push('\'');
        }
        is_new = divides(c) || (is_new && is_stripped(c));
        match c {
            '"' => text.push_str("\"\""),
            '\t' | '\r' | '\n' => text.push(c),
            c if c.is_control() => text.push(char::REPLACEMENT_CHARACTER),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Whether a spreadsheet might take it for more than text.
fn is_formula(cell: &str) -> bool {
    cell.starts_with(['\t', '\r', '\n'])
        || cell.trim_start_matches(is_stripped).starts_with(begins_formula)
}

/// Where a cell ends for a spreadsheet that does not see that it stands in quotes.
fn divides(c: char) -> bool {
    matches!(c, ';' | '\t' | '\r' | '\n')
}

/// What makes a formula of a cell, with all characters that are the same in another form (NFKC).
fn begins_formula(c: char) -> bool {
    matches!(
        c,
        '=' | '+'
            | '-'
            | '@'
            | '|'
            | '%'
            | '＝'
            | '＋'
            | '－'
            | '＠'
            | '｜'
            | '％'
            | '﹢'
            | '﹣'
            | '﹦'
            | '﹫'
            | '﹪'
            | '⁺'
            | '⁻'
            | '⁼'
            | '₊'
            | '₋'
            | '₌'
            | '−'
            | '\u{2010}'..='\u{2015}' | '\u{fb29}'
    )
}

fn is_stripped(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(c, '"' | '\'' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}')
        || matches!(c, '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}')
        || matches!(c, '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cell(text: &str) -> String {
        let mut cell = String::new();
        add_cell(&mut cell, text);
        cell
    }

    #[test]
    fn formulas_become_text() {
        for formula in [
            "=cmd|' /C calc'!A0",
            "+4512345678",
            "-1",
            "@SUM(A1)",
            "\t=1",
            "\r=1",
            "\n=1",
            "\tx",
            " =1",
            "\u{a0}=1",
            "\u{feff}=1",
            "\u{200b}@x",
            "\0=1",
            "＝1",
            "＋1",
            "－1",
            "＠x",
            "\u{3000}＝1",
            "'=1",
            "\"=1",
            "|x",
            "%x",
            "\u{3164}=1",
            "\u{fe0f}=1",
            "\u{e0020}=1",
            "⁺1",
            "₌1",
            "\u{fb29}1",
            "–1",
        ] {
            assert!(cell(formula).starts_with("\"'"), "{formula:?}: {}", cell(formula));
        }
        for text in ["", "a=1", "1+1", "kim@example.org", "Invoice -5", "æ", "'a"] {
            assert!(!cell(text).starts_with("\"'") || text.starts_with('\''), "{text:?}");
        }
    }

    #[test]
    fn quotes_are_doubled_and_control_characters_replaced() {
        assert_eq!(cell("a\"b,c;d"), "\"a\"\"b,c;d\"");
        assert_eq!(cell("a\r\nb\0c\u{1b}d"), "\"a\r\nb\u{fffd}c\u{fffd}d\"");
        assert_eq!(head().matches("\",\"").count(), COLUMNS.len() - 1);
    }

    #[test]
    fn what_a_semicolon_or_a_line_break_would_cut_off_is_no_formula_either() {
        let check =
            |given: &str, expected: &str| assert_eq!(cell(given), format!("\"{expected}\""));
        check("a;b", "a;b");
        check("a,=1", "a,=1");
        check("a;=1", "a;'=1");
        check("a\n=1", "a\n'=1");
        check("a\r\n =1", "a\r\n '=1");
        check("a\t\"@x", "a\t\"\"'@x");
        check("a@b.example; -c@d.example", "a@b.example; '-c@d.example");
        let long = ";".repeat(MAX_CELL_CHARS * 2);
        assert_eq!(cell(&long).len(), MAX_CELL_CHARS + 2);
    }

    proptest! {
        #[test]
        fn no_reader_finds_a_formula(text in "[a=+@; \"'\t\r\n\u{200b}-]{0,40}") {
            let whole = format!("\"id\",{}", cell(&text));
            for part in whole.split([';', '\t', '\r', '\n']).skip(1) {
                let seen = part.trim_matches('"').trim();
                prop_assert!(!seen.trim_start_matches(['"', '\u{200b}']).starts_with(['=', '+', '@', '-']), "{whole:?}");
            }
        }

        #[test]
        fn any_cell_stays_one_cell(text in ".{0,40}") {
            let cell = cell(&text);
            let inside = cell.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
            prop_assert!(!inside.replace("\"\"", "").contains('"'));
            prop_assert!(!is_formula(inside) || inside.starts_with('\''));
        }
    }
}
