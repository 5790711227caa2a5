//! Plays a dialog with the pure session; every wish is granted at once.

use std::sync::Arc;
use std::time::Duration;

use waybill::model::{EnhancedCode, Envelope, Reply, Timestamp};
use waybill::policy::Apps;
use waybill::smtp::{AuthVerdict, Client, Input, Output, Session, SessionSettings, TlsOffer, Wish};

use super::script::{Script, Step, Tls, matches};
use super::{app, describe};

/// How the client's octets are cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Split {
    Whole,
    Octets,
}

/// What reached the door.
struct Delivered {
    envelope: Envelope,
    protocol: &'static str,
    content: Vec<u8>,
}

struct Player<'a> {
    script: &'a Script,
    session: Session,
    out: Output,
    delivered: Vec<Delivered>,
    handshake_due: bool,
    closed: bool,
}

pub fn play(script: &Script, split: Split) {
    let setup = &script.setup;
    let settings = SessionSettings {
        hostname: "gateway.example".into(),
        greeting: "ESMTP Waybill".into(),
        max_message_size_bytes: setup.max_size,
        max_recipients: setup.max_recipients,
        max_errors: setup.max_errors,
        max_hold: Duration::from_secs(365 * 86_400),
        bare_newline: setup.newlines,
        tls: if setup.tls == Tls::AfterCommand { TlsOffer::StartTls } else { TlsOffer::None },
        auth: setup.auth,
        auth_in_clear: setup.clear,
    };
    let client = Client { known: setup.known, encrypted: setup.tls == Tls::Implicit };
    let mut player = Player {
        script,
        session: Session::new(Arc::new(settings), client),
        out: Output::default(),
        delivered: Vec::new(),
        handshake_due: false,
        closed: false,
    };
    player.give(Input::Connected);
    for (number, step) in &script.steps {
        let place = format!("{}:{number} ({split:?})", script.name);
        player.step(&place, step, split);
    }
    assert_eq!(player.rest(), "", "{} ({split:?}): more was said", script.name);
}

impl Player<'_> {
    fn step(&mut self, place: &str, step: &Step, split: Split) {
        match step {
            Step::Send(octets) if split == Split::Whole => self.give(Input::Received(octets)),
            Step::Send(octets) => octets.chunks(1).for_each(|o| self.give(Input::Received(o))),
            Step::Expect(pattern) => {
                let line = self.next_line();
                assert!(matches(pattern, &line), "{place}: {line:?}, and not {pattern:?}");
            }
            Step::ExpectAll(code) => loop {
                let line = self.next_line();
                assert!(line.starts_with(code.as_str()), "{place}: {line:?}, and not {code}");
                if line.as_bytes().get(3) == Some(&b' ') {
                    break;
                }
            },
            Step::Handshake => {
                assert!(std::mem::take(&mut self.handshake_due), "{place}: no handshake is due");
                self.give(Input::TlsEstablished);
            }
            Step::Closed => assert!(self.closed && self.rest().is_empty(), "{place}: not closed"),
            Step::Envelope(expected) => {
                assert_eq!(describe(&self.delivered[0].envelope), *expected, "{place}");
            }
            Step::Protocol(expected) => {
                assert_eq!(self.delivered[0].protocol, *expected, "{place}")
            }
            Step::Message(expected) => {
                let content = self.delivered.remove(0).content;
                assert_eq!(
                    content.escape_ascii().to_string(),
                    expected.escape_ascii().to_string(),
                    "{place}"
                );
            }
        }
    }

    fn give(&mut self, input: Input<'_>) {
        let now = Timestamp::parse_rfc3339("2026-11-22T00:00:00Z").unwrap();
        self.session.handle(now, input, &mut self.out);
        while let Some(wish) = self.out.wish.take() {
            let Some(verdict) = self.grant(wish) else { continue };
            self.session.handle(now, verdict, &mut self.out);
        }
    }

    fn grant(&mut self, wish: Wish) -> Option<Input<'static>> {
        let apps = Apps(vec![Arc::new(app(self.script))]);
        Some(match wish {
            Wish::Authenticate { username, password } => {
                let found = apps.by_credential(&username, password.expose().as_bytes());
                Input::Authenticated(match found {
                    Some(_) => AuthVerdict::Accepted,
                    None => AuthVerdict::Refused,
                })
            }
            Wish::CheckSender(path) => {
                let refusal = Reply::new(550, EnhancedCode::parse("5.7.1"), "Not as this address");
                Input::SenderJudged(apps.0[0].may_send_as(&path).then_some(()).ok_or(refusal))
            }
            Wish::CheckRecipient(_) => Input::RecipientJudged(Ok(())),
            Wish::Submit(transaction) => {
                self.delivered.push(Delivered {
                    envelope: transaction.envelope,
                    protocol: transaction.protocol,
                    content: std::mem::take(&mut self.out.body),
                });
                let (code, enhanced, text) = &self.script.setup.door;
                Input::MessageJudged(Reply::new(*code, EnhancedCode::parse(enhanced), text))
            }
            Wish::StartTls => {
                self.handshake_due = true;
                return None;
            }
            Wish::Close => {
                self.closed = true;
                return None;
            }
        })
    }

    fn next_line(&mut self) -> String {
        let Some(end) = self.out.reply.windows(2).position(|two| two == b"\r\n") else {
            return "(nothing)".into();
        };
        let line = self.out.reply.drain(..end + 2).take(end).collect();
        String::from_utf8(line).unwrap()
    }

    fn rest(&self) -> String {
        String::from_utf8(self.out.reply.clone()).unwrap()
    }
}
