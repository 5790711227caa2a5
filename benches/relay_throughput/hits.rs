//! Opens and clicks at a steady rate, as readers of tracked mail bring them, and what they cost submission.
//!
//! Some tracked mails are relayed first, and their links and pixels are taken from what the sink got. The same hits are
//! then brought to Waybill and to somebody who only answers, in turns: whoever brings them needs processors too, and
//! without the second turn that would be counted as Waybill's.

use std::io::{Read, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream as BlockingStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::load::Connection;

/// Where the links of tracked mail lead; Waybill is told this as its public URL.
pub const PUBLIC_URL: &str = "https://t.example.com";

/// Tracked mails that are hit in turn.
const MAILS: usize = 2_000;
/// Connections that hits come over; proxies keep theirs open.
const CONNECTIONS: u32 = 50;

/// Submits tracked mails, one after the other.
pub fn submit_tracked(port: u16) -> Result<usize, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let submitting = async {
        let mut connection = Connection::open(port).await?;
        for serial in 0..MAILS {
            connection.submit(&tracked(serial)).await?;
        }
        Ok(MAILS)
    };
    runtime.and_then(|runtime| runtime.block_on(submitting)).map_err(|e| e.to_string())
}

fn tracked(serial: usize) -> Vec<u8> {
    format!(
        "From: Billing <billing@example.com>\r\nTo: kim@example.org\r\nSubject: Invoice {serial}\r\n\
         Message-ID: <tracked-{serial}@example.com>\r\nX-Waybill-Track: opens,clicks\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/html; charset=utf-8\r\n\r\n\
         <html><body><p>Your invoice: \
         <a href=\"https://pay.example.com/invoices/{serial}?from=mail\">see it</a></p></body></html>\r\n.\r\n"
    )
    .into_bytes()
}

/// The paths of the links and pixels in a message as it was relayed.
pub fn paths(message: &[u8]) -> Vec<String> {
    let starts = memmem::find_iter(message, PUBLIC_URL.as_bytes());
    let path = |start: usize| {
        let rest = &message[start + PUBLIC_URL.len()..];
        let end = rest.iter().position(|byte| b"\"'<> \r\n".contains(byte)).unwrap_or(rest.len());
        String::from_utf8_lossy(&rest[..end]).into_owned()
    };
    starts.map(path).collect()
}

/// Hits that come until this is ended.
pub struct Hits {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    started: Instant,
    thread: JoinHandle<Result<(), String>>,
}

impl Hits {
    /// Brings `per_second` hits on these paths to a port.
    pub fn start(port: u16, paths: Arc<Vec<String>>, per_second: usize) -> Hits {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let shared = (stop.clone(), answered.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|e| e.to_string())?;
            runtime.block_on(async {
                let every = Duration::from_secs_f64(f64::from(CONNECTIONS) / per_second as f64);
                let mut readers = tokio::task::JoinSet::new();
                for number in 0..CONNECTIONS {
                    readers.spawn(reader(number, port, paths.clone(), every, shared.clone()));
                }
                while let Some(reader) = readers.join_next().await {
                    reader.map_err(|e| e.to_string())?.map_err(|e| format!("a hit: {e}"))?;
                }
                Ok(())
            })
        });
        Hits { stop, answered, started: Instant::now(), thread }
    }

    /// How many were answered in a second.
    pub fn end(self) -> Result<f64, String> {
        self.stop.store(true, Ordering::Relaxed);
        let took = self.started.elapsed();
        self.thread.join().map_err(|_| "the hits have panicked".to_owned())??;
        Ok(self.answered.load(Ordering::Relaxed) as f64 / took.as_secs_f64())
    }
}

/// One connection, on which hits of many clients come, as a proxy brings them.
async fn reader(
    number: u32,
    port: u16,
    paths: Arc<Vec<String>>,
    every: Duration,
    (stop, answered): (Arc<AtomicBool>, Arc<AtomicU64>),
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.set_nodelay(true)?;
    let mut ticks = tokio::time::interval(every);
    let mut buffer = Vec::new();
    for turn in 0_u32.. {
        ticks.tick().await;
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let hit = turn * CONNECTIONS + number;
        let path = &paths[hit as usize % paths.len()];
        let client = Ipv4Addr::from(0x0a00_0000 | hit & 0x00ff_ffff);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: t.example.com\r\nX-Forwarded-For: {client}\r\n\
             User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        answer(&mut stream, &mut buffer).await?;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads one answer, and is content with a pixel or a redirect alone.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    buffer.clear();
    let (head, length) = loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(end) = memmem::find(buffer, b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            if !(text.starts_with("http/1.1 200") || text.starts_with("http/1.1 302")) {
                return Err(std::io::Error::other(text));
            }
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            break (end + 4, length.and_then(|length| length.trim().parse().ok()).unwrap_or(0));
        }
    };
    while buffer.len() < head + length {
        if stream.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Answers every request with a redirect and does nothing else; lives as long as the process.
pub fn start_answerer() -> std::io::Result<u16> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address: SocketAddr = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut input = [0; 4096];
                    // One request at a time comes over each connection, in one piece.
                    while stream.read(&mut input).await.is_ok_and(|count| count > 0) {
                        let answer = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n";
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    Ok(address.port())
}

/// Opens and clicks that Waybill has recorded, as its metrics say.
pub fn recorded(metrics: u16) -> Result<f64, String> {
    let text = scrape(metrics).map_err(|e| format!("the metrics: {e}"))?;
    let counted = |line: &&str| {
        line.starts_with("waybill_opens_total") || line.starts_with("waybill_clicks_total")
    };
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    Ok(text.lines().filter(counted).filter_map(value).sum())
}

fn scrape(port: u16) -> std::io::Result<String> {
    let mut stream = BlockingStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
