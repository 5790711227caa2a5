//! Plays a dialog with the SMTP port over a real socket; the door records what it gets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use waybill::intake::Submission;
use waybill::model::{EnhancedCode, Reply};
use waybill::net::{Stop, TlsSettings};
use waybill::policy::Apps;
use waybill::smtp::AuthOffer;
use waybill::submission::settings::{AuthMode, ListenerTls, SmtpListener};
use waybill::submission::{Door, SmtpServer, SmtpSettings};

use super::script::{Script, Step, Tls, matches};
use super::{Delivered, app, describe};

/// Longer than any reply takes, and short enough that a missing one is noticed.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
struct RecordingDoor {
    reply: Reply,
    delivered: Arc<Mutex<Vec<Delivered>>>,
}

impl Door for RecordingDoor {
    fn has_room(&self) -> bool {
        true
    }

    async fn submit(&self, submission: Submission) -> Reply {
        self.delivered.lock().unwrap().push(Delivered {
            envelope: submission.envelope,
            protocol: submission.client.protocol,
            content: submission.raw.to_vec(),
        });
        self.reply.clone()
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}
type Client = BufReader<Box<dyn Stream>>;

pub async fn play(script: &Script) {
    let folder = tempfile::tempdir().unwrap();
    let generated = rcgen::generate_simple_self_signed(["gateway.example".into()]).unwrap();
    let path = |name: &str| folder.path().join(name);
    let tls = TlsSettings { certificate: path("certificate.pem"), key: path("key.pem") };
    std::fs::write(&tls.certificate, generated.cert.pem()).unwrap();
    std::fs::write(&tls.key, generated.signing_key.serialize_pem()).unwrap();
    let tls = waybill::net::Tls::load(tls).unwrap();

    let (code, enhanced, text) = &script.setup.door;
    let reply = Reply::new(*code, EnhancedCode::parse(enhanced), text);
    let door = RecordingDoor { reply, delivered: Arc::default() };
    let apps = Arc::new(ArcSwap::from_pointee(Apps(vec![app(script)])));
    let server = SmtpServer::bind(settings(script), Some(tls), apps, door.clone(), path("spool"))
        .await
        .unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, server.addresses()[0].port()));
    let stop = Stop::new();
    server.run(&stop);

    let plain = TcpStream::connect(address).await.unwrap();
    let mut client: Client = BufReader::new(Box::new(plain));
    if script.setup.tls == Tls::Implicit {
        client = handshake(client, generated.cert.der().clone()).await;
    }
    for (number, step) in &script.steps {
        let place = format!("{}:{number} (socket)", script.name);
        match step {
            Step::Handshake => client = handshake(client, generated.cert.der().clone()).await,
            step => step_over_socket(&place, step, &mut client, &door).await,
        }
    }
    let more = timeout(Duration::from_millis(1), client.fill_buf()).await;
    assert!(
        !matches!(more, Ok(Ok(octets)) if !octets.is_empty()),
        "{}: more was said",
        script.name
    );
    drop(client);
    assert!(stop.finish(PATIENCE).await, "{}: the session does not end", script.name);
}

async fn step_over_socket(place: &str, step: &Step, client: &mut Client, door: &RecordingDoor) {
    match step {
        Step::Send(octets) => {
            client.write_all(octets).await.unwrap();
            client.flush().await.unwrap();
        }
        Step::Expect(pattern) => {
            let line = next_line(place, client).await;
            assert!(matches(pattern, &line), "{place}: {line:?}, and not {pattern:?}");
        }
        Step::ExpectAll(code) => loop {
            let line = next_line(place, client).await;
            assert!(line.starts_with(code.as_str()), "{place}: {line:?}, and not {code}");
            if line.as_bytes().get(3) == Some(&b' ') {
                break;
            }
        },
        Step::Closed => {
            let mut rest = Vec::new();
            let read = timeout(PATIENCE, client.read_to_end(&mut rest)).await;
            assert!(read.is_ok() && rest.is_empty(), "{place}: not closed");
        }
        Step::Envelope(expected) => {
            assert_eq!(describe(&door.delivered.lock().unwrap()[0].envelope), *expected, "{place}");
        }
        Step::Protocol(expected) => {
            assert_eq!(door.delivered.lock().unwrap()[0].protocol, *expected, "{place}");
        }
        Step::Message(expected) => {
            let content = door.delivered.lock().unwrap().remove(0).content;
            assert_eq!(
                content.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{place}"
            );
        }
        Step::Handshake => unreachable!(),
    }
}

async fn next_line(place: &str, client: &mut Client) -> String {
    let mut line = String::new();
    let read = timeout(PATIENCE, client.read_line(&mut line)).await;
    read.unwrap_or_else(|_| panic!("{place}: no reply")).unwrap();
    line.trim_end_matches("\r\n").to_owned()
}

async fn handshake(client: Client, root: rustls::pki_types::CertificateDer<'static>) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("gateway.example").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, client.into_inner());
    BufReader::new(Box::new(stream.await.unwrap()))
}

fn settings(script: &Script) -> SmtpSettings {
    let setup = &script.setup;
    // AUTH in clear is for loopback listeners only; any other address is reached over loopback too.
    let ip = if setup.clear { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
    let listener = SmtpListener {
        listen: SocketAddr::from((ip, 0)),
        tls: match setup.tls {
            Tls::Off => ListenerTls::Off,
            Tls::StartTls => ListenerTls::StartTls,
            Tls::Implicit => ListenerTls::Implicit,
        },
        auth: match setup.auth {
            AuthOffer::Off => AuthMode::Off,
            AuthOffer::Optional => AuthMode::Optional,
            AuthOffer::Required => AuthMode::Required,
        },
    };
    SmtpSettings {
        listeners: vec![listener],
        hostname: "gateway.example".into(),
        greeting: "ESMTP Waybill".into(),
        max_message_size_bytes: setup.max_size,
        max_recipients: setup.max_recipients,
        max_connections: 10,
        max_connections_per_client: 10,
        max_errors: setup.max_errors,
        timeout: Duration::from_secs(60),
        bare_newline: setup.newlines,
    }
}
