//! A whole session: any octets, cut anywhere.
//!
//! Oracle: the cuts make no difference; every reply is a line of at most 512 octets of ASCII that
//! begins with its code; a message reaches the door only with a recipient and without a CR or LF
//! alone; who is not known and did not authenticate brings none; nothing follows a close.
#![no_main]

use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use waybill::model::{EnhancedCode, Reply, Timestamp};
use waybill::smtp::{
    AuthOffer, AuthVerdict, BareNewline, Client, Input, Output, Session, SessionSettings, TlsOffer,
    Transaction, Wish,
};

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    replies: Vec<u8>,
    messages: Vec<(Transaction, Vec<u8>)>,
    authenticated: bool,
    closed: bool,
}

fuzz_target!(|input: (bool, bool, Vec<u8>, Vec<u8>)| {
    let (fix, known, cuts, octets) = input;
    let whole = play(fix, known, &[&octets]);
    assert_eq!(play(fix, known, &pieces(&octets, &cuts)), whole, "the cuts make a difference");
    well_formed(&whole.replies);
    for (transaction, content) in &whole.messages {
        assert!(known || whole.authenticated, "an open relay");
        assert!(!transaction.envelope.recipients.is_empty());
        without_bare_newline(content);
    }
});

fn pieces<'a>(octets: &'a [u8], cuts: &[u8]) -> Vec<&'a [u8]> {
    let mut rest = octets;
    let mut found = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at(rest.len().min(usize::from(*cut)));
        found.push(piece);
        rest = after;
    }
    found.push(rest);
    found
}

fn play(fix: bool, known: bool, pieces: &[&[u8]]) -> Outcome {
    let settings = SessionSettings {
        hostname: "gateway.example".into(),
        greeting: "ESMTP".into(),
        max_message_size_bytes: 4_096,
        max_recipients: 4,
        max_errors: 10,
        max_hold: Duration::from_secs(86_400),
        bare_newline: if fix { BareNewline::Fix } else { BareNewline::Refuse },
        // What stands behind STARTTLS is judged by whether it came with it, so cuts would matter.
        tls: TlsOffer::None,
        auth: AuthOffer::Optional,
        auth_in_clear: true,
    };
    let mut session = Session::new(Arc::new(settings), Client { known, encrypted: false });
    let (mut out, mut outcome) = (Output::default(), Outcome::default());
    give(&mut session, Input::Connected, &mut out, &mut outcome);
    for piece in pieces {
        give(&mut session, Input::Received(piece), &mut out, &mut outcome);
    }
    outcome.replies = out.reply;
    outcome
}

fn give(session: &mut Session, input: Input<'_>, out: &mut Output, outcome: &mut Outcome) {
    assert!(out.wish.is_none());
    let said = out.reply.len();
    session.handle(Timestamp::EPOCH, input, out);
    assert!(!outcome.closed || out.reply.len() == said, "something follows a close");
    while let Some(wish) = out.wish.take() {
        let verdict = match wish {
            Wish::Authenticate { password, .. } => {
                let right = password.expose().len() % 2 == 0;
                outcome.authenticated |= right;
                Input::Authenticated(match right {
                    true => AuthVerdict::Accepted,
                    false => AuthVerdict::Refused,
                })
            }
            Wish::CheckSender(_) => Input::SenderJudged(Ok(())),
            Wish::CheckRecipient(_) => Input::RecipientJudged(Ok(())),
            Wish::Submit(transaction) => {
                outcome.messages.push((transaction, std::mem::take(&mut out.body)));
                let enhanced = Some(EnhancedCode(2, 0, 0));
                Input::MessageJudged(Reply::new(250, enhanced, "Ok: queued as ID"))
            }
            Wish::StartTls => panic!("TLS was not offered"),
            Wish::Close => {
                outcome.closed = true;
                continue;
            }
        };
        session.handle(Timestamp::EPOCH, verdict, out);
    }
}

fn well_formed(replies: &[u8]) {
    for line in replies.split_inclusive(|byte| *byte == b'\n') {
        assert!(line.len() <= 512 && line.ends_with(b"\r\n"), "{line:?}");
        let (code, text) = line[..line.len() - 2].split_at(3);
        assert!(code.iter().all(u8::is_ascii_digit), "{line:?}");
        assert!(text.is_empty() || matches!(text[0], b' ' | b'-'), "{line:?}");
        assert!(text.iter().all(|byte| (b' '..=b'~').contains(byte)), "{line:?}");
    }
}

fn without_bare_newline(content: &[u8]) {
    for (index, byte) in content.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(content.get(index + 1), Some(&b'\n'), "a CR alone"),
            b'\n' => assert!(index > 0 && content[index - 1] == b'\r', "an LF alone"),
            _ => {}
        }
    }
}
