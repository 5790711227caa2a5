//! TLS from the first byte on the SMS port and on the public port of the whole daemon.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::{Value, json};

use super::support::daemon::{Daemon, Setup};
use super::support::sms_app::{TOKEN, signed, tables};
use super::support::sms_provider::{AUTH_TOKEN, SmsProvider};
use super::support::tools;

/// The first octets of a handshake, of which the rest never comes.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
const SLOW: usize = 200;
/// A handshake takes milliseconds; a slow one is cut after 15 seconds, and nobody may wait for that.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A daemon whose ports speak TLS, before this provider.
fn daemon(provider: &SmsProvider) -> Daemon {
    let mut tables = tables(provider);
    tables = tables.replace(
        "[[upstream]]",
        "[app.sms.vonage]\napi_key = \"key1\"\napi_secret = \"wordword\"\n[[upstream]]",
    );
    let tls = || "tls = \"implicit\"".to_owned();
    Daemon::start(&Setup {
        // Certificates are only written where a listener wants them.
        listeners: vec![("implicit", "off")],
        sms: tls(),
        public: tls(),
        ..Setup::for_sms(tables)
    })
}

/// One request over TLS that trusts this authority alone; gives the whole answer.
fn ask(port: u16, authority: &Path, request: &str) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = ClientConnection::new(Arc::new(config), name).unwrap();
    let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut stream = StreamOwned::new(client, socket);
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn sms(to: &str) -> String {
    let body = format!(r#"{{"to": "{to}", "from": "Example", "text": "Hello"}}"#);
    format!(
        "POST /v1/sms HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn handshakes_that_never_end_keep_nobody_from_being_served() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = daemon(&provider);
    let authority = &daemon.certificates.authority;
    for port in [daemon.sms(), daemon.public()] {
        let slow: Vec<TcpStream> = (0..SLOW)
            .map(|number| {
                let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
                socket.write_all(&HALF_A_HELLO[..number % HALF_A_HELLO.len()]).unwrap();
                socket
            })
            .collect();
        let started = Instant::now();
        let answer = ask(port, authority, &sms("+4512345678")).unwrap();
        assert!(started.elapsed() < AT_ONCE, "{:?}", started.elapsed());
        let expected = if port == daemon.sms() { "HTTP/1.1 201" } else { "HTTP/1.1 404" };
        assert!(answer.starts_with(expected), "{answer}");
        drop(slow);
    }
    runtime.block_on(provider.wait_for(|record| record.requests.len() == 1));
}

#[test]
fn who_speaks_no_tls_is_told_nothing_and_harms_nobody() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = daemon(&provider);
    for (port, said) in [
        (daemon.sms(), sms("+4512345678")),
        (daemon.public(), "GET / HTTP/1.1\r\n\r\n".to_owned()),
        (daemon.sms(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (daemon.sms(), "\u{16}\u{3}\u{1}\u{0}\u{0}".repeat(100)),
    ] {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        socket.write_all(said.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset is an end too.
        let ended = socket.read_to_end(&mut answer);
        let timed_out = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!timed_out, "the connection stays open");
        // A TLS alert (RFC 8446 §6) at most.
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
    }
    let other = super::support::tls::Authority::new().file();
    assert!(ask(daemon.sms(), other.path(), &sms("+4512345678")).is_err());
    let answer = ask(daemon.sms(), &daemon.certificates.authority, &sms("+4512345678")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(provider.requests().iter().all(|asked| asked.field("To").is_some()));
    assert_eq!(daemon.api("operator").all_messages("").len(), 1);
}

#[test]
fn a_callback_over_tls_is_proven_by_the_url_that_its_provider_sees() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = daemon(&provider);
    let inbound = [
        ("MessageSid", "SMaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        ("From", "+4512345678"),
        ("To", "+4521000000"),
        ("Body", "Hello"),
    ];
    let url = |scheme| format!("{scheme}://127.0.0.1:{}", daemon.public());
    let path = "/hooks/provider/inbound";
    for (scheme, status) in [("http", "403"), ("https", "200")] {
        let request = signed(&url(scheme), path, &inbound, AUTH_TOKEN);
        let answer = ask(daemon.public(), &daemon.certificates.authority, &request).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    }
    assert_eq!(daemon.api("operator").all_messages("&direction=inbound").len(), 1);
}

/// Where the vendors' Python libraries are, if they are installed.
fn python(module: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let python = target.join("sms_clients/python/bin/python");
    let find =
        "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)";
    let is_there = python.is_file()
        && Command::new(&python).args(["-c", find, module]).status().is_ok_and(|s| s.success());
    if !is_there {
        tools::skip(&format!(
            "the Python library {module} is not installed (tests/sms_clients/install does it)"
        ));
    }
    is_there.then_some(python)
}

#[test]
fn python_itself_reaches_us_when_it_trusts_our_authority() {
    let Some(python) = tools::find("python3") else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = daemon(&provider);
    let script = "import json, ssl, sys, urllib.request\n\
        _, url, token, authority = sys.argv\n\
        trust = ssl.create_default_context(cafile=authority)\n\
        body = json.dumps({'to': '+4512345678', 'from': 'Example', 'text': 'Hej'}).encode()\n\
        headers = {'Authorization': 'Bearer ' + token, 'Content-Type': 'application/json'}\n\
        asked = urllib.request.Request(url + '/v1/sms', body, headers)\n\
        print(urllib.request.urlopen(asked, context=trust, timeout=30).status)\n";
    let url = format!("https://localhost:{}", daemon.sms());
    let mut command = Command::new(python);
    command.args(["-c", script, &url, TOKEN]).arg(&daemon.certificates.authority);
    assert_eq!(tools::run(&mut command, &[]).trim(), "201");
    runtime.block_on(provider.wait_for(|record| record.requests.len() == 1));
}

/// These libraries speak nothing but https.
#[test]
fn vonages_python_libraries_send_without_anything_in_between() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let provider = runtime.block_on(SmsProvider::start());
    let daemon = daemon(&provider);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients/sms_vonage.py");
    let mut sent = 0;
    for library in ["vonage", "nexmo"] {
        let Some(python) = python(library) else { continue };
        let job = json!([{
            "library": library, "action": "send", "key": "key1", "secret": "wordword",
            "base": format!("https://localhost:{}", daemon.sms()),
            "fields": { "from": "Example", "to": "4512345678", "text": format!("Hej {library}") },
        }]);
        let mut command = Command::new(python);
        command.env("REQUESTS_CA_BUNDLE", &daemon.certificates.authority);
        let said = tools::run(command.arg(&script).arg(job.to_string()), &[]);
        let said: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
        assert_eq!(said["answer"]["messages"][0]["status"], "0", "{said}");
        sent += 1;
        runtime.block_on(provider.wait_for(|record| record.requests.len() == sent));
    }
}
