//! Encryption is what the configuration says it is, also against a man in the middle.

use waybill::relay::settings::{SmtpUpstream, UpstreamTls};
use waybill::relay::{RelayError, SmtpRelay};

use crate::support::sink::{Action, Script, Sink};
use crate::support::tls::Authority;
use crate::support::upstream::{
    MESSAGE, assert_outcomes, attempt, credential, impatient, relay, settings, transaction,
};

/// One attempt with a credential; the outcome in words.
async fn send(settings: SmtpUpstream) -> String {
    let settings = SmtpUpstream { credential: credential("erp", "secret"), ..settings };
    attempt(&relay(settings), &transaction(&["a@x.test"], MESSAGE)).await.remove(0)
}

/// An upstream named `localhost`, where the certificates of these tests are good.
fn upstream(sink: &Sink, tls: UpstreamTls) -> SmtpUpstream {
    SmtpUpstream { host: "localhost".into(), tls, ..settings(sink.address) }
}

fn said(sink: &Sink, text: &str) -> bool {
    let wires = sink.record().wires;
    wires.iter().any(|wire| memchr::memmem::find(wire, text.as_bytes()).is_some())
}

#[tokio::test]
async fn required_tls_checks_whose_certificate_it_is() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let script = || Script::new().auth("erp", "secret");
    for (tls, wrong_name, right) in [
        (
            UpstreamTls::StartTls,
            script().start_tls(ours.server("other.test")),
            script().start_tls(ours.server("localhost")),
        ),
        (
            UpstreamTls::Implicit,
            script().implicit_tls(ours.server("other.test")),
            script().implicit_tls(ours.server("localhost")),
        ),
    ] {
        let root = ours.file();
        let trusting =
            |sink: &Sink| SmtpUpstream { tls_ca: Some(root.path().into()), ..upstream(sink, tls) };

        let sink = Sink::start(wrong_name).await;
        let outcome = send(trusting(&sink)).await;
        assert!(outcome.starts_with("temporary upstream") && outcome.contains("name"), "{outcome}");
        assert!(!said(&sink, "AUTH") && !said(&sink, "MAIL"));

        let sink = Sink::start(right).await;
        let outcome = send(upstream(&sink, tls)).await;
        assert!(outcome.contains("unknownissuer"), "{outcome}");
        let foreign = theirs.file();
        let stranger = SmtpUpstream { tls_ca: Some(foreign.path().into()), ..upstream(&sink, tls) };
        assert!(send(stranger).await.starts_with("temporary upstream"));
        assert!(!said(&sink, "AUTH") && sink.messages().is_empty());

        let outcome = send(trusting(&sink)).await;
        assert!(outcome.starts_with("sent"), "{outcome}");
        let message = &sink.messages()[0];
        assert!(message.tls && message.authenticated);
    }
}

#[tokio::test]
async fn an_address_is_a_name_too() {
    let authority = Authority::new();
    let root = authority.file();
    let sink = Sink::start(Script::new().implicit_tls(authority.server("127.0.0.1"))).await;
    let by_address = SmtpUpstream {
        tls: UpstreamTls::Implicit,
        tls_ca: Some(root.path().into()),
        ..settings(sink.address)
    };
    let outcomes = attempt(&relay(by_address), &transaction(&["a@x.test"], MESSAGE)).await;
    assert_outcomes(&outcomes, &["sent"]);
}

#[tokio::test]
async fn required_tls_never_falls_back() {
    let authority = Authority::new();
    let root = authority.file();
    let server = || authority.server("localhost");
    let scripts = [
        ("the upstream does not offer starttls", Script::new()),
        ("454", Script::new().start_tls(server()).say("STARTTLS", "454 4.7.0 not now")),
        ("", Script::new().start_tls(server()).on("STARTTLS", Action::Close)),
        ("", Script::new().start_tls(server()).say("STARTTLS", "220 go, but in clear")),
        ("", Script::new().say("EHLO", "502 no")),
    ];
    for (words, script) in scripts {
        let sink = Sink::start(script).await;
        let settings = SmtpUpstream {
            host: "localhost".into(),
            tls: UpstreamTls::StartTls,
            tls_ca: Some(root.path().into()),
            ..impatient(sink.address)
        };
        let outcome = send(settings).await;
        assert!(outcome.starts_with("temporary upstream") && outcome.contains(words), "{outcome}");
        assert!(!said(&sink, "AUTH") && !said(&sink, "MAIL"));
    }
}

#[tokio::test]
async fn what_came_in_clear_behind_starttls_is_forgotten() {
    let authority = Authority::new();
    let root = authority.file();
    // A man in the middle answers the EHLO that is to come, and hides what the server offers.
    let injected = b"250-sink.test\r\n250 SIZE 1\r\n".to_vec();
    let script = Script::new()
        .start_tls(authority.server("localhost"))
        .on("STARTTLS", Action::Inject(injected));
    let sink = Sink::start(script).await;
    let trusting =
        SmtpUpstream { tls_ca: Some(root.path().into()), ..upstream(&sink, UpstreamTls::StartTls) };
    let relay = relay(trusting);
    let outcomes = attempt(&relay, &transaction(&["a@x.test"], MESSAGE)).await;
    assert_outcomes(&outcomes, &["sent"]);
    let message = &sink.messages()[0];
    assert!(message.tls && message.mail.contains("SIZE=25"), "{}", message.mail);
}

#[tokio::test]
async fn only_what_is_offered_inside_tls_counts() {
    let authority = Authority::new();
    let root = authority.file();
    let lie = "250-sink.test\r\n250-STARTTLS\r\n250-SIZE 1\r\n250 AUTH PLAIN";
    let script = Script::new().without("SIZE").start_tls(authority.server("localhost")).on_first(
        1,
        "EHLO",
        Action::Say(lie.into()),
    );
    let sink = Sink::start(script).await;
    let trusting =
        SmtpUpstream { tls_ca: Some(root.path().into()), ..upstream(&sink, UpstreamTls::StartTls) };
    assert_outcomes(
        &attempt(&relay(trusting.clone()), &transaction(&["a@x.test"], MESSAGE)).await,
        &["sent"],
    );
    // AUTH was offered in clear alone, so the credential is not shown to anybody.
    let outcome = send(trusting).await;
    assert!(outcome.starts_with("temporary upstream auth failed"), "{outcome}");
    assert!(!said(&sink, "AUTH"));
}

#[tokio::test]
async fn opportunistic_tls_takes_what_there_is() {
    let authority = Authority::new();
    let server = || authority.server("other.test");
    let opportunistic = |sink: &Sink| upstream(sink, UpstreamTls::Opportunistic);

    // Any certificate, and then AUTH.
    let sink = Sink::start(Script::new().start_tls(server()).auth("erp", "secret")).await;
    assert!(send(opportunistic(&sink)).await.starts_with("sent"));
    assert!(sink.messages()[0].tls && sink.messages()[0].authenticated);

    // Not offered, or broken: clear text, without AUTH.
    for script in [
        Script::new().with("AUTH PLAIN LOGIN"),
        Script::new().with("AUTH PLAIN").start_tls(server()).say("STARTTLS", "454 4.7.0 not now"),
        Script::new().with("AUTH PLAIN").start_tls(server()).on("STARTTLS", Action::Close),
        Script::new()
            .with("AUTH PLAIN")
            .start_tls(server())
            .on("STARTTLS", Action::Raw(b"220 go\r\n".to_vec())),
    ] {
        let sink = Sink::start(script).await;
        let mut settings = opportunistic(&sink);
        settings.timeouts.command = std::time::Duration::from_secs(2);
        let outcome = send(settings).await;
        assert!(outcome.starts_with("sent"), "{outcome}");
        let message = &sink.messages()[0];
        assert!(!message.tls && !message.authenticated);
        assert!(!said(&sink, "AUTH "));
    }

    // A server that wants AUTH then says so, and that is no failure of the mail.
    let sink = Sink::start(Script::new().auth("erp", "secret")).await;
    let outcome = send(opportunistic(&sink)).await;
    assert!(outcome.starts_with("temporary upstream 530"), "{outcome}");
    assert!(!said(&sink, "AUTH "));
}

#[tokio::test]
async fn auth_in_clear_only_where_it_is_written() {
    let sink = Sink::start(Script::new().auth("erp", "secret")).await;
    assert!(send(upstream(&sink, UpstreamTls::Off)).await.starts_with("sent"));
    assert!(!sink.messages()[0].tls && sink.messages()[0].authenticated);
    // Mechanisms that cannot be finished are not begun.
    let foreign = "250-sink.test\r\n250 AUTH DIGEST-MD5 CRAM-MD5 XOAUTH2";
    let sink = Sink::start(Script::new().auth("erp", "secret").say("EHLO", foreign)).await;
    let outcome = send(upstream(&sink, UpstreamTls::Off)).await;
    assert!(outcome.starts_with("temporary upstream auth failed"), "{outcome}");
    assert!(!said(&sink, "AUTH"));
    // A server that only knows LOGIN.
    let login = "250-sink.test\r\n250 AUTH LOGIN";
    let sink = Sink::start(Script::new().auth("erp", "secret").say("EHLO", login)).await;
    assert!(send(upstream(&sink, UpstreamTls::Off)).await.starts_with("sent"));
}

#[tokio::test]
async fn tls_connections_are_reused_and_carry_large_messages() {
    let authority = Authority::new();
    let root = authority.file();
    let sink = Sink::start(Script::new().start_tls(authority.server("localhost"))).await;
    let trusting =
        SmtpUpstream { tls_ca: Some(root.path().into()), ..upstream(&sink, UpstreamTls::StartTls) };
    let relay = relay(trusting);
    let large = b"A line of a large message, which is not that long.\r\n".repeat(60_000);
    for message in [MESSAGE, &large, MESSAGE] {
        let outcomes = attempt(&relay, &transaction(&["a@x.test", "b@x.test"], message)).await;
        assert_outcomes(&outcomes, &["sent"; 2]);
        assert!(sink.messages().last().unwrap().bytes == message);
    }
    assert_eq!(sink.record().connections, 1);
}

#[test]
fn a_wrong_set_up_is_told_before_anything_is_sent() {
    let address = "127.0.0.1:25".parse().unwrap();
    let error = |change: fn(&mut SmtpUpstream)| {
        let mut settings = SmtpUpstream { tls: UpstreamTls::StartTls, ..settings(address) };
        change(&mut settings);
        SmtpRelay::new(settings).err()
    };
    assert!(matches!(
        error(|s| s.tls_ca = Some("/nowhere/ca.pem".into())),
        Some(RelayError::ReadRoots { .. })
    ));
    assert!(matches!(
        error(|s| s.tls_ca = Some("Cargo.toml".into())),
        Some(RelayError::NoRoots { .. })
    ));
    assert!(matches!(error(|s| s.host = "two words".into()), Some(RelayError::Host { .. })));
    assert!(matches!(error(|s| s.host = "a\r\nb".into()), Some(RelayError::Host { .. })));
    assert!(matches!(
        error(|s| s.hostname = "x\r\nRSET".into()),
        Some(RelayError::Hostname { .. })
    ));
    assert!(matches!(error(|s| s.hostname = String::new()), Some(RelayError::Hostname { .. })));
    assert!(error(|s| s.hostname = "[127.0.0.1]".into()).is_none());
    assert!(error(|s| s.host = "[::1]".into()).is_none());
}
