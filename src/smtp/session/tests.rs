//! The session with a driver that answers every wish at once. What single commands lead to is in
//! `tests/dialogs`; here are the promises that hold for any stream.

use super::*;
use crate::model::{EnhancedCode, ForwardPath, ReversePath};
use proptest::prelude::*;

fn settings() -> SessionSettings {
    SessionSettings {
        hostname: "gateway.example".into(),
        greeting: "ESMTP ready".into(),
        max_message_size_bytes: 1_000,
        max_recipients: 3,
        max_errors: 20,
        max_hold: Duration::from_secs(86_400),
        bare_newline: BareNewline::Refuse,
        tls: TlsOffer::StartTls,
        auth: AuthOffer::Optional,
        auth_in_clear: true,
    }
}

/// What a whole stream led to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    replies: String,
    messages: Vec<(Transaction, Vec<u8>)>,
    body: Vec<u8>,
    closed: bool,
}

struct Driver {
    session: Session,
    out: Output,
    outcome: Outcome,
}

impl Driver {
    fn new(settings: SessionSettings) -> Driver {
        let client = Client { known: true, encrypted: false };
        let session = Session::new(Arc::new(settings), client);
        let mut driver = Driver { session, out: Output::default(), outcome: Outcome::default() };
        driver.give(Input::Connected);
        driver
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(Timestamp::EPOCH, input, &mut self.out);
        while let Some(wish) = self.out.wish.take() {
            if matches!(wish, Wish::Close) {
                self.outcome.closed = true;
                continue;
            }
            let answer = self.answer(wish);
            self.session.handle(Timestamp::EPOCH, answer, &mut self.out);
        }
    }

    fn answer(&mut self, wish: Wish) -> Input<'static> {
        let no = |code| Err(Reply::new(code, EnhancedCode::parse("5.7.1"), "No"));
        match wish {
            Wish::Authenticate { password, .. } => match password.expose() {
                "right" => Input::Authenticated(AuthVerdict::Accepted),
                _ => Input::Authenticated(AuthVerdict::Refused),
            },
            Wish::CheckSender(path) => match path == ReversePath::parse("bad@a").unwrap() {
                true => Input::SenderJudged(no(550)),
                false => Input::SenderJudged(Ok(())),
            },
            Wish::CheckRecipient(path) => match path == ForwardPath::parse("bad@a").unwrap() {
                true => Input::RecipientJudged(no(550)),
                false => Input::RecipientJudged(Ok(())),
            },
            Wish::Submit(transaction) => {
                self.outcome.messages.push((transaction, std::mem::take(&mut self.out.body)));
                Input::MessageJudged(reply(250, (2, 0, 0), "Ok: queued as X"))
            }
            Wish::StartTls => Input::TlsEstablished,
            Wish::Close => unreachable!(),
        }
    }

    fn finish(mut self) -> Outcome {
        self.outcome.replies = String::from_utf8(std::mem::take(&mut self.out.reply)).unwrap();
        self.outcome.body = self.out.body;
        self.outcome
    }
}

fn run(settings: SessionSettings, chunks: &[&[u8]]) -> Outcome {
    let mut driver = Driver::new(settings);
    for chunk in chunks {
        driver.give(Input::Received(chunk));
    }
    driver.finish()
}

const STREAM: &[u8] = b"EHLO a\r\nMAIL FROM:<a@b> SIZE=10\r\nRCPT TO:<c@d>\r\nRCPT TO:<bad@a>\r\n\
    DATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nNOOP\nRSET\r\nMAIL FROM:<bad@a>\r\nMAIL FROM:<>\r\n\
    RCPT TO:<c@d> NOTIFY=NEVER\r\nBDAT 5\r\na\r\n.\rBDAT 6 LAST\r\n\nb\r\n.\nDATA\r\n\
    AUTH LOGIN\r\na2lt\r\ncmlnaHQ=\r\nBDAT 3\r\nabcMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n\
    a\nb\r\n.\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@y>\r\nBDAT 4 LAST\r\nab\r\nQUIT\r\nNOOP\r\n";

#[test]
fn the_sample_stream_is_executed_in_order() {
    let outcome = run(settings(), &[STREAM]);
    let codes: Vec<&str> = outcome.replies.lines().map(|line| &line[..3]).collect();
    let expected = "220 250 250 250 250 250 250 250 250 250 250 250 250 250 550 354 250 500 500 550 \
        250 250 250 550 503 334 334 235 503 250 250 354 421";
    assert_eq!(codes.join(" "), expected, "{}", outcome.replies);
    assert_eq!(outcome.messages.len(), 1);
    assert_eq!(outcome.messages[0].1, b"Subject: x\r\n\r\n.dot\r\n");
    assert!(outcome.closed);
}

#[test]
fn every_split_point_gives_the_same() {
    for policy in [BareNewline::Refuse, BareNewline::Fix] {
        let settings = || SessionSettings { bare_newline: policy, ..settings() };
        let whole = run(settings(), &[STREAM]);
        for split in 0..STREAM.len() {
            let (head, tail) = STREAM.split_at(split);
            assert_eq!(run(settings(), &[head, tail]), whole, "at {split}");
        }
        let octets: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(run(settings(), &octets), whole);
    }
}

#[test]
fn what_came_in_clear_does_not_survive_tls() {
    let injected = run(settings(), &[b"EHLO a\r\nSTARTTLS\r\nRSET\r\n"]);
    assert!(injected.replies.ends_with("554 5.5.1 Data behind STARTTLS\r\n"));
    assert!(injected.closed);

    let stream: [&[u8]; 3] = [
        b"EHLO a\r\nMAIL FROM:<a@b>\r\n",
        b"STARTTLS\r\n",
        b"RCPT TO:<c@d>\r\nMAIL FROM:<a@b>\r\n",
    ];
    let after = run(settings(), &stream).replies;
    assert!(after.contains("220 2.0.0 Ready"), "{after}");
    assert_eq!(after.matches("503 5.5.1").count(), 2, "{after}");
}

#[test]
fn a_shutdown_lets_a_message_end() {
    let mut idle = Driver::new(settings());
    idle.give(Input::Received(b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"));
    idle.give(Input::ShuttingDown);
    assert!(idle.outcome.closed);

    for begin in ["DATA\r\nx", "BDAT 1\r\nx", "BDAT 3\r\nx"] {
        let mut busy = Driver::new(settings());
        busy.give(Input::Received(b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"));
        busy.give(Input::Received(begin.as_bytes()));
        busy.give(Input::ShuttingDown);
        assert!(!busy.outcome.closed, "{begin}");
    }
    let mut busy = Driver::new(settings());
    busy.give(Input::Received(b"EHLO a\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nx"));
    busy.give(Input::ShuttingDown);
    busy.give(Input::Received(b"\r\n.\r\nNOOP\r\n"));
    let outcome = busy.finish();
    assert!(
        outcome
            .replies
            .ends_with("Ok: queued as X\r\n421 4.3.2 gateway.example: Service shutting down\r\n")
    );
    assert_eq!(outcome.messages.len(), 1);
}

#[test]
fn nothing_follows_a_close() {
    let mut driver = Driver::new(settings());
    driver.give(Input::TimedOut);
    let said = driver.out.reply.clone();
    driver.give(Input::TimedOut);
    driver.give(Input::ShuttingDown);
    driver.give(Input::Received(b"NOOP\r\n"));
    assert_eq!(driver.out.reply, said);
    assert_eq!(driver.session.phase(), Phase::Closed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_split_of_any_stream_gives_the_same(
        pieces in prop::collection::vec(prop::sample::select(PIECES), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        fix in any::<bool>(),
    ) {
        let bare_newline = if fix { BareNewline::Fix } else { BareNewline::Refuse };
        let settings = || SessionSettings { bare_newline, ..settings() };
        let stream = pieces.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
        let whole = run(settings(), &[&stream]);
        prop_assert_eq!(run(settings(), &chunks), whole);
    }

    #[test]
    fn replies_are_well_formed_whatever_comes(stream in prop::collection::vec(any::<u8>(), 0..400)) {
        let outcome = run(settings(), &[b"EHLO a\r\n", &stream]);
        for line in outcome.replies.split_inclusive("\r\n") {
            let code = line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
            prop_assert!(code && line.len() <= 512 && line.ends_with("\r\n"), "{:?}", line);
        }
    }
}

const PIECES: &[&[u8]] = &[
    b"EHLO a\r\n",
    b"HELO a\r\n",
    b"MAIL FROM:<a@b>\r\n",
    b"MAIL FROM:<bad@a>\r\n",
    b"RCPT TO:<c@d>\r\n",
    b"RCPT TO:<bad@a>\r\n",
    b"DATA\r\n",
    b"BDAT 3\r\n",
    b"BDAT 4 LAST\r\n",
    b"BDAT 0 LAST\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"AUTH PLAIN\r\n",
    b"AGEAcmlnaHQ=\r\n",
    b"*\r\n",
    b"AUTH LOGIN a2lt\r\n",
    b"\r\n.\r\n",
    b".\r\n",
    b".",
    b"..",
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"abc",
    b"x\r\ny\r\n",
];
