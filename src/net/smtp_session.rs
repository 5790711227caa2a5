//! Drives one SMTP server session over one connection.
//!
//! Reads octets and gives them to the session, asks the room for the verdicts that the session wishes,
//! and writes its replies; each wait has a deadline (`smtp_patience`). Replies to pipelined commands leave
//! in one write, because nothing is written while there is something to execute. The octets of a message
//! are kept by `spool` until it is complete. What is said is decided in `smtp`; who may say it, and what
//! becomes of a message, by the room: it implements [`SmtpService`].

use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use super::smtp_patience::Patience;
use super::spool::{Spool, SpoolError, SpoolSpace, Whole};
use super::stop::Stop;
use super::tls::{HandshakeError, Tls, describe_tls};
use crate::model::{ForwardPath, Reply, ReversePath, Secret, Timestamp};
use crate::smtp::{AuthVerdict, Client, Input, Output, Phase, Refusal, Session, SessionSettings};
use crate::smtp::{Transaction, Wish};

/// A client that does not take its replies is gone or hostile.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// How long the last reply may take to be read after this side has said good-bye.
const LINGER: Duration = Duration::from_secs(2);
/// What is read at once: commands are short, messages are not.
const COMMAND_READ_BYTES: usize = 4 << 10;
const MESSAGE_READ_BYTES: usize = 64 << 10;

/// What the sessions of one listener have in common.
pub(crate) struct SmtpTerms {
    pub(crate) session: Arc<SessionSettings>,
    pub(crate) tls: Option<Arc<Tls>>,
    /// TLS comes before the greeting.
    pub(crate) implicit_tls: bool,
    /// How long nothing at all may come.
    pub(crate) idle: Duration,
    /// How long a session may last, whatever comes; `None` is as long as it goes on.
    pub(crate) longest: Option<Duration>,
    pub(crate) spool: SpoolSpace,
}

/// What a session needs of its room; there is one for each connection.
pub(crate) trait SmtpService: Send {
    /// The clock of the room.
    fn now(&self) -> Timestamp;

    /// Whether the client's address alone says who it is; asked before the greeting.
    fn knows_client(&self) -> bool;

    /// TLS is there. What AUTH said before it is to be forgotten (RFC 3207 §4.2).
    fn encrypted(&mut self, tls: String);

    /// Something was refused, for the log.
    fn refused(&self, refusal: &Refusal);

    /// May the client send as this?
    fn check_sender(&self, path: &ReversePath) -> Result<(), Reply>;

    /// May the client send to this?
    fn check_recipient(&self, path: &ForwardPath) -> Result<(), Reply>;

    /// Are these credentials right? Only a listener that offers AUTH is asked.
    fn authenticate(
        &mut self,
        username: String,
        password: Secret,
    ) -> impl Future<Output = AuthVerdict> + Send;

    /// So many octets of a message are kept now. `false` says that it is too much: then none of them are,
    /// and the message has no [`Whole`].
    fn keeps(&mut self, bytes: u64) -> bool;

    /// A message is complete. A 2yz reply says that it is durable.
    fn submit(
        &mut self,
        transaction: Transaction,
        body: Body<'_>,
    ) -> impl Future<Output = Reply> + Send;
}

/// The octets of a complete message, where they were kept.
pub(crate) struct Body<'s> {
    spool: &'s mut Spool,
    tail: Vec<u8>,
}

impl Body<'_> {
    /// All of them, in memory.
    pub(crate) async fn complete(self) -> Result<Whole, SpoolError> {
        self.spool.complete(self.tail).await
    }
}

/// Why a session ended without a good-bye.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionLost {
    #[error(transparent)]
    Connection(#[from] io::Error),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl SmtpTerms {
    /// Serves one connection to its end.
    pub(crate) async fn serve(
        &self,
        stop: Stop,
        mut stream: TcpStream,
        service: impl SmtpService,
    ) -> Result<(), SessionLost> {
        let mut driver = Driver::new(self, stop, service);
        if !self.implicit_tls {
            driver.give(Input::Connected);
            match driver.converse(&mut stream).await? {
                Ending::StartTls => {}
                Ending::Over => return Ok(()),
            }
        }
        let Some(tls) = &self.tls else { return Ok(()) };
        let mut stream = tls.accept(stream).await?;
        driver.encrypted(describe_tls(stream.get_ref().1));
        driver.converse(&mut stream).await?;
        Ok(())
    }

    /// One connection too many: it is told so if that takes no waiting, and closed. What waits for TLS
    /// would not understand it.
    pub(crate) fn turn_away(&self, stream: TcpStream) {
        if self.implicit_tls {
            return;
        }
        if let Ok(mut stream) = stream.into_std() {
            // The socket does not block, and its buffer is empty: this is written now or not at all.
            let line = format!("421 4.7.0 {}: Too many connections\r\n", self.session.hostname);
            let _ = stream.write_all(line.as_bytes());
        }
    }
}

/// How a conversation came to its end.
enum Ending {
    /// The session is over, or the client is gone.
    Over,
    /// The client waits for the handshake.
    StartTls,
}

/// One session and what belongs to it.
struct Driver<'t, S> {
    terms: &'t SmtpTerms,
    stop: Stop,
    service: S,
    session: Session,
    out: Output,
    spool: Spool,
    /// What the service was told last.
    kept_bytes: u64,
    ends_at: Option<Instant>,
    told_to_stop: bool,
}

impl<'t, S: SmtpService> Driver<'t, S> {
    fn new(terms: &'t SmtpTerms, stop: Stop, service: S) -> Driver<'t, S> {
        let client = Client { known: service.knows_client(), encrypted: terms.implicit_tls };
        Driver {
            session: Session::new(Arc::clone(&terms.session), client),
            spool: Spool::new(terms.spool.clone()),
            out: Output::default(),
            kept_bytes: 0,
            ends_at: terms.longest.map(|longest| Instant::now() + longest),
            told_to_stop: false,
            terms,
            stop,
            service,
        }
    }

    fn encrypted(&mut self, tls: String) {
        self.service.encrypted(tls);
        let is_first = self.terms.implicit_tls;
        self.give(if is_first { Input::Connected } else { Input::TlsEstablished });
    }

    fn give(&mut self, input: Input<'_>) {
        self.session.handle(self.service.now(), input, &mut self.out);
        if std::mem::take(&mut self.out.discarded) {
            self.spool.clear();
        }
        for refusal in self.out.refusals.drain(..) {
            self.service.refused(&refusal);
        }
    }

    /// Goes on until the session ends or wants TLS.
    async fn converse<C>(&mut self, stream: &mut C) -> io::Result<Ending>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let mut patience = Patience::new(self.terms.idle);
        let mut buffer = Vec::new();
        loop {
            while let Some(wish) = self.out.wish.take() {
                match wish {
                    Wish::Close => return self.hang_up(stream).await,
                    Wish::StartTls => {
                        self.flush(stream).await?;
                        return Ok(Ending::StartTls);
                    }
                    wish => self.grant(wish, stream).await?,
                }
            }
            self.weigh();
            self.spool.relieve(&mut self.out.body).await;
            let progress = !self.out.reply.is_empty();
            self.flush(stream).await?;
            patience.observe(self.session.phase(), progress);
            if self.receive(stream, &mut buffer, &mut patience).await? == Some(0) {
                return Ok(Ending::Over);
            }
        }
    }

    /// Tells the service what is kept, where that has changed.
    fn weigh(&mut self) {
        let kept_bytes = self.spool.kept_bytes(&self.out.body);
        if kept_bytes == self.kept_bytes {
            return;
        }
        self.kept_bytes = kept_bytes;
        if !self.service.keeps(kept_bytes) {
            self.spool.refuse(&mut self.out.body);
            self.kept_bytes = 0;
        }
    }

    /// Waits for octets, the deadline or the end of the service. Gives how many octets came.
    async fn receive<C>(
        &mut self,
        stream: &mut C,
        buffer: &mut Vec<u8>,
        patience: &mut Patience,
    ) -> io::Result<Option<usize>>
    where
        C: AsyncRead + Unpin,
    {
        let size = match self.session.phase() {
            Phase::Message => MESSAGE_READ_BYTES,
            Phase::Idle | Phase::Line | Phase::Verdict | Phase::Closed => COMMAND_READ_BYTES,
        };
        if buffer.len() != size {
            *buffer = vec![0; size];
        }
        let deadline = patience.deadline();
        let deadline = self.ends_at.map_or(deadline, |end| end.min(deadline));
        let stop = self.stop.clone();
        tokio::select! {
            read = timeout_at(deadline, stream.read(buffer)) => match read {
                Ok(read) => {
                    let count = read?;
                    patience.received(count);
                    self.give(Input::Received(&buffer[..count]));
                    Ok(Some(count))
                }
                Err(_) => {
                    self.give(Input::TimedOut);
                    Ok(None)
                }
            },
            () = stop.requested(), if !self.told_to_stop => {
                self.told_to_stop = true;
                self.give(Input::ShuttingDown);
                Ok(None)
            }
        }
    }

    /// Gets the verdict that the session wishes and gives it to it.
    async fn grant<C>(&mut self, wish: Wish, stream: &mut C) -> io::Result<()>
    where
        C: AsyncWrite + Unpin,
    {
        match wish {
            Wish::CheckSender(path) => {
                let verdict = self.service.check_sender(&path);
                self.give(Input::SenderJudged(verdict));
            }
            Wish::CheckRecipient(path) => {
                let verdict = self.service.check_recipient(&path);
                self.give(Input::RecipientJudged(verdict));
            }
            Wish::Authenticate { username, password } => {
                self.flush(stream).await?;
                let verdict = self.service.authenticate(username, password).await;
                self.give(Input::Authenticated(verdict));
            }
            Wish::Submit(transaction) => {
                self.flush(stream).await?;
                let tail = std::mem::take(&mut self.out.body);
                let body = Body { spool: &mut self.spool, tail };
                let reply = self.service.submit(transaction, body).await;
                self.give(Input::MessageJudged(reply));
            }
            Wish::StartTls | Wish::Close => {}
        }
        Ok(())
    }

    async fn flush<C: AsyncWrite + Unpin>(&mut self, stream: &mut C) -> io::Result<()> {
        if self.out.reply.is_empty() {
            return Ok(());
        }
        let written = async {
            stream.write_all(&self.out.reply).await?;
            stream.flush().await
        };
        let result = timeout(WRITE_DEADLINE, written).await;
        // A new buffer: many pipelined commands may have made this one large.
        self.out.reply = Vec::new();
        result.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    /// Writes what is left and closes. What the client still sends is read for a moment: a socket
    /// that is closed with unread octets resets the connection, and the last reply would be lost.
    async fn hang_up<C>(&mut self, stream: &mut C) -> io::Result<Ending>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        self.flush(stream).await?;
        let lingering = async {
            stream.shutdown().await?;
            let mut octets = [0; COMMAND_READ_BYTES];
            while stream.read(&mut octets).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the client heard it is its own affair.
        let _ = timeout(LINGER, lingering).await;
        Ok(Ending::Over)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, BufReader, DuplexStream, duplex};

    use super::*;
    use crate::model::EnhancedCode;
    use crate::smtp::{AuthOffer, BareNewline, TlsOffer};

    const MINUTE: Duration = Duration::from_secs(60);

    /// Takes everything, but keeps no more than so much.
    struct Narrow(u64);

    fn reply(code: u16, enhanced: (u8, u16, u16), text: &str) -> Reply {
        Reply::new(code, Some(EnhancedCode(enhanced.0, enhanced.1, enhanced.2)), text)
    }

    impl SmtpService for Narrow {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(1_700_000_000_000)
        }

        fn knows_client(&self) -> bool {
            true
        }

        fn encrypted(&mut self, _: String) {}

        fn refused(&self, _: &Refusal) {}

        fn check_sender(&self, _: &ReversePath) -> Result<(), Reply> {
            Ok(())
        }

        fn check_recipient(&self, _: &ForwardPath) -> Result<(), Reply> {
            Ok(())
        }

        async fn authenticate(&mut self, _: String, _: Secret) -> AuthVerdict {
            AuthVerdict::Refused
        }

        fn keeps(&mut self, bytes: u64) -> bool {
            bytes <= self.0
        }

        async fn submit(&mut self, _: Transaction, body: Body<'_>) -> Reply {
            match body.complete().await {
                Ok(whole) => reply(250, (2, 0, 0), &whole.raw.len().to_string()),
                Err(SpoolError::NoRoom) => reply(452, (4, 3, 1), "no room"),
                Err(SpoolError::Disk(error)) => reply(451, (4, 3, 0), &error.to_string()),
            }
        }
    }

    fn terms(folder: &tempfile::TempDir) -> SmtpTerms {
        let session = SessionSettings {
            hostname: "gateway.example".into(),
            greeting: "ESMTP".into(),
            max_message_size_bytes: 10 << 20,
            max_recipients: 10,
            max_errors: 10,
            max_hold: Duration::ZERO,
            bare_newline: BareNewline::Refuse,
            tls: TlsOffer::None,
            auth: AuthOffer::Off,
            auth_in_clear: false,
        };
        SmtpTerms {
            session: Arc::new(session),
            tls: None,
            implicit_tls: false,
            idle: 5 * MINUTE,
            longest: Some(30 * MINUTE),
            spool: SpoolSpace::new(folder.path().join("spool")).unwrap(),
        }
    }

    struct Line(BufReader<DuplexStream>);

    impl Line {
        async fn ask(&mut self, octets: &[u8]) -> String {
            self.0.get_mut().write_all(octets).await.unwrap();
            self.reply().await
        }

        async fn reply(&mut self) -> String {
            loop {
                let mut line = String::new();
                self.0.read_line(&mut line).await.unwrap();
                if line.as_bytes().get(3) != Some(&b'-') {
                    return line;
                }
            }
        }
    }

    /// Holds a session while a client talks.
    async fn held<T>(room_bytes: u64, talk: impl AsyncFnOnce(Line) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let terms = terms(&folder);
        let (client, mut server) = duplex(64 << 10);
        let mut driver = Driver::new(&terms, Stop::new(), Narrow(room_bytes));
        driver.give(Input::Connected);
        let (told, ended) =
            tokio::join!(talk(Line(BufReader::new(client))), driver.converse(&mut server));
        assert!(matches!(ended, Ok(Ending::Over)));
        told
    }

    const BEGIN: &[u8] = b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\n";

    #[tokio::test]
    async fn what_there_is_no_room_for_is_told_at_its_end_and_the_session_goes_on() {
        let talk = async |mut line: Line| {
            assert!(line.reply().await.starts_with("220 "));
            assert!(line.ask(b"EHLO client.example\r\n").await.starts_with("250 "));
            for (lines, expected) in [
                (100, "250 2.0.0 100000\r\n"),
                (2_000, "452 4.3.1 no room\r\n"),
                (900, "250 2.0.0 900000\r\n"),
                (20, "250 2.0.0 20000\r\n"),
            ] {
                assert!(line.ask(BEGIN).await.starts_with("250 "));
                line.reply().await;
                assert!(line.reply().await.starts_with("354 "));
                let text = [[b'x'; 998].as_slice(), b"\r\n"].concat().repeat(lines);
                assert_eq!(line.ask(&[&text[..], b".\r\n"].concat()).await, expected);
            }
            assert!(line.ask(b"QUIT\r\n").await.starts_with("221 "));
        };
        held(1_000_000, talk).await;
    }

    #[tokio::test(start_paused = true)]
    async fn no_session_lasts_longer_than_it_may_however_busy() {
        let talk = async |mut line: Line| {
            assert!(line.reply().await.starts_with("220 "));
            let began = Instant::now();
            loop {
                tokio::time::sleep(MINUTE).await;
                let reply = line.ask(b"NOOP\r\n").await;
                if !reply.starts_with("250 ") {
                    return (reply, began.elapsed());
                }
            }
        };
        let (reply, lasted) = held(0, talk).await;
        assert!(reply.starts_with("421 4.4.2 "), "{reply}");
        assert!(lasted <= 31 * MINUTE, "{lasted:?}");
    }
}
