//! Who is measured: Waybill's release binary, a private Postfix, or nobody (the rig's own ceiling).

use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::hits::PUBLIC_URL;
use super::postfix::{Postfix, PostfixSettings};
use super::process::{self, Usage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// The generator sends straight to the sink.
    Rig,
    Postfix,
    Waybill,
}

enum Running {
    Nothing,
    Postfix(Postfix),
    Waybill { child: Child, public: u16, metrics: u16 },
}

/// A peer that takes mail on a port until it is dropped.
pub struct Peer {
    pub kind: PeerKind,
    port: u16,
    running: Running,
}

const START_LIMIT: Duration = Duration::from_secs(20);

/// A folder on a real disk that every user may enter, as Postfix needs it.
pub fn workspace() -> std::io::Result<tempfile::TempDir> {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let open = |path: &Path| path.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    let place = if built.ancestors().all(open) { built } else { Path::new("/var/tmp") };
    let folder = tempfile::Builder::new().prefix("relay").tempdir_in(place)?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

impl Peer {
    pub fn start(kind: PeerKind, workspace: &Path, sink: u16) -> Result<Peer, String> {
        let (port, running) = match kind {
            PeerKind::Rig => (sink, Running::Nothing),
            PeerKind::Postfix => {
                let port = free_port().map_err(|e| e.to_string())?;
                let settings =
                    PostfixSettings { listen: port, relay_to: sink, tls: None, credential: None };
                let postfix = Postfix::start(&workspace.join("postfix"), &settings)?;
                process::remember(postfix.master);
                (port, Running::Postfix(postfix))
            }
            PeerKind::Waybill => start_waybill(&workspace.join("waybill"), sink)?,
        };
        let mut peer = Peer { kind, port, running };
        peer.wait_until_ready()?;
        Ok(peer)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The ports for hits and for metrics, where it has them.
    pub fn other_ports(&self) -> Option<(u16, u16)> {
        match self.running {
            Running::Nothing | Running::Postfix(_) => None,
            Running::Waybill { public, metrics, .. } => Some((public, metrics)),
        }
    }

    /// What its processes have used up to now.
    pub fn usage(&self) -> Usage {
        match &self.running {
            Running::Nothing => Usage::default(),
            Running::Postfix(postfix) => process::usage_of_tree(postfix.master),
            Running::Waybill { child, .. } => process::usage_of_tree(child.id()),
        }
    }

    /// An error when it has ended by itself.
    pub fn check_alive(&mut self) -> Result<(), String> {
        match &mut self.running {
            Running::Nothing | Running::Postfix(_) => Ok(()),
            Running::Waybill { child, .. } => match child.try_wait() {
                Ok(None) => Ok(()),
                ended => Err(format!("Waybill has ended: {ended:?}")),
            },
        }
    }

    /// Its name and version.
    pub fn version(&self) -> String {
        let first_line = |command: &mut Command| {
            let output = command.output().map(|o| o.stdout).unwrap_or_default();
            String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").to_owned()
        };
        match self.kind {
            PeerKind::Rig => "rig: generator straight to sink".to_owned(),
            PeerKind::Postfix => {
                first_line(Command::new("/usr/sbin/postconf").args(["-d", "mail_version"]))
            }
            PeerKind::Waybill => {
                first_line(Command::new(env!("CARGO_BIN_EXE_waybill")).arg("--version"))
            }
        }
    }

    fn wait_until_ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            self.check_alive()?;
            if started.elapsed() > START_LIMIT {
                return Err(format!("{:?} takes no connections", self.kind));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Running::Waybill { child, .. } = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn start_waybill(folder: &Path, sink: u16) -> Result<(u16, Running), String> {
    let port = || free_port().map_err(|e| e.to_string());
    let (smtp, admin, metrics, sms, public) = (port()?, port()?, port()?, port()?, port()?);
    let text = format!(
        r#"
data_dir = "{data}"
hostname = "waybill.test"
log = {{ level = "warn" }}
[[smtp.listener]]
listen = "127.0.0.1:{smtp}"
tls = "off"
auth = "off"
[smtp]
max_connections = 1000
max_connections_per_client = 1000
[[upstream]]
name = "sink"
kind = "smtp"
host = "127.0.0.1"
port = {sink}
tls = "off"
connections = 20
[admin]
listen = "127.0.0.1:{admin}"
[metrics]
listen = "127.0.0.1:{metrics}"
[sms]
listen = "127.0.0.1:{sms}"
[public]
listen = "127.0.0.1:{public}"
trusted_proxies = ["127.0.0.1"]
[tracking]
public_url = "{PUBLIC_URL}"
"#,
        data = folder.join("data").display()
    );
    let trouble = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::create_dir_all(folder).map_err(trouble)?;
    let config = folder.join("waybill.toml");
    std::fs::write(&config, text).map_err(trouble)?;
    let child = Command::new(env!("CARGO_BIN_EXE_waybill"))
        .args(["run", "--config"])
        .arg(&config)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|e| format!("waybill: {e}"))?;
    process::remember(child.id());
    Ok((smtp, Running::Waybill { child, public, metrics }))
}
