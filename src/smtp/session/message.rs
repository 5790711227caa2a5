//! DATA and BDAT (RFC 5321 §4.1.1.4, RFC 3030 §2): the message itself.
//!
//! The octets of a message are always taken to their end, wanted or not, so that none of them is
//! ever read as a command. The reply comes after that end, and only once.

use super::state::{Chunk, Draft, Incoming, State};
use super::transaction::{too_big, unasked};
use super::{Output, Refusal, Session, Transaction, Wish};
use crate::model::Reply;
use crate::smtp::content::{Content, Fault};
use crate::smtp::dots::{DataDecoder, Decoded};
use crate::smtp::wire::reply;

/// Messages with a bare CR or LF that one session may try: a client that does it again either can
/// not help it or means it.
const MAX_BARE_NEWLINE_MESSAGES: usize = 2;

impl Session {
    pub(super) fn data(&mut self, state: State, out: &mut Output) -> State {
        match state {
            State::Transaction(draft) if draft.recipients.is_empty() => {
                let refusal = reply(554, (5, 5, 1), "No valid recipients");
                self.refuse(State::Transaction(draft), "DATA", refusal, out)
            }
            State::Transaction(draft) => {
                out.discard();
                out.say(&Reply::new(354, None, "End data with <CR><LF>.<CR><LF>"));
                let settings = &self.settings;
                let decoder =
                    DataDecoder::new(settings.bare_newline, settings.max_message_size_bytes);
                State::Data(Box::new(draft), Box::new(decoder))
            }
            // RFC 3030 §3: DATA and BDAT do not mix.
            State::BetweenChunks(_) => {
                self.refuse(state, "DATA", reply(503, (5, 5, 1), "The message comes by BDAT"), out)
            }
            state => self.refuse(state, "DATA", no_transaction(), out),
        }
    }

    /// Takes octets of DATA; gives how many.
    pub(super) fn data_octets(
        &mut self,
        draft: Box<Draft>,
        mut decoder: Box<DataDecoder>,
        octets: &[u8],
        out: &mut Output,
    ) -> usize {
        let decoded = decoder.decode(octets, &mut out.body);
        if decoder.fault().is_some() {
            out.discard();
        }
        match decoded {
            Decoded::More => {
                self.state = State::Data(draft, decoder);
                octets.len()
            }
            Decoded::End { taken } => {
                let (fault, fixed) = (decoder.fault(), decoder.newlines_fixed());
                self.state = self.end_of_message(*draft, fault, fixed, out);
                taken
            }
        }
    }

    pub(super) fn bdat(
        &mut self,
        state: State,
        size_bytes: u64,
        last: bool,
        out: &mut Output,
    ) -> State {
        let message = match state {
            State::Transaction(draft) if draft.recipients.is_empty() => {
                return self.refuse_chunk(
                    size_bytes,
                    reply(554, (5, 5, 1), "No valid recipients"),
                    out,
                );
            }
            State::Transaction(draft) => {
                out.discard();
                let settings = &self.settings;
                let max_bytes = settings.max_message_size_bytes;
                Incoming { draft, content: Content::new(settings.bare_newline, max_bytes, false) }
            }
            State::BetweenChunks(message) => *message,
            _ => return self.refuse_chunk(size_bytes, no_transaction(), out),
        };
        self.chunk(Chunk { message, size_bytes, remaining: size_bytes, last }, out)
    }

    /// Nobody can count that far, so what comes next can not be told from commands.
    pub(super) fn bdat_beyond_measure(&mut self, out: &mut Output) -> State {
        out.say(&too_big());
        self.close(out, (4, 5, 2), "The chunk is too big to be skipped")
    }

    /// RFC 3030 §2: the octets of a refused chunk are on their way all the same. The transaction is
    /// over, so that the chunks behind it are refused as well.
    fn refuse_chunk(&mut self, size_bytes: u64, reply: Reply, out: &mut Output) -> State {
        out.discard();
        match size_bytes {
            0 => self.refuse(State::Command, "BDAT", reply, out),
            remaining => State::RefusedChunk { remaining, reply },
        }
    }

    /// Takes octets of a refused chunk; gives how many.
    pub(super) fn refused_octets(
        &mut self,
        remaining: u64,
        reply: Reply,
        octets: &[u8],
        out: &mut Output,
    ) -> usize {
        let (taken, remaining) = split(octets, remaining);
        self.state = match remaining {
            0 => self.refuse(State::Command, "BDAT", reply, out),
            remaining => State::RefusedChunk { remaining, reply },
        };
        taken
    }

    /// Takes octets of a chunk; gives how many.
    pub(super) fn chunk_octets(
        &mut self,
        mut chunk: Box<Chunk>,
        octets: &[u8],
        out: &mut Output,
    ) -> usize {
        let (taken, remaining) = split(octets, chunk.remaining);
        chunk.message.content.push(&octets[..taken], &mut out.body);
        chunk.remaining = remaining;
        if chunk.message.content.fault().is_some() {
            out.discard();
        }
        self.state = self.chunk(*chunk, out);
        taken
    }

    /// Whether the chunk is complete, and what follows from it.
    fn chunk(&mut self, mut chunk: Chunk, out: &mut Output) -> State {
        if chunk.remaining > 0 {
            return State::Chunk(Box::new(chunk));
        }
        if chunk.last {
            chunk.message.content.finish(&mut out.body);
        }
        let Incoming { draft, content } = chunk.message;
        if chunk.last || content.fault().is_some() {
            return self.end_of_message(draft, content.fault(), content.newlines_fixed(), out);
        }
        let text = format!("{} octets received", chunk.size_bytes);
        let next = State::BetweenChunks(Box::new(Incoming { draft, content }));
        self.answer(next, 250, (2, 0, 0), &text, out)
    }

    /// The message has ended: it is refused, or somebody is asked to make it durable.
    fn end_of_message(
        &mut self,
        draft: Draft,
        fault: Option<Fault>,
        newlines_fixed: bool,
        out: &mut Output,
    ) -> State {
        let Some(fault) = fault else {
            let protocol = self.protocol(draft.mail.parameters.smtputf8);
            let (envelope, helo) = (draft.into_envelope(), self.helo_name().to_owned());
            let transaction = Transaction { envelope, helo, protocol, newlines_fixed };
            out.wish = Some(Wish::Submit(transaction));
            return State::MessageVerdict;
        };
        out.discard();
        let refusal = match fault {
            Fault::TooBig => too_big(),
            Fault::LineTooLong => reply(550, (5, 6, 0), "A line of the message is too long"),
            Fault::BareNewline => {
                self.bare_newlines += 1;
                if self.bare_newlines >= MAX_BARE_NEWLINE_MESSAGES {
                    return self.close(out, (4, 6, 0), "Bare CR or LF in a message again");
                }
                reply(550, (5, 6, 0), "A line of the message does not end in CRLF")
            }
        };
        self.refuse(State::Command, "message", refusal, out)
    }

    pub(super) fn message_judged(&mut self, reply: &Reply, out: &mut Output) {
        if !matches!(self.state, State::MessageVerdict) {
            self.state = unasked(std::mem::replace(&mut self.state, State::Closed));
            return;
        }
        out.discard();
        out.say(reply);
        self.state = State::Command;
        match reply.class() {
            2 => self.errors = 0,
            _ => out.refusals.push(Refusal { command: "message", reply: reply.clone() }),
        }
        // The door's own good-bye: nothing more can be stored.
        if reply.code == 421 {
            out.wish = Some(Wish::Close);
            self.state = State::Closed;
        }
    }
}

fn no_transaction() -> Reply {
    reply(503, (5, 5, 1), "There is no transaction: MAIL and RCPT come first")
}

/// How many of the octets belong to a chunk, and how many of the chunk are still to come.
fn split(octets: &[u8], remaining: u64) -> (usize, u64) {
    let taken = usize::try_from(remaining).map_or(octets.len(), |most| most.min(octets.len()));
    (taken, remaining - taken as u64)
}
