//! The load generator: sessions that submit one message after the other and note how long each final dot waited.

use std::cell::{Cell, RefCell};
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::Case;
use super::message::Maker;
use super::process::Usage;
use super::sink::Sink;

/// What is submitted, where, and for how long.
pub struct Load {
    pub port: u16,
    pub case: Case,
    pub submit_for: Duration,
    /// No more messages than this.
    pub limit: usize,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    pub accepted: usize,
    pub submitting: Duration,
    pub p50: Duration,
    pub p99: Duration,
    /// From the first connection to the last arrival.
    pub relaying: Duration,
    pub usage: Usage,
    started: Instant,
}

/// A session that gets no reply for so long has failed.
const REPLY_LIMIT: Duration = Duration::from_secs(30);
/// The relaying side is given up when nothing arrives for so long.
const STALL_LIMIT: Duration = Duration::from_secs(30);

struct Shared {
    maker: RefCell<Maker>,
    serial: Cell<u64>,
    waits: RefCell<Vec<Duration>>,
    until: Instant,
    limit: usize,
}

impl Load {
    /// Submits; the first error of any session ends it.
    pub fn run(&self) -> Result<Measured, String> {
        let maker = Maker::new(u64::from(self.port) << 32 | self.case.size_bytes as u64);
        let started = Instant::now();
        let shared = Rc::new(Shared {
            maker: RefCell::new(maker),
            serial: Cell::new(0),
            waits: RefCell::default(),
            until: started + self.submit_for,
            limit: self.limit,
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| e.to_string())?;
        let local = tokio::task::LocalSet::new();
        let sessions: Vec<_> = (0..self.case.sessions)
            .map(|_| local.spawn_local(session(shared.clone(), self.port, self.case)))
            .collect();
        runtime.block_on(local.run_until(async {
            for session in sessions {
                session.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
            }
            Ok::<(), String>(())
        }))?;
        let submitting = started.elapsed();
        let mut waits = shared.waits.take();
        waits.sort_unstable();
        let at = |part: f64| {
            let index = (waits.len() as f64 * part) as usize;
            waits.get(index.min(waits.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Ok(Measured {
            accepted: waits.len(),
            submitting,
            p50: at(0.5),
            p99: at(0.99),
            relaying: Duration::ZERO,
            usage: Usage::default(),
            started,
        })
    }
}

impl Measured {
    /// Waits until everything that was accepted has arrived.
    pub fn wait_for_relayed(&mut self, sink: &Sink) -> Result<(), String> {
        let (mut seen, mut moved) = (0, Instant::now());
        loop {
            let arrived = sink.arrived();
            if arrived.messages >= self.accepted {
                let last = arrived.last.unwrap_or(self.started);
                self.relaying = last - self.started;
                return match arrived.messages == self.accepted {
                    true => Ok(()),
                    false => {
                        Err(format!("{} accepted, {} arrived", self.accepted, arrived.messages))
                    }
                };
            }
            if arrived.messages > seen {
                (seen, moved) = (arrived.messages, Instant::now());
            }
            if moved.elapsed() > STALL_LIMIT {
                return Err(format!("{} accepted, only {seen} arrived", self.accepted));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn accepted_per_second(&self) -> f64 {
        self.accepted as f64 / self.submitting.as_secs_f64()
    }

    pub fn relayed_per_second(&self) -> f64 {
        self.accepted as f64 / self.relaying.as_secs_f64()
    }
}

async fn session(shared: Rc<Shared>, port: u16, case: Case) -> std::io::Result<()> {
    let mut connection = None;
    while Instant::now() < shared.until {
        let serial = shared.serial.get();
        if serial as usize >= shared.limit {
            break;
        }
        shared.serial.set(serial + 1);
        let message = shared.maker.borrow_mut().message(serial, case.size_bytes);
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(port).await?,
        };
        let waited = open.submit(&message).await?;
        shared.waits.borrow_mut().push(waited);
        match case.kept {
            true => connection = Some(open),
            false => open.command(b"QUIT\r\n", b"221").await?,
        }
    }
    match connection {
        Some(mut open) => open.command(b"QUIT\r\n", b"221").await,
        None => Ok(()),
    }
}

/// One session with a server.
pub struct Connection {
    socket: BufReader<TcpStream>,
    line: Vec<u8>,
}

impl Connection {
    pub async fn open(port: u16) -> std::io::Result<Connection> {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        socket.set_nodelay(true)?;
        let mut connection = Connection { socket: BufReader::new(socket), line: Vec::new() };
        connection.reply(b"220").await?;
        connection.command(b"EHLO bench.example.com\r\n", b"250").await?;
        Ok(connection)
    }

    /// How long the server took from the final dot to its reply.
    pub async fn submit(&mut self, message: &[u8]) -> std::io::Result<Duration> {
        self.command(b"MAIL FROM:<billing@example.com>\r\n", b"250").await?;
        self.command(b"RCPT TO:<kim@example.org>\r\n", b"250").await?;
        self.command(b"DATA\r\n", b"354").await?;
        self.socket.write_all(message).await?;
        let sent = Instant::now();
        self.reply(b"250").await?;
        Ok(sent.elapsed())
    }

    async fn command(&mut self, command: &[u8], expected: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(command).await?;
        self.reply(expected).await
    }

    async fn reply(&mut self, expected: &[u8]) -> std::io::Result<()> {
        loop {
            self.line.clear();
            let read = self.socket.read_until(b'\n', &mut self.line);
            tokio::time::timeout(REPLY_LIMIT, read).await.map_err(std::io::Error::other)??;
            if !self.line.starts_with(expected) {
                let text = String::from_utf8_lossy(&self.line).trim().to_owned();
                return Err(std::io::Error::other(format!("the server said `{text}`")));
            }
            if self.line.get(3) == Some(&b' ') {
                return Ok(());
            }
        }
    }
}
