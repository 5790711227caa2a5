//! The sink: takes every message over SMTP as fast as it can, and notes how many came and when the last one did.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::hits;

/// What has arrived since the last reset.
#[derive(Clone, Copy, Debug, Default)]
pub struct Arrived {
    pub messages: usize,
    pub last: Option<Instant>,
}

/// What is shared with the sessions.
#[derive(Debug, Default)]
struct Noted {
    arrived: Mutex<Arrived>,
    /// Paths of links and pixels; `None` while nobody wants them.
    paths: Mutex<Option<Vec<String>>>,
}

/// A sink on a port of its own and a thread of its own; it lives as long as the process.
pub struct Sink {
    port: u16,
    noted: Arc<Noted>,
}

impl Sink {
    pub fn start() -> std::io::Result<Sink> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let SocketAddr::V4(address) = listener.local_addr()? else {
            return Err(std::io::Error::other("not an IPv4 address"));
        };
        let noted = Arc::new(Noted::default());
        let shared = noted.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::spawn(move || runtime.block_on(accept(listener, shared)));
        Ok(Sink { port: address.port(), noted })
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn arrived(&self) -> Arrived {
        *self.noted.arrived.lock().unwrap()
    }

    pub fn reset(&self) {
        *self.noted.arrived.lock().unwrap() = Arrived::default();
    }

    /// From here on the paths of links and pixels are kept.
    pub fn keep_paths(&self) {
        *self.noted.paths.lock().unwrap() = Some(Vec::new());
    }

    /// Those that came; no more are kept.
    pub fn take_paths(&self) -> Vec<String> {
        self.noted.paths.lock().unwrap().take().unwrap_or_default()
    }
}

async fn accept(listener: std::net::TcpListener, noted: Arc<Noted>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        if let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let noted = noted.clone();
            tokio::spawn(async move {
                // A client that goes away ends its session; the count says what arrived.
                let _ = serve(socket, &noted).await;
            });
        }
    }
}

async fn serve(mut socket: TcpStream, noted: &Noted) -> std::io::Result<()> {
    socket.write_all(b"220 sink.test ESMTP\r\n").await?;
    let mut input = Vec::with_capacity(64 << 10);
    let mut replies = Vec::new();
    let mut in_data = false;
    // How much of `input` is known not to hold the end of the message.
    let mut searched = 0;
    loop {
        if socket.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let mut used = 0;
        loop {
            if in_data {
                match end_of_data(&input[used..], searched) {
                    Some(end) => {
                        note(noted, &input[used..used + end]);
                        used += end;
                        (in_data, searched) = (false, 0);
                        replies.extend_from_slice(b"250 2.0.0 Ok: queued as SINK\r\n");
                    }
                    None => {
                        searched = input.len() - used;
                        break;
                    }
                }
            } else {
                let Some(length) = memchr::memchr(b'\n', &input[used..]) else { break };
                let verb = input[used..used + length].to_ascii_uppercase();
                used += length + 1;
                in_data = verb.starts_with(b"DATA");
                replies.extend_from_slice(answer(&verb));
                if verb.starts_with(b"QUIT") {
                    return socket.write_all(&replies).await;
                }
            }
        }
        input.drain(..used);
        if !replies.is_empty() {
            socket.write_all(&replies).await?;
            replies.clear();
        }
    }
}

fn answer(verb: &[u8]) -> &'static [u8] {
    match verb.get(..4) {
        Some(b"EHLO") => {
            b"250-sink.test\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n"
        }
        Some(b"DATA") => b"354 go on\r\n",
        Some(b"QUIT") => b"221 2.0.0 bye\r\n",
        _ => b"250 2.0.0 Ok\r\n",
    }
}

/// Where the message ends, its final dot included; `searched` bytes were looked at before.
fn end_of_data(input: &[u8], searched: usize) -> Option<usize> {
    if searched == 0 && input.starts_with(b".\r\n") {
        return Some(3);
    }
    let from = searched.saturating_sub(4);
    memmem::find(&input[from..], b"\r\n.\r\n").map(|at| from + at + 5)
}

fn note(noted: &Noted, message: &[u8]) {
    if let Some(paths) = noted.paths.lock().unwrap().as_mut() {
        paths.extend(hits::paths(message));
    }
    let mut arrived = noted.arrived.lock().unwrap();
    arrived.messages += 1;
    arrived.last = Some(Instant::now());
}
