//! The load: calls of sendsms over kept connections, and mail beside it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::Case;
use super::peer::Peer;

/// No number is called twice in a run.
static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);
/// One mail at a time on each.
const MAIL_CONNECTIONS: u32 = 4;
/// Longest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// What came of one measurement.
#[derive(Clone, Debug)]
pub struct Measured {
    took: Duration,
    /// Ascending.
    latencies: Vec<Duration>,
    /// Taken at the same time.
    mails: u32,
}

impl Measured {
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * quantile).round() as usize;
        self.latencies.get(at).map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.quantile_ms(0.5), self.quantile_ms(0.99));
        write!(f, "{:>7.0}/s  p50 {p50:.1} ms  p99 {p99:.1} ms", self.per_second())?;
        match self.mails {
            0 => Ok(()),
            mails => write!(f, "  mail {:.0}/s", f64::from(mails) / self.took.as_secs_f64()),
        }
    }
}

/// Submits for a while.
pub fn run(case: &Case, peer: &Peer, submit_for: Duration) -> Result<Measured, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let started = Instant::now();
        let until = started + submit_for;
        let mut sessions = JoinSet::new();
        for _ in 0..case.connections {
            sessions.spawn(call(peer.http(), until));
        }
        let mut mail = JoinSet::new();
        if let Some(port) = peer.smtp().filter(|_| case.mails_per_second > 0) {
            for _ in 0..MAIL_CONNECTIONS {
                mail.spawn(send_mail(port, case.mails_per_second / MAIL_CONNECTIONS, until));
            }
        }
        let mut latencies = Vec::new();
        while let Some(session) = sessions.join_next().await {
            let session = session.map_err(|error| error.to_string())?;
            latencies.extend(session.map_err(|error| format!("a call failed: {error}"))?);
        }
        let took = started.elapsed();
        let mut mails = 0;
        while let Some(sent) = mail.join_next().await {
            let sent = sent.map_err(|error| error.to_string())?;
            mails += sent.map_err(|error| format!("a mail was not taken: {error}"))?;
        }
        latencies.sort_unstable();
        Ok(Measured { took, latencies, mails })
    })
}

async fn call(port: u16, until: Instant) -> std::io::Result<Vec<Duration>> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    let mut latencies = Vec::new();
    while Instant::now() < until {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let request = format!(
            "GET /cgi-bin/sendsms?username=bench&password=bench&from=Example&to=%2B45{:08}\
             &text=Your+order+ORD-{number}+was+shipped HTTP/1.1\r\nHost: 127.0.0.1\r\n\
             User-Agent: bench\r\n\r\n",
            10_000_000 + number % 80_000_000
        );
        let started = Instant::now();
        socket.write_all(request.as_bytes()).await?;
        let answer = answer(&mut socket).await?;
        if !answer.starts_with("HTTP/1.1 202") {
            return Err(std::io::Error::other(answer));
        }
        latencies.push(started.elapsed());
    }
    Ok(latencies)
}

/// One whole answer.
async fn answer(socket: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
            });
            if body.len() >= length.unwrap_or(0_usize) {
                return Ok(text.into_owned());
            }
        }
        if socket.read_buf(&mut bytes).await? == 0 || bytes.len() > MAX_ANSWER_BYTES {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Mail of 10 KiB at an even pace, over one connection; gives how many were taken.
async fn send_mail(port: u16, per_second: u32, until: Instant) -> std::io::Result<u32> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.set_nodelay(true)?;
    reply(&mut socket).await?;
    command(&mut socket, "EHLO bench.example\r\n").await?;
    let line = "All work and no play makes mail a dull affair, so here is another line.\r\n";
    let body = format!("Subject: bench\r\n\r\n{}.\r\n", line.repeat(10 * 1024 / line.len()));
    let mut pace = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut taken = 0;
    while Instant::now() < until {
        pace.tick().await;
        command(&mut socket, "MAIL FROM:<bench@example.com>\r\n").await?;
        command(&mut socket, "RCPT TO:<kim@example.org>\r\n").await?;
        command(&mut socket, "DATA\r\n").await?;
        command(&mut socket, &body).await?;
        taken += 1;
    }
    Ok(taken)
}

async fn command(socket: &mut TcpStream, command: &str) -> std::io::Result<()> {
    socket.write_all(command.as_bytes()).await?;
    let reply = reply(socket).await?;
    if reply.starts_with('2') || reply.starts_with('3') {
        return Ok(());
    }
    Err(std::io::Error::other(reply))
}

async fn reply(socket: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        let is_last = |line: &str| line.len() > 3 && line.as_bytes()[3] == b' ';
        if text.ends_with("\r\n") && text.lines().last().is_some_and(is_last) {
            return Ok(text.into_owned());
        }
        if socket.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}
