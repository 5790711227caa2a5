//! The daemon as its users run it: the real binary, a configuration file, a data folder and real ports.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::api::Api;
use super::certificates::Certificates;

const BINARY: &str = env!("CARGO_BIN_EXE_waybill");
/// An unoptimised build on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// What a test wants of its daemon.
pub struct Setup {
    /// `tls` and `auth` of each SMTP listener.
    pub listeners: Vec<(&'static str, &'static str)>,
    /// Where mail is relayed to, on loopback; nothing leaves the upstreams to `tables`.
    pub upstream: Option<u16>,
    /// Lines below `[smtp]`.
    pub smtp: String,
    /// Lines below `[queue]`.
    pub queue: String,
    /// Lines below `[sms]`.
    pub sms: String,
    /// Lines below `[public]`.
    pub public: String,
    /// Whole tables: apps, routes, upstreams.
    pub tables: String,
    /// Where the archive is to be, when not in the test's own folder.
    pub data: Option<PathBuf>,
}

impl Setup {
    /// One listener without TLS and AUTH, one upstream without TLS, quick retries.
    pub fn relaying_to(port: u16) -> Setup {
        Setup {
            listeners: vec![("off", "off")],
            upstream: Some(port),
            smtp: String::new(),
            queue: "retry = [\"1s\"]".to_owned(),
            sms: String::new(),
            public: String::new(),
            tables: String::new(),
            data: None,
        }
    }

    /// The same without any upstream for mail: those of SMS stand in `tables`.
    pub fn for_sms(tables: String) -> Setup {
        Setup { upstream: None, tables, ..Setup::relaying_to(0) }
    }

    /// The configuration, and the ports in it.
    fn write(&self, folder: &Path, certificates: &Certificates) -> (PathBuf, Ports) {
        let smtp: Vec<u16> = self.listeners.iter().map(|_| free_port()).collect();
        let ports = Ports {
            smtp,
            admin: free_port(),
            metrics: free_port(),
            sms: free_port(),
            public: free_port(),
        };
        let data = self.data.clone().unwrap_or_else(|| folder.join("data"));
        let mut text = format!(
            "data_dir = \"{}\"\nhostname = \"gateway.test\"\nlog = {{ level = \"info\" }}\n\n[smtp]\n{}\n\n[queue]\n{}\n",
            data.display(),
            self.smtp,
            self.queue
        );
        for ((tls, auth), port) in self.listeners.iter().zip(&ports.smtp) {
            let _ = writeln!(
                text,
                "[[smtp.listener]]\nlisten = \"127.0.0.1:{port}\"\ntls = \"{tls}\"\nauth = \"{auth}\""
            );
        }
        if self.listeners.iter().any(|(tls, _)| *tls != "off") {
            let (certificate, key) =
                (certificates.certificate.display(), certificates.key.display());
            let _ = writeln!(text, "[tls]\ncertificate = \"{certificate}\"\nkey = \"{key}\"");
        }
        if let Some(port) = self.upstream {
            let _ = writeln!(
                text,
                "[[upstream]]\nname = \"receiver\"\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"off\""
            );
        }
        for (zone, port, more) in [
            ("admin", ports.admin, ""),
            ("metrics", ports.metrics, ""),
            ("sms", ports.sms, &self.sms),
            ("public", ports.public, &self.public),
        ] {
            let _ = writeln!(text, "[{zone}]\nlisten = \"127.0.0.1:{port}\"\n{more}");
        }
        text.push_str(&self.tables);
        let config = folder.join("waybill.toml");
        fs::write(&config, text).unwrap();
        (config, ports)
    }
}

struct Ports {
    smtp: Vec<u16>,
    admin: u16,
    metrics: u16,
    sms: u16,
    public: u16,
}

/// A daemon that runs until it is stopped, killed or dropped; its folder goes with it.
pub struct Daemon {
    process: Child,
    folder: TempDir,
    config: PathBuf,
    ports: Ports,
    pub certificates: Certificates,
}

impl Daemon {
    /// Starts it and waits until it says that it is ready.
    pub fn start(setup: &Setup) -> Daemon {
        let folder = TempDir::new().unwrap();
        let certificates = Certificates::make(folder.path());
        let (config, ports) = setup.write(folder.path(), &certificates);
        let process = spawn(&config, folder.path());
        let mut daemon = Daemon { process, folder, config, ports, certificates };
        daemon.wait_until_ready();
        daemon
    }

    /// The port of the first listener.
    pub fn smtp(&self) -> u16 {
        self.ports.smtp[0]
    }

    /// The port of listener `index`.
    pub fn smtp_of(&self, index: usize) -> u16 {
        self.ports.smtp[index]
    }

    /// The port of the SMS dialects.
    pub fn sms(&self) -> u16 {
        self.ports.sms
    }

    /// The port that providers call.
    pub fn public(&self) -> u16 {
        self.ports.public
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// A folder that lives as long as the daemon.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its configuration file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The admin API with a new token of this role, made as an administrator makes it.
    pub fn api(&self, role: &str) -> Api {
        let output = Command::new(BINARY)
            .args(["token", "create", "--role", role, "--config"])
            .arg(&self.config)
            .output()
            .unwrap();
        let token = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !token.is_empty(), "token create: {errors}");
        Api::new(self.ports.admin, Some(token))
    }

    /// The metrics port: `/metrics`, `/healthz`, `/readyz`.
    pub fn metrics(&self) -> Api {
        Api::new(self.ports.metrics, None)
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again over the same data and ports; how long it took to become ready.
    pub fn start_again(&mut self) -> Duration {
        let started = Instant::now();
        self.process = spawn(&self.config, self.folder.path());
        self.wait_until_ready();
        started.elapsed()
    }

    /// Waits for it to end by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < STOP_LIMIT, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGTERM, and the orderly end.
    pub fn stop(&mut self) -> ExitStatus {
        Command::new("kill").arg(self.pid().to_string()).status().unwrap();
        self.wait_for_end()
    }

    /// What it has written to its terminal.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn wait_until_ready(&mut self) {
        let started = Instant::now();
        loop {
            if self.metrics().get("/readyz").is_ok_and(|response| response.status == 200) {
                return;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("the daemon has ended with {status}: {}", self.log());
            }
            assert!(started.elapsed() < START_LIMIT, "it does not become ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let ended = self.process.try_wait();
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            println!("the daemon's own end: {ended:?}");
            let log = self.log();
            let from = log.len().saturating_sub(8000);
            println!("the end of the daemon's log:\n{}", log.get(from..).unwrap_or(&log));
        }
    }
}

fn spawn(config: &Path, folder: &Path) -> Child {
    let log = OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
    Command::new(BINARY)
        .args(["run", "--config"])
        .arg(config)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .process_group(0)
        .spawn()
        .unwrap()
}

/// Ports that this process may use: a block is locked for as long as the process lives, so that no other test takes
/// the ports of a daemon that has just been killed. They lie below those that the kernel gives away.
struct Block {
    _lock: File,
    left: std::ops::Range<u16>,
}

const FIRST_PORT: u16 = 12_000;
const BLOCK_PORTS: u16 = 32;
const BLOCKS: u16 = 600;

impl Block {
    fn take() -> Block {
        let folder = std::env::temp_dir().join("waybill-test-ports");
        fs::create_dir_all(&folder).unwrap();
        let start = (std::process::id() % u32::from(BLOCKS)) as u16;
        for offset in 0..BLOCKS {
            let number = (start + offset) % BLOCKS;
            let path = folder.join(number.to_string());
            let lock = OpenOptions::new().create(true).append(true).open(path).unwrap();
            if lock.try_lock().is_ok() {
                let first = FIRST_PORT + number * BLOCK_PORTS;
                return Block { _lock: lock, left: first..first + BLOCK_PORTS };
            }
        }
        panic!("all blocks of ports are taken");
    }
}

/// A port that nothing listens on, and that no other test will take.
pub fn free_port() -> u16 {
    static BLOCKS_TAKEN: Mutex<Vec<Block>> = Mutex::new(Vec::new());
    let mut blocks = BLOCKS_TAKEN.lock().unwrap();
    loop {
        if let Some(port) = blocks.last_mut().and_then(|block| block.left.next()) {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return port;
            }
        } else {
            blocks.push(Block::take());
        }
    }
}
