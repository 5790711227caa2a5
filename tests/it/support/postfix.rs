//! A private Postfix on loopback that relays everything to one port: the peer of the benchmark, and a smarthost with
//! TLS and AUTH for the tests.
//!
//! Debian's package must be installed (its own configuration is not touched) and the caller must be root, because
//! Postfix changes users. Durability and limits are those that the package ships with.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What the private instance is to be.
pub struct PostfixSettings {
    pub listen: u16,
    pub relay_to: u16,
    /// Certificate and key: STARTTLS is offered, and AUTH only after it.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// User and password: mail is taken only after AUTH.
    pub credential: Option<(String, String)>,
}

/// A running instance; it stops when this value is dropped.
pub struct Postfix {
    /// The script that starts `master` and stays beside it.
    script: Child,
    /// The process id of `master`, whose children are all other processes of the instance.
    pub master: u32,
    dir: PathBuf,
}

const START_LIMIT: Duration = Duration::from_secs(20);
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Every service of the mail path as the package runs it, without chroot.
const SERVICES: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
";

impl Postfix {
    /// Starts an instance whose files lie in `dir`, and waits until it takes connections. The error says what is
    /// missing.
    pub fn start(dir: &Path, settings: &PostfixSettings) -> Result<Postfix, String> {
        let daemons = ["/usr/lib/postfix/sbin", "/usr/libexec/postfix"];
        let daemons = daemons.into_iter().find(|path| Path::new(path).join("master").exists());
        let daemons = daemons.ok_or("Postfix is not installed")?;
        if !is_root() {
            return Err("Postfix can only be started by root".to_owned());
        }
        write_configuration(dir, settings, daemons)
            .map_err(|e| format!("{}: {e}", dir.display()))?;
        let log = fs::File::create(dir.join("out")).map_err(|e| e.to_string())?;
        let also = log.try_clone().map_err(|e| e.to_string())?;
        let script = Command::new("/usr/sbin/postfix")
            .arg("-c")
            .arg(dir.join("etc"))
            .arg("start-fg")
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            .spawn()
            .map_err(|e| format!("postfix: {e}"))?;
        let mut postfix = Postfix { script, master: 0, dir: dir.to_owned() };
        postfix.wait_until_ready(settings.listen)?;
        Ok(postfix)
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        read("out") + &read("mail.log")
    }

    fn wait_until_ready(&mut self, port: u16) -> Result<(), String> {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.script.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() || started.elapsed() > START_LIMIT {
                return Err(format!("Postfix does not start: {}", self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let pid = fs::read_to_string(self.dir.join("spool/pid/master.pid")).unwrap_or_default();
        self.master = pid.trim().parse().map_err(|_| "Postfix has no master.pid".to_owned())?;
        Ok(())
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        // `master` ends its children when it is told to end, not when it is killed.
        if self.master != 0 {
            let _ = Command::new("kill").arg(self.master.to_string()).status();
        }
        let started = Instant::now();
        let runs = |pid: u32| Path::new("/proc").join(pid.to_string()).exists();
        while self.master != 0 && runs(self.master) && started.elapsed() < STOP_LIMIT {
            let _ = self.script.try_wait();
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.script.kill();
        let _ = self.script.wait();
        if std::thread::panicking() {
            println!("the log of Postfix:\n{}", self.log());
        }
    }
}

/// Whether this process may do what only root may.
pub fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|l| l.starts_with("Uid:") && l.split_whitespace().nth(2) == Some("0"))
}

fn write_configuration(
    dir: &Path,
    settings: &PostfixSettings,
    daemons: &str,
) -> std::io::Result<()> {
    for folder in ["etc", "etc/dynamicmaps.cf.d", "etc/postfix-files.d", "spool", "data"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    run(Command::new("chown").arg("postfix").arg(dir.join("data")))?;
    for name in ["dynamicmaps.cf", "postfix-files", "post-install", "postfix-script"] {
        let from = Path::new("/etc/postfix").join(name);
        if from.exists() {
            fs::copy(from, dir.join("etc").join(name))?;
        }
    }
    let mut main = main_cf(dir, settings, daemons);
    if let Some((certificate, key)) = &settings.tls {
        let _ = write!(
            main,
            "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
            certificate.display(),
            key.display()
        );
    }
    if let Some((user, password)) = &settings.credential {
        write_passwords(dir, user, password)?;
        let _ = write!(
            main,
            "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_local_domain = peer.test\ncyrus_sasl_config_path = {}\n\
             smtpd_tls_auth_only = yes\nsmtpd_relay_restrictions = permit_sasl_authenticated, reject\n",
            dir.join("etc/sasl").display()
        );
    }
    fs::write(dir.join("etc/main.cf"), main)?;
    let port = settings.listen;
    fs::write(
        dir.join("etc/master.cf"),
        format!("127.0.0.1:{port} inet n - n - - smtpd\n{SERVICES}"),
    )
}

fn main_cf(dir: &Path, settings: &PostfixSettings, daemons: &str) -> String {
    let (dir, relay_to) = (dir.display(), settings.relay_to);
    format!(
        "compatibility_level = 3.6
config_directory = {dir}/etc
queue_directory = {dir}/spool
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
maillog_file_prefixes = {dir}
maillog_file = {dir}/mail.log
myhostname = peer.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{relay_to}
smtp_host_lookup = native
smtp_tls_security_level = none
message_size_limit = 60000000
mailbox_size_limit = 0
"
    )
}

/// A password file of Cyrus SASL, which `smtpd` reads as the user postfix. Debian's Postfix looks for the settings in
/// `sasl` beside `main.cf`, whatever `cyrus_sasl_config_path` says.
fn write_passwords(dir: &Path, user: &str, password: &str) -> std::io::Result<()> {
    fs::create_dir_all(dir.join("etc/sasl"))?;
    let database = dir.join("etc/sasl/passwords");
    let settings = format!(
        "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {}\nmech_list: PLAIN LOGIN\n",
        database.display()
    );
    fs::write(dir.join("etc/sasl/smtpd.conf"), settings)?;
    let mut child = Command::new("saslpasswd2")
        .args(["-p", "-c", "-u", "peer.test", "-f"])
        .arg(&database)
        .arg(user)
        .stdin(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        std::io::Write::write_all(&mut input, password.as_bytes())?;
    }
    if !child.wait()?.success() {
        return Err(std::io::Error::other("saslpasswd2 failed"));
    }
    fs::set_permissions(&database, fs::Permissions::from_mode(0o600))?;
    run(Command::new("chown").arg("postfix").arg(&database))
}

fn run(command: &mut Command) -> std::io::Result<()> {
    match command.status()?.success() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("{command:?} failed"))),
    }
}
