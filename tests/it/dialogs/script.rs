//! Reads a dialog. Escapes in `C:`, `C-` and `MESSAGE`: `\r \n \t \0 \\ \xHH`, and `\{70000*x}` for
//! that many of a character.

use std::path::Path;

use waybill::smtp::{AuthOffer, BareNewline};

/// Where TLS begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tls {
    Off,
    AfterCommand,
    Implicit,
}

/// The listener, the client and the door of a dialog.
#[derive(Clone, Debug)]
pub struct Setup {
    pub tls: Tls,
    pub auth: AuthOffer,
    /// AUTH may be used without TLS.
    pub clear: bool,
    /// The client is known by its network.
    pub known: bool,
    pub senders: Vec<String>,
    pub max_size: u64,
    pub max_recipients: usize,
    pub max_errors: usize,
    pub newlines: BareNewline,
    /// What the door says to every message.
    pub door: (u16, String, String),
    /// The outcome depends on what comes in one piece.
    pub whole_only: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Send(Vec<u8>),
    Expect(String),
    /// A whole reply, however many lines it has, by its code.
    ExpectAll(String),
    Handshake,
    Closed,
    Envelope(String),
    Message(Vec<u8>),
    Protocol(String),
}

#[derive(Clone, Debug)]
pub struct Script {
    pub name: String,
    pub setup: Setup,
    /// Each with its line number; sends that follow each other are one.
    pub steps: Vec<(usize, Step)>,
}

impl Script {
    pub fn read(path: &Path) -> Script {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).unwrap();
        let mut script = Script { name, setup: Setup::default(), steps: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            script.line(index + 1, line);
        }
        script
    }

    fn line(&mut self, number: usize, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let step = match word {
            "" | "#" => return,
            "C:" => Step::Send([unescape(rest), b"\r\n".to_vec()].concat()),
            "C-" => Step::Send(unescape(rest)),
            "S:" => Step::Expect(rest.to_owned()),
            "S*" => Step::ExpectAll(rest.to_owned()),
            "TLS" => Step::Handshake,
            "CLOSED" => Step::Closed,
            "ENVELOPE" => Step::Envelope(rest.to_owned()),
            "MESSAGE" => Step::Message(unescape(rest)),
            "PROTOCOL" => Step::Protocol(rest.to_owned()),
            setting if setting.starts_with('@') => return self.setup.set(setting, rest),
            other => panic!("{}:{number}: what is {other:?}?", self.name),
        };
        match (self.steps.last_mut(), step) {
            (Some((_, Step::Send(sent))), Step::Send(more)) => sent.extend(more),
            (_, step) => self.steps.push((number, step)),
        }
    }
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            tls: Tls::Off,
            auth: AuthOffer::Optional,
            clear: true,
            known: true,
            senders: Vec::new(),
            max_size: 100_000,
            max_recipients: 100,
            max_errors: 20,
            newlines: BareNewline::Refuse,
            door: (250, "2.0.0".into(), "Ok: queued as ID".into()),
            whole_only: false,
        }
    }
}

impl Setup {
    fn set(&mut self, setting: &str, value: &str) {
        match (setting, value) {
            ("@tls", "starttls") => self.tls = Tls::AfterCommand,
            ("@tls", "implicit") => self.tls = Tls::Implicit,
            ("@auth", "off") => self.auth = AuthOffer::Off,
            ("@auth", "required") => self.auth = AuthOffer::Required,
            ("@clear", "no") => self.clear = false,
            ("@client", "stranger") => self.known = false,
            ("@senders", pattern) => self.senders.push(pattern.into()),
            ("@max_size", number) => self.max_size = number.parse().unwrap(),
            ("@max_recipients", number) => self.max_recipients = number.parse().unwrap(),
            ("@max_errors", number) => self.max_errors = number.parse().unwrap(),
            ("@newlines", "fix") => self.newlines = BareNewline::Fix,
            ("@whole", "") => self.whole_only = true,
            ("@door", reply) => {
                let mut words = reply.splitn(3, ' ');
                let mut next = || words.next().unwrap().to_owned();
                self.door = (next().parse().unwrap(), next(), next());
            }
            other => panic!("what is the setting {other:?}?"),
        }
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let (kind, after) = after.split_at(1);
        rest = after;
        match kind {
            "r" => out.push(b'\r'),
            "n" => out.push(b'\n'),
            "t" => out.push(b'\t'),
            "0" => out.push(0),
            "\\" => out.push(b'\\'),
            "x" => {
                out.push(u8::from_str_radix(&after[..2], 16).unwrap());
                rest = &after[2..];
            }
            "{" => {
                let (inner, after) = after.split_once('}').unwrap();
                let (count, what) = inner.split_once('*').unwrap();
                out.extend(unescape(what).repeat(count.parse().unwrap()));
                rest = after;
            }
            other => panic!("what is \\{other}?"),
        }
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// Whether a reply line is what the dialog says.
pub fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        let found = if index + 1 == parts.len() {
            rest.ends_with(part).then(|| rest.len() - part.len())
        } else {
            rest.find(part)
        };
        let Some(at) = found else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.is_empty()
}
