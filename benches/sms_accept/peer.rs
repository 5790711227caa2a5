//! Waybill and Kannel, each as it is installed, started with the same provider behind it.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process;
use super::provider::Provider;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    Waybill,
    Kannel,
}

impl PeerKind {
    pub fn name(self) -> &'static str {
        match self {
            PeerKind::Waybill => "waybill",
            PeerKind::Kannel => "kannel",
        }
    }
}

/// A running peer; it ends when it is dropped.
pub struct Peer {
    kind: PeerKind,
    http: u16,
    smtp: Option<u16>,
    children: Vec<Child>,
}

impl Drop for Peer {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How long a peer may take to open its port.
const START: Duration = Duration::from_secs(20);
/// How long what was taken may take to arrive.
const DRAIN: Duration = Duration::from_secs(60);

impl Peer {
    pub fn start(kind: PeerKind, folder: &Path, provider: u16) -> Result<Peer, String> {
        let folder = folder.join(kind.name());
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let peer = match kind {
            PeerKind::Waybill => start_waybill(&folder, provider)?,
            PeerKind::Kannel => start_kannel(&folder, provider)?,
        };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", peer.http)).is_err() {
            if began.elapsed() > START {
                return Err(format!("{} does not open its port", kind.name()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }

    pub fn kind(&self) -> PeerKind {
        self.kind
    }

    pub fn http(&self) -> u16 {
        self.http
    }

    pub fn smtp(&self) -> Option<u16> {
        self.smtp
    }

    /// Waits until nothing more arrives, so that the next measurement begins with an empty queue.
    pub fn drain(&self, provider: &Provider) {
        let began = Instant::now();
        let mut before = u64::MAX;
        while before != provider.taken() && began.elapsed() < DRAIN {
            before = provider.taken();
            std::thread::sleep(Duration::from_secs(1));
        }
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn spawn(command: &mut Command) -> Result<Child, String> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.map_err(|error| format!("{command:?}: {error}"))?;
    process::remember(child.id());
    Ok(child)
}

fn start_waybill(folder: &Path, provider: u16) -> Result<Peer, String> {
    let (http, smtp) = (free_port()?, free_port()?);
    let config = format!(
        r#"data_dir = "{}"
log = {{ level = "warn" }}
[[smtp.listener]]
listen = "127.0.0.1:{smtp}"
[[app]]
name = "bench"
networks = ["127.0.0.0/8"]
[[upstream]]
name = "provider"
kind = "kannel"
url = "http://127.0.0.1:{provider}/cgi-bin/sendsms"
username = "bench"
password = "bench"
connections = 20
[sms]
listen = "127.0.0.1:{http}"
[public]
listen = "off"
[admin]
listen = "off"
[metrics]
listen = "off"
"#,
        folder.join("data").display()
    );
    let path = folder.join("waybill.toml");
    std::fs::write(&path, config).map_err(|error| error.to_string())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
    let child = spawn(command.arg("run").arg("--config").arg(&path))?;
    Ok(Peer { kind: PeerKind::Waybill, http, smtp: Some(smtp), children: vec![child] })
}

/// Bearerbox with its store in one file and an HTTP upstream, and a smsbox with one sendsms user.
fn start_kannel(folder: &Path, provider: u16) -> Result<Peer, String> {
    let (http, admin, boxes, back) = (free_port()?, free_port()?, free_port()?, free_port()?);
    let store = folder.join("store").display().to_string();
    let config = format!(
        r#"group = core
admin-port = {admin}
admin-password = bench
smsbox-port = {boxes}
store-type = file
store-location = "{store}"
log-level = 3

group = smsc
smsc = http
smsc-id = provider
system-type = kannel
port = {back}
smsc-username = bench
smsc-password = bench
send-url = "http://127.0.0.1:{provider}/cgi-bin/sendsms"

group = smsbox
bearerbox-host = 127.0.0.1
bearerbox-port = {boxes}
sendsms-port = {http}
log-level = 3

group = sendsms-user
username = bench
password = bench
concatenation = true
max-messages = 10
"#
    );
    let path = folder.join("kannel.conf");
    std::fs::write(&path, config).map_err(|error| error.to_string())?;
    let find = |name: &str| {
        let places = ["/usr/sbin", "/usr/lib/kannel", "/usr/bin"];
        let found = places.iter().map(|place| Path::new(place).join(name)).find(|p| p.exists());
        found.ok_or(format!("{name} is not installed"))
    };
    let bearerbox = spawn(Command::new(find("bearerbox")?).arg(&path))?;
    std::thread::sleep(Duration::from_secs(2));
    let smsbox = spawn(Command::new(find("smsbox")?).arg(&path))?;
    Ok(Peer { kind: PeerKind::Kannel, http, smtp: None, children: vec![bearerbox, smsbox] })
}
