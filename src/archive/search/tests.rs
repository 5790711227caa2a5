//! The index gives the same messages as a look at each of them, over messages made up from one seed;
//! over real mail see `archive::tests::corpus`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::archive::tests::{acceptance, at, call, settings, stop};
use crate::archive::{Acceptance, Accepted, ActionKind, Erasure, ErasureKind, Filter, Summary};
use crate::mime;
use crate::model::{Medium, Named, Reference, Tag};

/// Waits until the index has been through everything.
pub(in crate::archive) async fn settle(archive: &Archive) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let view = archive.inner.search.view.load_full();
        let last = archive.list(&Filter::default(), Default::default(), None, 1).unwrap();
        let last = last.items.first().map(|message| message.id);
        if view.is_some_and(|view| last.is_none_or(|last| view.watermark.message >= last)) {
            return;
        }
        assert!(Instant::now() < deadline, "the index does not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(in crate::archive) fn find(
    archive: &Archive,
    q: &str,
    order: SearchOrder,
    limit: usize,
) -> Vec<MessageId> {
    let question = Question::parse(q).unwrap();
    let (filter, mut after, mut all) = (Filter::default(), None, Vec::new());
    loop {
        let request = SearchRequest {
            question: Some(&question),
            filter: &filter,
            read: None,
            order,
            after,
            limit,
        };
        let found = archive.search(&request).unwrap();
        assert!(found.items.len() <= limit, "{q}");
        all.extend(found.items.iter().map(|message| message.id));
        match found.next {
            Some(next) => after = Some(next),
            None => return all,
        }
    }
}

/// A text without case and accents, as the search compares it.
pub(in crate::archive) fn folded(text: &str) -> String {
    words::fold(text).into_owned()
}

/// The same without an index.
pub(super) fn scan(archive: &Archive, q: &str) -> Vec<MessageId> {
    let view = archive.inner.search.view.swap(None);
    let found = find(archive, q, SearchOrder::Newest, 50);
    // What the feeder has shown meanwhile stays.
    archive.inner.search.view.compare_and_swap(&None::<Arc<View>>, view);
    found
}

fn mail(number: u64, subject: &str, text: &str, to: &str, filename: Option<&str>) -> Acceptance {
    let named = filename.map_or(String::new(), |name| {
        format!("\r\n--x\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename*=utf-8''{}\r\n\r\nabc", name.replace(' ', "%20"))
    });
    let raw = format!(
        "From: a@example.com\r\nDate: Mon, 2 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{text}{named}\r\n--x--\r\n"
    );
    let mut message = acceptance(number, 1, raw.into());
    let reading = mime::read(&message.raw);
    let attachments = reading.attachments.into_iter().map(|found| crate::archive::Attachment {
        filename: found.filename,
        content_type: found.content_type,
        size_bytes: found.size_bytes,
        sha256: found.sha256,
        inline: found.inline,
    });
    message.summary = Summary {
        subject: Some(subject.to_owned()),
        author: Some(Named {
            name: Some("Anna Bråten".into()),
            address: "anna@example.com".into(),
        }),
        attachments: attachments.collect(),
        ..message.summary
    };
    if let Medium::Mail(envelope) = &mut message.medium {
        envelope.recipients[0].path = crate::model::ForwardPath::parse(to).unwrap();
    }
    message
}

/// A few words, codes, names and scripts, so that they meet often.
pub(super) fn generated(number: u64) -> Acceptance {
    const WORDS: [&str; 24] = [
        "invoice",
        "Rechnung",
        "Müller",
        "blåbær",
        "Straße",
        "payment",
        "INV-12345",
        "inv/99",
        "東京都",
        "請求書番号",
        "kim@example.org",
        "overdue",
        "due",
        "A-7",
        "2026-01-31",
        "naïve",
        "o'clock",
        "한국어",
        "https://example.com/pay?id=77",
        "customer123",
        "customers",
        "custom",
        "x",
        "Ελλάδα",
    ];
    let mut seed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut pick = |most: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % most as u64).unwrap()
    };
    let mut text =
        |words: usize| (0..words).map(|_| WORDS[pick(WORDS.len())]).collect::<Vec<_>>().join(" ");
    let (subject, body) = (text(3), text(9));
    let to = ["kim@example.org", "bo.berg@mail.example.net", "ole@other.test"][pick(3)];
    let filename = [None, Some("INV-12345.pdf"), Some("Årsrapport 2026.pdf")][pick(3)];
    let mut message = mail(number, &subject, &body, to, filename);
    message.references = Reference::parse(&format!("INV-{}", pick(40) + 100)).into_iter().collect();
    message.tag = [None, Tag::parse("invoice"), Tag::parse("monthly news")][pick(3)].clone();
    message
}

pub(super) const QUESTIONS: [&str; 46] = [
    "invoice",
    "inv",
    "i",
    "in",
    "invoi",
    "INV-12345",
    "inv12345",
    "inv-1",
    "12345",
    "muller",
    "MÜLLER",
    "blabaer",
    "blåbær",
    "strasse",
    "東京",
    "京都",
    "請求書番号",
    "請求書番号東",
    "한국",
    "한국어",
    "custom",
    "customer",
    "customer1",
    "customers",
    "kim@ex",
    "@example.org",
    "example",
    "berg@mail",
    "other.test",
    "\"invoice payment\"",
    "\"inv 12345\"",
    "\"東京都\"",
    "subject:invoice",
    "subject:\"payment overdue\"",
    "to:kim",
    "from:braten",
    "from:anna -to:kim",
    "filename:ars",
    "filename:\"arsrapport 2026\"",
    "ref:inv11",
    "tag:invoice has:attachment",
    "tag:news OR tag:inv",
    "-invoice",
    "(inv OR due) -x",
    "https://example.com/pay",
    "status:stopped OR (due status:pending)",
];

pub(super) async fn same_as_a_scan(archive: &Archive, questions: &[&str]) {
    for q in questions {
        let scanned = scan(archive, q);
        assert_eq!(find(archive, q, SearchOrder::Newest, 500), scanned, "{q}");
        assert_eq!(find(archive, q, SearchOrder::Newest, 7), scanned, "{q}, in small pages");
        let mut oldest = find(archive, q, SearchOrder::Oldest, 13);
        oldest.reverse();
        assert_eq!(oldest, scanned, "{q}, oldest first");
        let best: BTreeSet<MessageId> =
            find(archive, q, SearchOrder::Relevance, 11).into_iter().collect();
        assert_eq!(best, scanned.iter().copied().collect(), "{q}, by relevance");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_finds_what_a_scan_finds() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let mut ids = Vec::new();
    for number in 0..300 {
        ids.push(archive.accept(generated(number)).await.unwrap().get());
        // Several segments, so that neighbours are merged.
        if number % 30 == 29 {
            settle(&archive).await;
        }
    }
    for id in ids.iter().step_by(7) {
        stop(&archive, *id, ActionKind::Stop).await;
    }
    settle(&archive).await;
    same_as_a_scan(&archive, &QUESTIONS).await;
    archive.close().await;
    // What the next start finds on disk is the same.
    let archive = Archive::open(&settings(dir.path())).unwrap();
    settle(&archive).await;
    same_as_a_scan(&archive, &QUESTIONS[..12]).await;
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_without_any_time_lead_to_all_answers() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    for number in 0..120 {
        archive.accept(generated(number)).await.unwrap();
        // One segment each, and a page looks at one of them.
        if number % 30 == 29 {
            settle(&archive).await;
        }
    }
    for number in 120..140 {
        archive.accept(generated(number)).await.unwrap();
    }
    for q in ["invoice", "inv", "\"invoice payment\"", "\"payment no such\"", "東京 OR x -due"] {
        let expected = scan(&archive, q);
        for order in [SearchOrder::Newest, SearchOrder::Oldest, SearchOrder::Relevance] {
            let (mut found, cut) = find_in_a_hurry(&archive, q, order);
            match order {
                SearchOrder::Newest => {}
                SearchOrder::Oldest => found.reverse(),
                SearchOrder::Relevance => found.sort_by_key(|id| std::cmp::Reverse(*id)),
            }
            assert_eq!(found, expected, "{q} {order:?}");
            assert!(cut >= 3, "{q} {order:?}: {cut}");
        }
    }
    archive.close().await;
}

/// All answers of pages that have no time, and how many of them ended because of it.
fn find_in_a_hurry(archive: &Archive, q: &str, order: SearchOrder) -> (Vec<MessageId>, usize) {
    let (question, filter) = (Question::parse(q).unwrap(), Filter::default());
    let (mut all, mut after, mut cut) = (Vec::new(), None, 0);
    for _ in 0..1_000 {
        let question = Some(&question);
        let request =
            SearchRequest { question, filter: &filter, read: None, order, after, limit: 7 };
        let asked = archive.asking(&request, |search| {
            let mut page = page::Page::new(request.limit);
            let search = search.with(&request, patience::Patience::none());
            search.fill(&find::whole_question(&request), &mut page)?;
            Ok(page)
        });
        let page = asked.unwrap();
        assert!(!page.is_cut || page.note().is_some_and(|note| note.contains("next page")));
        cut += usize::from(page.is_cut);
        all.extend(page.items.iter().map(|message| message.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return (all, cut),
        }
    }
    panic!("{q} {order:?}: there is no end")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_found_by_who_in_the_company_sent_it() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(folder.path())).unwrap();
    let mut message = mail(1, "Invoice", "text", "kim@example.org", None);
    message.on_behalf_of = Some("Carla Jørgensen".into());
    archive.accept(message).await.unwrap();
    for is_indexed in [false, true] {
        for (q, expected) in [("from:carla", 1), ("jørgensen", 1), ("to:carla", 0)] {
            let found = find(&archive, q, SearchOrder::Newest, 50).len();
            assert_eq!(found, expected, "{q}, indexed: {is_indexed}");
        }
        settle(&archive).await;
    }
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_found_from_its_acceptance_on_and_not_after_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let find = |q: &str| find(&archive, q, SearchOrder::Newest, 50);
    let message = mail(1, "Reminder", "the quick brown fox", "kim@example.org", None);
    let id = archive.accept(message).await.unwrap().get();
    assert_eq!(find("brown"), [id], "before the index has it");
    settle(&archive).await;
    assert_eq!(find("brown"), [id]);
    stop(&archive, id, ActionKind::Stop).await;
    assert_eq!(find("brown status:stopped"), [id]);
    assert_eq!(find("brown status:pending"), []);
    let erasure = Erasure {
        message: id,
        kind: ErasureKind::Delete,
        by: "user anna".into(),
        reason: None,
        at: at(50),
    };
    archive.erase(erasure).await.unwrap().unwrap();
    assert_eq!(find("brown"), []);
    assert_eq!(find("to:kim"), []);
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn phone_numbers_are_found_by_four_digits() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let accepted = archive.accept_all(call(1_234_567, 1, "POST /x".into()), None).await.unwrap();
    let Accepted::New(ids) = accepted else { panic!("{accepted:?}") };
    let id = ids[0].get();
    let number = archive.message(id).unwrap().unwrap().medium.recipients()[0].clone();
    for is_indexed in [false, true] {
        let middle = &number[3..8];
        assert_eq!(find(&archive, middle, SearchOrder::Newest, 5), [id], "{is_indexed}");
        let spaced = format!("to:\"{} {}\"", &number[..4], &number[4..]);
        assert_eq!(find(&archive, &spaced, SearchOrder::Newest, 5), [id], "{is_indexed}");
        assert_eq!(find(&archive, "99999999", SearchOrder::Newest, 5), []);
        settle(&archive).await;
    }
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_signature_rules_out_an_answer() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    let (mut answers, mut ruled_out) = (0, 0);
    for number in 0..60 {
        let id = archive.accept(generated(number)).await.unwrap().get();
        let snapshot = archive.snapshot().unwrap();
        let reader = Reader::new(&snapshot).unwrap();
        let read = document::read(&reader, &archive.inner.volumes, id, |_| true).unwrap();
        let (message, document) = read.unwrap();
        let standing = standings::Standing::of(&message);
        for q in QUESTIONS {
            let node = Question::parse(q).unwrap().root;
            let candidate = matches::Candidate { id, document: &document, standing };
            let is_answer = matches::matches(&node, &candidate);
            let is_out = tail::rules_out(&node, &document, &|mark| standing.has(mark));
            assert!(!(is_answer && is_out), "{q}: {:?}", message.summary.subject);
            answers += usize::from(is_answer);
            ruled_out += usize::from(is_out);
        }
    }
    assert!(answers > 300, "{answers}");
    // Without that it would be of no use.
    assert!(ruled_out > 500, "{ruled_out}");
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_questions_are_answered_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    for number in 0..100 {
        archive.accept(generated(number)).await.unwrap();
    }
    settle(&archive).await;
    let refused = [
        "a OR ".repeat(2_500),
        "(".repeat(3_000),
        format!("{}a{}", "(".repeat(40), ")".repeat(40)),
        "word ".repeat(399),
        "-".repeat(1_900),
        "a\0b".to_owned(),
        "\u{1b}[31m".to_owned(),
    ];
    for q in &refused {
        assert!(Question::parse(q).is_err(), "{q}");
    }
    let letters: Vec<String> = ('a'..='z').map(String::from).collect();
    let answered = [
        letters.join(" OR "),
        format!("-{}", letters.join(" -")),
        "x".repeat(1_900),
        "1".repeat(1_900),
        format!("\"{}\"", "a ".repeat(900)),
        format!("京{}", "都".repeat(600)),
        "a.b.".repeat(450),
        ".*[a-z]+(a|b)?$ a{1000}".replace(['(', ')'], ""),
        "\u{202e}kim \u{2066}a\u{2069}".to_owned(),
        "e\u{301}".repeat(600),
        format!("{}a", "(".repeat(10)) + &")".repeat(10),
    ];
    let answered: Vec<&str> = answered.iter().map(String::as_str).collect();
    same_as_a_scan(&archive, &answered).await;
    archive.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_found_says_which_term_is_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(&settings(dir.path())).unwrap();
    archive.accept(mail(1, "Hello", "one two", "kim@example.org", None)).await.unwrap();
    archive.accept(mail(2, "Hello", "three", "kim@example.org", None)).await.unwrap();
    settle(&archive).await;
    let note = |q: &str| {
        let (question, filter) = (Question::parse(q).unwrap(), Filter::default());
        let request = SearchRequest {
            question: Some(&question),
            filter: &filter,
            read: None,
            order: SearchOrder::Newest,
            after: None,
            limit: 5,
        };
        archive.search(&request).unwrap().note
    };
    assert_eq!(note("hello zebra subject:foo").unwrap(), "No message has zebra or subject:foo.");
    assert!(note("one three").unwrap().contains("no message has all"));
    assert_eq!(note("one"), None);
    archive.close().await;
}
