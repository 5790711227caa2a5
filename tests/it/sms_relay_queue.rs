//! SMS in the queue, beside mail: sent once, proven, stopped when somebody must not be written to,
//! ended when their validity is over, and in nobody's way.

use std::time::Duration;

use waybill::archive::{ActionKind, Archive, MessagePolicy, Suppression};
use waybill::model::{
    Cause, Channel, EventKind, FailureReason, Hold, MessageId, RecipientState, Status,
};

use crate::support::queue::{
    Setup, accept, accept_many, act, assert_proven, count, events, get, has_event, kinds, now,
    open, until, until_sent,
};
use crate::support::sink::{Script, Sink};
use crate::support::sms::{
    DESTINATION, ORIGINATOR, impatient, message, patient, relay, sms, sms_to, with,
};
use crate::support::sms_provider::{Answer, SmsProvider};

/// One provider serves all.
fn one(provider: &SmsProvider) -> Setup {
    Setup::new(Vec::new()).provider(relay(provider.upstream("p")))
}

async fn suppress(archive: &Archive, channel: Channel, recipient: &str, originator: Option<&str>) {
    let entry = Suppression {
        channel,
        recipient: recipient.into(),
        originator: originator.map(str::to_owned),
        reason: "STOP".into(),
        by: "user anna".into(),
        at: now(),
        expires_at: None,
    };
    assert!(archive.suppress(entry).await.unwrap());
}

async fn until_state(archive: &Archive, id: MessageId, wanted: fn(&RecipientState) -> bool) {
    until(archive, "another state", |a| wanted(&get(a, id).recipients[0].state)).await;
}

#[tokio::test]
async fn an_sms_is_sent_once_and_its_text_is_proven() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    let work = one(&provider).start(&archive);
    let id = accept(&archive, message(sms("Hej æøå €"))).await;
    until_sent(&archive, 1).await;
    let stored = get(&archive, id);
    assert_proven(&archive, &stored, "Hej æøå €".as_bytes());
    let record = provider.record();
    assert_eq!(record.requests.len(), 1);
    assert_eq!(record.requests[0].field("Body").unwrap(), "Hej æøå €");
    let parts: Vec<&str> =
        stored.recipients[0].parts.iter().map(|part| part.provider_id.as_str()).collect();
    assert_eq!(parts, record.ids);
    assert_eq!(kinds(&archive, id), ["accepted", "sent"]);
    work.stop().await;
    provider.wait_for(|record| record.open == 0).await;
}

#[tokio::test]
async fn a_provider_that_hangs_delays_neither_mail_nor_other_providers() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let (hole, good) = (SmsProvider::start().await, SmsProvider::start().await);
    hole.always(Answer::Hang);
    let sink = Sink::start(Script::new()).await;
    let mail = crate::support::queue::upstream("mail", sink.address, 2);
    let work = Setup::new(vec![mail])
        .provider(relay(hole.upstream("hole")))
        .provider(relay(good.upstream("good")))
        .route("+4511*", &["hole"])
        .route("+45*", &["good"])
        .route("*", &["mail"])
        .start(&archive);
    for number in 0..20 {
        accept(&archive, message(sms_to("+4511111111", &format!("stuck {number}")))).await;
    }
    hole.wait_for(|record| record.requests.len() == 4).await;
    for number in 0..20 {
        accept(&archive, message(sms_to("+4522222222", &format!("free {number}")))).await;
    }
    accept_many(&archive, 20, "mail", "kim@x.test").await;
    until_sent(&archive, 40).await;
    assert_eq!((good.requests().len(), sink.messages().len()), (20, 20));
    assert_eq!((hole.requests().len(), count(&archive, Status::Pending)), (4, 20));
    // The attempts that hang are given up with the test.
    drop((work, hole));
}

#[tokio::test]
async fn an_unknown_outcome_waits_for_a_person() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    provider.answers([Answer::CloseAfterReading]);
    let work = one(&provider).start(&archive);
    let id = accept(&archive, message(sms("once"))).await;
    until_state(&archive, id, |state| matches!(state, RecipientState::Held { hold: Hold::Manual }))
        .await;
    assert!(get(&archive, id).recipients[0].possible_duplicate);
    accept(&archive, message(sms("another"))).await;
    until_sent(&archive, 1).await;
    let bodies: Vec<_> = provider.requests().iter().map(|asked| asked.field("Body")).collect();
    assert_eq!(bodies, [Some("once".into()), Some("another".into())]);
    // A person decides that it is sent again.
    act(&archive, ActionKind::Release, id).await.unwrap();
    until_sent(&archive, 2).await;
    assert_eq!(provider.requests().len(), 3);
    work.stop().await;
}

#[tokio::test]
async fn a_crash_while_the_provider_is_asked_leaves_it_for_a_person() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    provider.answers([Answer::Hang]);
    let work = one(&provider).start(&archive);
    let id = accept(&archive, message(sms("once"))).await;
    provider.wait_for(|record| record.requests.len() == 1).await;
    // Nobody judges it: as if the process had ended here.
    let again = one(&provider).start(&archive);
    until_state(&archive, id, |state| matches!(state, RecipientState::Held { .. })).await;
    assert!(get(&archive, id).recipients[0].possible_duplicate);
    assert_eq!(provider.requests().len(), 1);
    again.stop().await;
    drop(work);
}

#[tokio::test]
async fn a_wrong_password_at_one_provider_makes_the_next_one_carry_it() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&dir);
    let (first, second) = (SmsProvider::start().await, SmsProvider::start().await);
    first.always(Answer::Unauthorised);
    let work = Setup::new(Vec::new())
        .provider(relay(first.upstream("first")))
        .provider(relay(second.upstream("second")))
        .start(&archive);
    for number in 0..20 {
        accept(&archive, message(sms(&format!("text {number}")))).await;
    }
    until_sent(&archive, 20).await;
    assert_eq!(second.requests().len(), 20);
    // Attempts that were under way when the breaker opened come beside the five.
    assert!(first.requests().len() <= 5 + 4, "{}", first.requests().len());
    work.stop().await;
}

#[tokio::test]
async fn nobody_on_the_suppression_list_is_written_to() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    let sink = Sink::start(Script::new()).await;
    let mut held = message(sms("held"));
    held.recipients[0].state = RecipientState::Held { hold: Hold::Manual };
    let held = accept(&archive, held).await;
    suppress(&archive, Channel::Sms, DESTINATION, Some(ORIGINATOR)).await;
    suppress(&archive, Channel::Email, "kim@x.test", None).await;
    let mail = crate::support::queue::upstream("mail", sink.address, 2);
    let setup = Setup::new(vec![mail]).provider(relay(provider.upstream("p")));
    let work = setup.start(&archive);
    let mut other = sms("from somebody else");
    other.originator = waybill::model::Originator::parse("Example");
    accept(&archive, message(other)).await;
    let recipients = ["Kim@X.test", "bo@x.test"];
    let mail = crate::support::queue::message("two", &recipients);
    let mail = accept(&archive, mail).await;
    until_sent(&archive, 2).await;
    act(&archive, ActionKind::Release, held).await.unwrap();
    until_state(&archive, held, |state| matches!(state, RecipientState::Stopped { .. })).await;
    until(&archive, "noted", |a| has_event(a, held, EventKind::Suppressed)).await;
    let RecipientState::Stopped { by, .. } = &get(&archive, held).recipients[0].state else {
        panic!("it was not stopped")
    };
    assert_eq!(by, "suppression list");
    let RecipientState::NotSent { why } = &get(&archive, mail).recipients[0].state else {
        panic!("it was not left out")
    };
    assert!(why.starts_with("on the suppression list: "), "{why}");
    assert!(has_event(&archive, mail, EventKind::Suppressed));
    let [received] = &sink.messages()[..] else { panic!("one mail") };
    assert!(format!("{received:?}").contains("bo@x.test"));
    assert_eq!(provider.requests().len(), 1);
    work.stop().await;
}

#[tokio::test]
async fn who_opted_out_at_the_provider_is_not_written_to_again() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    provider.answers([Answer::Refuse(21610, "unsubscribed recipient")]);
    let work = one(&provider).start(&archive);
    let first = accept(&archive, message(sms("first"))).await;
    until(&archive, "learned", |a| {
        a.suppressed(Channel::Sms, DESTINATION, Some(ORIGINATOR), now()).unwrap().is_some()
    })
    .await;
    let entry = archive.suppressed(Channel::Sms, DESTINATION, Some(ORIGINATOR), now());
    let entry = entry.unwrap().unwrap();
    assert_eq!(entry.by, "upstream p");
    assert_eq!(entry.reason, "the provider says that the recipient opted out");
    let RecipientState::Failed { cause, .. } = &get(&archive, first).recipients[0].state else {
        panic!("it did not fail")
    };
    assert!(matches!(cause, Cause::Undelivered { reason: FailureReason::OptedOut, .. }));
    let second = accept(&archive, message(sms("second"))).await;
    until_state(&archive, second, |state| matches!(state, RecipientState::Stopped { .. })).await;
    assert_eq!(provider.requests().len(), 1);
    work.stop().await;
}

#[tokio::test]
async fn what_is_no_longer_valid_is_not_sent() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    let work = one(&provider).start(&archive);
    let mut held = message(sms("held"));
    let waybill::model::Medium::Sms(inner) = &mut held.medium else { unreachable!() };
    inner.valid_until = Some(now().plus(Duration::from_millis(300)));
    held.recipients[0].state = RecipientState::Held { hold: Hold::Manual };
    let held = accept(&archive, held).await;
    until_state(&archive, held, |state| matches!(state, RecipientState::Failed { .. })).await;
    assert!(has_event(&archive, held, EventKind::Expired), "{:?}", events(&archive, held));
    assert_eq!(provider.requests().len(), 0);
    work.stop().await;
}

#[tokio::test]
async fn what_may_be_tried_again_is_tried_again() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    provider.answers([Answer::Say(503, "{}"), Answer::Hang, Answer::Accept]);
    let setup = Setup::new(Vec::new()).provider(with(provider.upstream("p"), impatient()));
    let work = setup.start(&archive);
    // This app accepts a text twice rather than never.
    let mut bold = message(sms("Hello"));
    bold.policy = MessagePolicy { hold_unknown: false, ..bold.policy };
    let id = accept(&archive, bold).await;
    until_sent(&archive, 1).await;
    assert_eq!(kinds(&archive, id), ["accepted", "deferred", "attempted", "sent"]);
    assert!(get(&archive, id).recipients[0].possible_duplicate);
    assert_eq!(provider.requests().len(), 3);
    work.stop().await;
}

#[tokio::test]
async fn a_daemon_that_stops_lets_the_provider_answer() {
    let (dir, provider) = (tempfile::tempdir().unwrap(), SmsProvider::start().await);
    let archive = open(&dir);
    provider.always(Answer::After(Duration::from_millis(300), Box::new(Answer::Accept)));
    let setup = Setup::new(Vec::new()).provider(with(provider.upstream("p"), patient()));
    let work = setup.start(&archive);
    accept(&archive, message(sms("Hello"))).await;
    provider.wait_for(|record| record.requests.len() == 1).await;
    work.stop().await;
    assert_eq!(count(&archive, Status::Sent), 1);
}
