//! Ordinary mail in the words of reports: parcels, tickets, lists, quoted bounces, plans.

use super::described;

fn check(from: &str, subject: &str, fields: &str, text: &str) {
    let raw = format!(
        "From: {from}\nTo: app@sender.example\nSubject: {subject}\n{fields}Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{text}\n"
    );
    assert_eq!(described(raw.as_bytes()), "none", "{subject}");
}

const LIST: &str = "List-Id: <users.lists.example>\nPrecedence: list\n";

#[test]
fn parcels_payments_and_texts_are_no_mail() {
    let check =
        |subject: &str, text: &str| check("Shop <no-reply@shop.example>", subject, "", text);
    check(
        "Your parcel could not be delivered",
        "It could not be delivered to the following address: Main Street 5. Questions? help@shop.example",
    );
    check(
        "Delivery failure: parcel 550",
        "This message was automatically generated. The delivery attempt failed, error 550: nobody at home.",
    );
    check("Undeliverable parcel returned to sender", "Mail us: care@shop.example");
    check("Zustellung fehlgeschlagen", "Ihre Sendung konnte nicht zugestellt werden.");
    check("Message delivered", "Your text message to +4512345678 was delivered to the handset.");
    check(
        "Your payment was rejected",
        "It was rejected: account closed. Write to pay@shop.example.",
    );
    check("Return receipt for order 7", "You have returned two chairs; this is your receipt.");
}

#[test]
fn newsletters_tickets_and_lists_may_quote_a_bounce() {
    let eve = "Eve <eve@example.org>";
    let quoted = "<bob@example.com>: host mx.example.com said: 550 5.1.1 User unknown (in reply to RCPT TO command)";
    check(eve, "[users] Undelivered Mail Returned to Sender, why?", LIST, quoted);
    check(eve, "Undelivered Mail Returned to Sender", LIST, quoted);
    check(eve, "[Ticket 12] Mail cannot be delivered", "", quoted);
    check(eve, "(MAIL-7) delivery failure of yesterday", "", quoted);
    check(
        eve,
        "How to lower a bounce rate",
        LIST,
        "A hard bounce says 550 5.1.1, mailbox unavailable.",
    );
    check(eve, "Fwd: Undeliverable: hello", "", quoted);
    check(eve, "Re: Delivery Status Notification (Failure)", "", quoted);
    check(
        eve,
        "Our mail to you",
        "",
        "It bounces with 550 5.1.1 <app@sender.example> User unknown.",
    );
}

#[test]
fn a_postmaster_who_answers_reports_nobody() {
    let raw = "From: Eve <postmaster@example.org>\nTo: app@sender.example\nSubject: Re: Please remove the block\n\nWe do not block your network any longer.\n";
    assert_eq!(described(raw.as_bytes()), "unknown");
}

#[test]
fn a_report_that_is_passed_on_is_its_senders_mail() {
    let raw = "From: Eve <eve@example.org>\nTo: app@sender.example\nSubject: FW: Undeliverable: hello\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nLook at this.\n--b\nContent-Type: message/rfc822\n\nFrom: MAILER-DAEMON@mx.example\nSubject: Undelivered\nContent-Type: multipart/report; report-type=delivery-status; boundary=c\n\n--c\n\nno\n--c\nContent-Type: message/delivery-status\n\nFinal-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 5.1.1\n\n--c--\n--b--\n";
    assert_eq!(described(raw.as_bytes()), "none");
}

#[test]
fn plans_and_what_people_read_are_no_answers_of_machines() {
    let check = |subject: &str, text: &str| check("Bob <bob@example.com>", subject, "", text);
    check("Urlaub 2026", "Geht es vom 3. bis 10. August?");
    check("Vacation request", "May I take the first week of May off?");
    check("On holiday in Crete", "See the photos.");
    check("Absence of two documents", "They are missing.");
    check("Ausentes en la reuni\u{f3}n", "Faltaron dos.");
    check("Challenge accepted", "But please confirm your message with the prices first.");
    check(
        "Please confirm your email address",
        "Click the link below: confirm that you are the owner.",
    );
    check("Read: chapter two", "I like it. It was read by Eve, too.");
    check("Gelesen: dein Buch", "Ich habe es gelesen, es gef\u{e4}llt mir.");
    check("Lu : ton article", "Il a \u{e9}t\u{e9} lu par tous.");
}

#[test]
fn invitations_that_are_answered_are_no_reports() {
    for (subject, method) in [
        ("Accepted: Meeting", "REPLY"),
        ("Declined: Meeting", "REPLY"),
        ("Canceled: Delivery", "CANCEL"),
    ] {
        let raw = format!(
            "From: Bob <bob@example.com>\nTo: app@sender.example\nSubject: {subject}\nContent-Type: text/calendar; method={method}\n\nBEGIN:VCALENDAR\nEND:VCALENDAR\n"
        );
        assert_eq!(described(raw.as_bytes()), "none", "{subject}");
    }
}
