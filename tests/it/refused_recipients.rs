//! A recipient whom the upstream refuses because there is no such mailbox gets no more mail, as after a bounce
//! that says the same; and nobody is silenced by anything else that an upstream says.

use std::time::Duration;

use waybill::archive::{Action, ActionKind, Archive, Suppression};
use waybill::model::{Channel, EventKind, Medium, MessageId, ReversePath, Status};

use super::support::queue::{
    Setup, accept, act, count, events, get, has_event, kinds, message, now, open, until, upstream,
};
use super::support::sink::{END_OF_DATA, Script, Sink};

const NINETY_DAYS: Duration = Duration::from_secs(90 * 86_400);

fn list(archive: &Archive) -> Vec<Suppression> {
    archive.suppressions(Some(Channel::Email), None, None, 100).unwrap().items
}

async fn until_failed(archive: &Archive, failed: usize) {
    until(archive, &format!("{failed} failed"), |a| count(a, Status::Failed) == failed).await;
}

/// What the history says of the failure.
fn why(archive: &Archive, id: MessageId) -> String {
    let failed = events(archive, id).into_iter().find(|event| event.kind == EventKind::Failed);
    failed.and_then(|event| event.detail).unwrap_or_default()
}

#[tokio::test]
async fn only_a_refusal_of_the_mailbox_itself_silences_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let script = Script::new()
        .say("RCPT TO:<plain@", "550 no such user here")
        .say("RCPT TO:<policy@", "550 5.7.1 5.1.1 not from you")
        .say("RCPT TO:<domain@", "550 5.1.2 no such domain")
        .say("RCPT TO:<full@", "552 5.2.2 mailbox full")
        .say("MAIL FROM:<nobody@", "550 5.1.1 no such sender");
    let sink = Sink::start(script).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    let to = ["plain@x.test", "policy@x.test", "domain@x.test", "full@x.test"];
    accept(&archive, message("one", &to)).await;
    until_failed(&archive, 4).await;
    let mut unwanted = message("two", &["kim@x.test"]);
    let Medium::Mail(envelope) = &mut unwanted.medium else { panic!() };
    envelope.reverse_path = ReversePath::parse("nobody@example.com").unwrap();
    accept(&archive, unwanted).await;
    until_failed(&archive, 5).await;
    work.stop().await;
    // The message as a whole is refused in these words.
    let sink = Sink::start(Script::new().say(END_OF_DATA, "550 5.1.1 no such user")).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    accept(&archive, message("three", &["kim@x.test"])).await;
    until_failed(&archive, 6).await;
    assert_eq!(list(&archive), []);
    work.stop().await;
}

#[tokio::test]
async fn who_does_not_exist_gets_no_more_mail_unless_a_person_wants_it() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new().say("RCPT TO:<no@", "550 5.1.1 no such user")).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    let id = accept(&archive, message("one", &["yes@x.test", "No@X.test"])).await;
    until_failed(&archive, 1).await;
    until(&archive, "one sent", |a| count(a, Status::Sent) == 1).await;
    let [entry] = &list(&archive)[..] else { panic!("{:?}", list(&archive)) };
    assert_eq!((entry.recipient.as_str(), entry.originator.as_deref()), ("no@x.test", None));
    assert_eq!((entry.by.as_str(), entry.expires_at), ("bounce", Some(entry.at.plus(NINETY_DAYS))));
    assert_eq!(entry.reason, "bounce: a refused it: 550 5.1.1 no such user");
    let said = "RCPT was refused; the address is on the suppression list now";
    assert_eq!(why(&archive, id), said);

    // Neither the next message nor the same one again goes there by itself.
    let next = accept(&archive, message("two", &["no@x.test"])).await;
    until(&archive, "left out", |a| has_event(a, next, EventKind::Suppressed)).await;
    assert_eq!(get(&archive, next).status(), Status::NotSent);
    act(&archive, ActionKind::Restart, id).await.unwrap();
    until(&archive, "left out", |a| has_event(a, id, EventKind::Suppressed)).await;
    // A person who knows better says why, and then it goes.
    let restart = Action {
        kind: ActionKind::Restart,
        message: id,
        recipients: Some(vec![1]),
        by: "user anna".into(),
        reason: Some("the mailbox is there now".into()),
        at: now(),
    };
    archive.act(restart).await.unwrap().unwrap();
    until_failed(&archive, 1).await;
    let told = ["failed", "restarted", "suppressed", "restarted", "failed"];
    let of_it: Vec<_> =
        kinds(&archive, id).into_iter().filter(|kind| told.contains(kind)).collect();
    assert_eq!(of_it, told);
    assert_eq!(list(&archive).len(), 1);
    work.stop().await;
}

#[tokio::test]
async fn an_upstream_that_refuses_everybody_does_not_silence_the_whole_list() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let sink = Sink::start(Script::new().say("RCPT TO:<u", "550 5.1.1 no such user")).await;
    let work = Setup::new(vec![upstream("a", sink.address, 1)]).start(&archive);
    for number in 0..30 {
        let to = format!("u{number}@x.test");
        accept(&archive, message("one", &[&to])).await;
        until_failed(&archive, number + 1).await;
    }
    assert_eq!(list(&archive).len(), 10);
    // As soon as it takes somebody, it is believed again.
    accept(&archive, message("one", &["kim@x.test"])).await;
    until(&archive, "one sent", |a| count(a, Status::Sent) == 1).await;
    accept(&archive, message("one", &["u99@x.test"])).await;
    until_failed(&archive, 31).await;
    assert_eq!(list(&archive).len(), 11);
    // One that takes others of the same transaction can tell them apart.
    let mut to: Vec<String> = (40..60).map(|number| format!("u{number}@x.test")).collect();
    to.push("kim@x.test".into());
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    accept(&archive, message("many", &to)).await;
    until_failed(&archive, 51).await;
    assert_eq!(list(&archive).len(), 31);
    work.stop().await;
}
