//! A private Kannel on loopback: bearerbox and smsbox, whose only way out is an HTTP server of ours. So it
//! is a client of ours and a provider of ours in one.
//!
//! Debian's package must be installed; its own configuration is not touched. Nothing is stored.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use tempfile::TempDir;

use super::daemon::free_port;
use super::tools;

const START_LIMIT: Duration = Duration::from_secs(20);
/// Kannel waits 10 seconds before it tries a broken connection again.
const PATIENCE: Duration = Duration::from_secs(25);

/// Both boxes; they end when this value is dropped.
pub struct Kannel {
    boxes: Vec<Child>,
    folder: TempDir,
    /// Where applications submit.
    pub sendsms: u16,
    /// Where its SMSC, which is us, reports and hands messages over.
    pub smsc: u16,
}

/// Its account here, and ours there.
pub const USER: &str = "gateway";
pub const PASSWORD: &str = "open sesame";

impl Kannel {
    /// Starts one that sends to `http://127.0.0.1:<port>/d/kannel/` and hands what comes in to
    /// `/inbound` there; nothing, after saying why, where there is no Kannel.
    pub fn start(port: u16) -> Option<Kannel> {
        let (bearerbox, smsbox) = (tools::find("bearerbox")?, tools::find("smsbox")?);
        let folder = TempDir::new().unwrap();
        let [admin, inner, sendsms, smsc] = [free_port(), free_port(), free_port(), free_port()];
        let account = "username=gateway&password=open%20sesame";
        let usual = "from=%p&to=%P&text=%b&charset=%C&coding=%c&udh=%u&ts=%T&id=%I";
        let text = format!(
            "group = core\nadmin-port = {admin}\nadmin-password = x\nsmsbox-port = {inner}\n\
             log-file = {folder}/bearerbox.log\nlog-level = 0\ndlr-storage = internal\n\n\
             group = smsc\nsmsc = http\nsystem-type = kannel\nsmsc-id = us\n\
             send-url = \"http://127.0.0.1:{port}/d/kannel/\"\n\
             smsc-username = {USER}\nsmsc-password = \"{PASSWORD}\"\nport = {smsc}\n\
             dlr-url = \"http://127.0.0.1:{smsc}/?{account}\"\nconnect-allow-ip = 127.0.0.1\n\n\
             group = smsbox\nbearerbox-host = 127.0.0.1\nsendsms-port = {sendsms}\n\
             sendsms-interface = 127.0.0.1\nlog-file = {folder}/smsbox.log\nlog-level = 0\n\n\
             group = sendsms-user\nusername = {USER}\npassword = \"{PASSWORD}\"\n\
             max-messages = 10\nconcatenation = true\n\n\
             group = sms-service\nkeyword = default\nmax-messages = 3\n\
             get-url = \"http://127.0.0.1:{port}/inbound?{usual}\"\n",
            folder = folder.path().display(),
        );
        let file = folder.path().join("kannel.conf");
        std::fs::write(&file, text).unwrap();
        let mut kannel = Kannel { boxes: Vec::new(), folder, sendsms, smsc };
        kannel.run(&bearerbox, &file, &[inner, smsc]);
        kannel.run(&smsbox, &file, &[sendsms]);
        kannel.wait_for_its_users();
        Some(kannel)
    }

    /// A smsbox answers before it has read who may send, and refuses everybody until then; it
    /// connects to its bearerbox after that.
    fn wait_for_its_users(&self) {
        let started = Instant::now();
        while !self.log().contains("Connected to bearerbox") {
            assert!(started.elapsed() < START_LIMIT, "smsbox has no bearerbox:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn run(&mut self, program: &Path, file: &Path, ports: &[u16]) {
        let mut command = Command::new(program);
        command.arg(file).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.boxes.push(command.spawn().unwrap());
        let started = Instant::now();
        for port in ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err() {
                let is_late = started.elapsed() > START_LIMIT;
                assert!(!is_late, "{} does not start:\n{}", program.display(), self.log());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn log(&self) -> String {
        let read =
            |name: &str| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        read("bearerbox.log") + &read("smsbox.log")
    }

    /// What an application submits: its fields are encoded already.
    pub fn submit(&self, fields: &str) -> String {
        let uri = format!(
            "http://127.0.0.1:{}/cgi-bin/sendsms?username={USER}&password=open+sesame&{fields}",
            self.sendsms
        );
        let response = fetch(&Request::get(uri).body(Bytes::new()).unwrap());
        String::from_utf8(response.body().to_vec()).unwrap()
    }
}

impl Drop for Kannel {
    fn drop(&mut self) {
        for child in self.boxes.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            println!("the log of Kannel:\n{}", self.log());
        }
    }
}

/// What the server does with a request: a response, or none and the connection is closed.
pub type Answer = Box<dyn Fn(&Request<Bytes>) -> Option<Response<Bytes>> + Send>;

/// An HTTP server of ours, which keeps the requests until a test asks for them.
pub struct Server {
    pub port: u16,
    arrivals: Receiver<Request<Bytes>>,
    waiting: VecDeque<Request<Bytes>>,
}

impl Server {
    pub fn start(answer: Answer) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, arrivals) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serve(stream, &answer, &sender).is_none() {
                    return;
                }
            }
        });
        Server { port, arrivals, waiting: VecDeque::new() }
    }

    /// The next request whose path begins like this.
    pub fn next(&mut self, path: &str) -> Request<Bytes> {
        let is_it = |request: &Request<Bytes>| request.uri().path().starts_with(path);
        if let Some(at) = self.waiting.iter().position(is_it) {
            return self.waiting.remove(at).unwrap();
        }
        loop {
            let request = self.arrivals.recv_timeout(PATIENCE);
            let request = request.unwrap_or_else(|e| panic!("{path}: {e}; {:?}", self.waiting));
            if is_it(&request) {
                return request;
            }
            self.waiting.push_back(request);
        }
    }
}

/// One request on a connection; nothing when the test is over.
fn serve(mut stream: TcpStream, answer: &Answer, sender: &Sender<Request<Bytes>>) -> Option<()> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let Some((first, headers, body)) = read(&mut reader) else { return Some(()) };
    let mut words = first.split_whitespace();
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(body).unwrap();
    let answered = answer(&request);
    sender.send(request).ok()?;
    if let Some(response) = answered {
        let mut head = format!("HTTP/1.1 {}\r\nConnection: close\r\n", response.status());
        for (name, value) in response.headers() {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
        }
        head.push_str(&format!("Content-Length: {}\r\n\r\n", response.body().len()));
        let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(response.body()));
    }
    Some(())
}

/// One exchange on a connection of its own.
pub fn fetch(request: &Request<Bytes>) -> Response<Bytes> {
    let (uri, authority) = (request.uri(), request.uri().authority().unwrap());
    let mut stream = TcpStream::connect(authority.as_str()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = uri.path_and_query().unwrap();
    let method = request.method();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let (first, headers, body) = read(&mut BufReader::new(stream)).unwrap();
    let mut response = Response::builder().status(first.split_whitespace().nth(1).unwrap());
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body).unwrap()
}

type Message = (String, Vec<(String, String)>, Bytes);

/// First line, headers and body of a message.
fn read(reader: &mut impl BufRead) -> Option<Message> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line().filter(|line| !line.is_empty())?;
    let mut headers = Vec::new();
    while let Some((name, value)) = line()?.split_once(": ") {
        headers.push((name.to_owned(), value.to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length = length.map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, headers, body.into()))
}
