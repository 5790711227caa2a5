//! Reports in the shapes of many mail systems, each written for this test.
//!
//! `check` takes who sent it, the subject and the body, and what is to be made out: one word a
//! recipient, `address class status`.

use super::*;

mod auto_replies;
mod mail_systems;
mod people;

fn message(from: &str, subject: &str, body: &str) -> Vec<u8> {
    format!("From: {from}\nTo: app@sender.example\nSubject: {subject}\n{body}").into_bytes()
}

fn described(raw: &[u8]) -> String {
    let Some(report) = read(raw) else { return String::from("none") };
    let one = |one: &PerRecipient| {
        let address = one.address.as_ref().map_or(String::from("?"), ToString::to_string);
        let status = one.status.map_or(String::from("-"), |status| status.to_string());
        format!("{address} {:?} {status}", one.class)
    };
    let name =
        |mailbox: &Option<Mailbox>| mailbox.as_ref().map_or(String::from("?"), ToString::to_string);
    match &report.finding {
        Finding::Delivery(all) => all.iter().map(one).collect::<Vec<_>>().join(", "),
        Finding::Disposition(d) => format!("{} {:?} {:?}", name(&d.recipient), d.class, d.kind),
        Finding::Feedback(c) => {
            format!("{:?} {:?} {}", c.class, c.kind, name(&c.recipients.first().cloned()))
        }
        Finding::AutoReply(a) => format!("{} {:?}", name(&a.recipient), a.kind),
        Finding::Unknown => String::from("unknown"),
    }
}

#[track_caller]
fn check(from: &str, subject: &str, body: &str, expected: &str) {
    assert_eq!(described(&message(from, subject, body)), expected, "{subject}");
}

const DAEMON: &str = "MAILER-DAEMON@mx.example";

#[test]
fn what_people_write_is_no_report() {
    let check = |subject: &str, body: &str| check("Eve <eve@example.org>", subject, body, "none");
    check("Order 17", "\nWhen will it be delivered?\n");
    check(
        "Re: Undelivered Mail Returned to Sender",
        "\nHello, I got this, what now?\n\n> <bob@example.com>: 550 5.1.1 User unknown\n",
    );
    check("", "");
    check(
        "Delivery times",
        "\nWe have moved. Our old mailbox is full of paper, bob@example.com knows.\n",
    );
    assert_eq!(described(b""), "none");
}

#[test]
fn standard_reports_are_read_by_their_machine_part() {
    let report = |fields: &str| {
        format!(
            "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
             --b\n\nIt is as follows.\n\n--b\nContent-Type: message/delivery-status\n\n\
             Reporting-MTA: dns; mx.example\nOriginal-Envelope-Id: env+2B1\n\n{fields}\n\
             --b\nContent-Type: text/rfc822-headers\n\nReturn-Path: <bounce+abc@b.example>\n\
             Message-ID: <m1@app.example>\nX-Waybill-Id: 01J\nTo: bob@example.com\n\n--b--\n"
        )
    };
    let check = |fields: &str, expected: &str| check(DAEMON, "Report", &report(fields), expected);
    check(
        "Final-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 5.1.1\n",
        "bob@example.com Hard 5.1.1",
    );
    check(
        "Final-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 4.4.7\n",
        "bob@example.com Soft 4.4.7",
    );
    check(
        "Final-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 5.0.0\nDiagnostic-Code: smtp; 552 5.2.2 mailbox\n full\n",
        "bob@example.com Soft 5.2.2",
    );
    check(
        "Final-Recipient: rfc822; bob@example.com\nAction: delayed\nStatus: 4.4.1\n",
        "bob@example.com Delayed 4.4.1",
    );
    check(
        "Final-Recipient: rfc822; bob@example.com\nAction: delivered\nStatus: 2.0.0\n",
        "bob@example.com Delivered 2.0.0",
    );
    check(
        "Final-Recipient: rfc822; bob@example.com\nAction: relayed\nStatus: 2.1.9\n",
        "bob@example.com Delivered 2.1.9",
    );
    check(
        "Final-Recipient: rfc822; bob@example.com\nAction: expanded\nStatus: 2.1.5\n",
        "bob@example.com Delivered 2.1.5",
    );
    check("Final-Recipient: bob@example.com\nStatus: 5.7.1 (spam)\n", "bob@example.com Soft 5.7.1");
    check(
        "Final-Recipient: LOCAL; bob\nAction: failed\nStatus: 5.1.1\n",
        "bob@example.com Hard 5.1.1",
    );
    check(
        "Original-Recipient: rfc822; bob+2Bx@example.com\nAction: failed\n",
        "bob+x@example.com Hard -",
    );
    check("Action: failed\nStatus: 5.1.1\n", "bob@example.com Hard 5.1.1");
    check(
        "Final-Recipient: rfc822; a@example.com\nAction: failed\nStatus: 5.1.1\n\n\
         Final-Recipient: utf-8; bl\\x{E5}@example.com\nAction: delayed\nStatus: 4.2.2\n",
        "a@example.com Hard 5.1.1, bl\u{e5}@example.com Delayed 4.2.2",
    );
}

#[test]
fn clues_lead_to_the_original() {
    let body = "References: <m2@app.example>\nContent-Type: multipart/report; boundary=b\n\n--b\n\nno\n--b\n\
        Content-Type: message/delivery-status\n\nOriginal-Envelope-Id: env-1\n\nFinal-Recipient: rfc822; bob@example.com\nAction: failed\n\
        --b\nContent-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n\
        UmV0dXJuLVBhdGg6IDxib3VuY2UrYWJjQGIuZXhhbXBsZT4KTWVzc2FnZS1JRDogPG0xQGFwcC5leGFtcGxlPgpYLVdheWJpbGwtSWQ6IDAxSgpUbzogYm9iQGV4YW1wbGUuY29tCgp4\n--b--\n";
    let raw = message(DAEMON, "Undelivered", body);
    let reverse = ReversePath::Null;
    let forward = Mailbox::parse("bounce+xyz@b.example").unwrap();
    let clues = read_envelope(&raw, &reverse, &forward).unwrap().clues;
    let paths: Vec<String> = clues.return_paths.iter().map(ToString::to_string).collect();
    assert_eq!(paths, ["bounce+xyz@b.example", "app@sender.example", "bounce+abc@b.example"]);
    assert_eq!(clues.message_ids, ["m1@app.example"]);
    assert_eq!(clues.referenced, ["m2@app.example"]);
    assert_eq!(clues.envelope_id.as_deref(), Some("env-1"));
    assert_eq!(clues.waybill_id.as_deref(), Some("01J"));
    assert_eq!(clues.recipients, [Mailbox::parse("bob@example.com").unwrap()]);
}

/// Checks a notice of a mail system with a quoted original to `bob@example.com` after it.
#[track_caller]
fn check_prose(subject: &str, notice: &str, expected: &str) {
    let tail = "--- Below this line is a copy of the message.\n\n\
                Message-ID: <m1@app.example>\nTo: bob@example.com\n";
    check(DAEMON, subject, &format!("\n{notice}\n\n{tail}"), expected);
}

#[test]
fn bounces_of_mail_servers_are_read_by_their_words() {
    check_prose(
        "failure notice",
        "Hi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n<bob@example.com>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 no mailbox here by that name\nGiving up on 192.0.2.1.",
        "bob@example.com Hard 5.1.1",
    );
    check_prose(
        "failure notice",
        "<bob@example.com>:\nSorry, I couldn't find any host named example.com. (#5.1.2)",
        "bob@example.com Hard 5.1.2",
    );
    check_prose(
        "Mail delivery failed: returning message to sender",
        "This message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  bob@example.com\n    SMTP error from remote mail server after RCPT TO:<bob@example.com>:\n    host mx.example.com [192.0.2.1]: 552 5.2.2 mailbox full",
        "bob@example.com Soft 5.2.2",
    );
    check_prose(
        "Warning: message 1abc delayed 24 hours",
        "This message was created automatically by mail delivery software.\nA message that you sent has not yet been delivered to one or more of its\nrecipients after more than 24 hours on the queue.\n\nThe address to which the message has not yet been delivered is:\n\n  bob@example.com\n\nNo action is required on your part. Delivery attempts will continue.",
        "bob@example.com Delayed -",
    );
    check_prose(
        "Undelivered Mail Returned to Sender",
        "I'm sorry to have to inform you that your message could not be\nbe delivered.\n\n<bob@example.com>: host mx.example.com[192.0.2.1] said: 554 5.7.1 Message\n    rejected as spam (in reply to end of DATA command)",
        "bob@example.com Soft 5.7.1",
    );
    check_prose(
        "Returned mail: see transcript for details",
        "   ----- The following addresses had permanent fatal errors -----\n<bob@example.com>\n    (reason: 550 5.1.1 <bob@example.com>... User unknown)\n\n   ----- Transcript of session follows -----\n... while talking to mx.example.com.:\n>>> RCPT To:<bob@example.com>\n<<< 550 5.1.1 <bob@example.com>... User unknown",
        "bob@example.com Hard 5.1.1",
    );
    check_prose(
        "Undeliverable: hello",
        "Your message did not reach some or all of the intended recipients.\n\n      Subject:\thello\n      Sent:\t1/2/2003\n\nThe following recipient(s) could not be reached:\n\n      bob@example.com on 1/2/2003 10:00 AM\n            The e-mail account does not exist at the organization this message was sent to.\n            <mx.example.com #5.1.1>",
        "bob@example.com Hard 5.1.1",
    );
}

#[test]
fn bounces_of_groupware_and_providers_are_read_by_their_words() {
    check_prose(
        "Undeliverable: hello",
        "Delivery has failed to these recipients or groups:\n\nbob@example.com\nThe recipient's mailbox is full and can't accept messages now.\n\nDiagnostic information for administrators:\nGenerating server: mx.example.com\n\nbob@example.com\n#554 5.2.2 mailbox full ##",
        "bob@example.com Soft 5.2.2",
    );
    check_prose(
        "DELIVERY FAILURE: User bob (bob@example.com) not listed in Domino Directory",
        "Your document:\n hello\nwas not delivered to:\n\nbob@example.com\n\nbecause:\n\nUser bob (bob@example.com) not listed in Domino Directory",
        "bob@example.com Hard -",
    );
    check_prose(
        "Delivery Status Notification (Failure)",
        "Delivery to the following recipient failed permanently:\n\n     bob@example.com\n\nTechnical details of permanent failure:\nDNS Error: Domain name not found",
        "bob@example.com Hard -",
    );
    check_prose(
        "Delivery Status Notification (Delay)",
        "This is an automatically generated Delivery Status Notification\n\nTHIS IS A WARNING MESSAGE ONLY.\n\nYOU DO NOT NEED TO RESEND YOUR MESSAGE.\n\nDelivery to the following recipient has been delayed:\n\n     bob@example.com",
        "bob@example.com Delayed -",
    );
    check_prose(
        "Failure Notice",
        "Sorry, we were unable to deliver your message to the following address.\n\n<bob@example.com>:\n554: delivery error: dd This user doesn't have a example.com account",
        "bob@example.com Hard -",
    );
    check_prose(
        "Message status - undeliverable",
        "The message that you sent was undeliverable to the following:\n\tbob@example.com (mailbox full)",
        "bob@example.com Soft -",
    );
    check_prose(
        "Undeliverable Mail",
        "User mailbox exceeds allowed size: bob@example.com\n\nOriginal message follows.",
        "bob@example.com Soft -",
    );
}

#[test]
fn bounces_in_other_words_and_languages_are_read() {
    check_prose(
        "Mail could not be delivered",
        "Sent <<< RCPT TO:<bob@example.com>\nReceived >>> 550 5.1.1 unknown recipient",
        "bob@example.com Hard 5.1.1",
    );
    check_prose(
        "Undelivered mail",
        "Your message:\n   From:    app@sender.example\n   Subject: hello\n\nCould not be delivered because of\n\n550 5.1.1 User unknown\n\nThe following recipients were affected:\n    bob@example.com",
        "bob@example.com Hard 5.1.1",
    );
    check_prose(
        "Unzustellbar: Hallo",
        "Fehler bei der Nachrichtenzustellung an folgende Empf\u{e4}nger oder Gruppen:\n\nbob@example.com\nDie eingegebene E-Mail-Adresse konnte nicht gefunden werden.",
        "bob@example.com Hard -",
    );
    check_prose(
        "Non remis : bonjour",
        "\u{c9}chec de la remise \u{e0} ces destinataires ou groupes :\n\nbob@example.com\nLa bo\u{ee}te aux lettres est pleine.",
        "bob@example.com Soft -",
    );
    check_prose(
        "Kan ikke leveres: hej",
        "Levering til disse modtagere eller grupper mislykkedes:\n\nbob@example.com\nDen angivne mailadresse blev ikke fundet.",
        "bob@example.com Hard -",
    );
    check_prose(
        "failure notice",
        "<bob@example.com>:\n550 5.1.1 unknown user\n\n<eve@example.org>:\n452 4.2.2 over quota",
        "bob@example.com Hard 5.1.1, eve@example.org Soft 4.2.2",
    );
    check_prose(
        "Delivery Notification: Delivery has been successful",
        "Your message was successfully delivered to:\n\n  bob@example.com",
        "bob@example.com Delivered -",
    );
    check_prose(
        "Undeliverable",
        "It could not be delivered. Contact helpdesk@mx.example for help.",
        "bob@example.com Hard -",
    );
}

#[test]
fn a_report_that_lost_its_boundary_is_still_read() {
    let body = "Content-Type: multipart/report\n\n--b\n\nIt failed.\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 5.1.1\n\n--b--\n";
    check(DAEMON, "Returned mail", body, "bob@example.com Hard 5.1.1");
}

#[test]
fn a_message_of_a_mail_system_about_nobody_stays_unknown() {
    check(DAEMON, "System maintenance", "\nWe will be back soon.\n", "unknown");
}

#[test]
fn receipts_are_read() {
    let mdn = |disposition: &str| {
        format!(
            "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\n--b\n\nread\n--b\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; bob@example.com\nOriginal-Message-ID: <m1@app.example>\nDisposition: {disposition}\n\n--b--\n"
        )
    };
    let check = |disposition: &str, expected: &str| {
        check("bob@example.com", "Read", &mdn(disposition), expected)
    };
    check("manual-action/MDN-sent-manually; displayed", "bob@example.com Displayed Displayed");
    check("automatic-action/MDN-sent-automatically; deleted", "bob@example.com Delivered Deleted");
    check("automatic-action/MDN-sent-automatically; denied", "bob@example.com Unknown Denied");
    check(
        "automatic-action/MDN-sent-automatically; failed/error",
        "bob@example.com Unknown Failed",
    );
    let raw =
        message("bob@example.com", "Read", &mdn("manual-action/MDN-sent-manually; displayed"));
    let report = read(&raw).unwrap();
    assert_eq!(report.clues.message_ids, ["m1@app.example"]);
    let Finding::Disposition(found) = report.finding else { panic!() };
    assert_eq!((found.is_manual, found.sent_by_person), (true, Some(true)));
    super::tests::check(
        "bob@example.com",
        "Read: hello",
        "\nYour message\n\n  To: bob\n  Subject: hello\n\nwas read on 1/2/2003 10:00 AM.\n",
        "bob@example.com Displayed Displayed",
    );
    super::tests::check(
        "bob@example.com",
        "Gelesen: Hallo",
        "\nIhre Nachricht wurde am 1.2.2003 gelesen.\n",
        "bob@example.com Displayed Displayed",
    );
    super::tests::check(
        "bob@example.com",
        "Not read: hello",
        "\nYour message was deleted without being read on 1/2/2003.\n",
        "bob@example.com Delivered Deleted",
    );
}

#[test]
fn complaints_are_read() {
    let arf = |fields: &str| {
        format!(
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nThis is an email abuse report.\n--b\nContent-Type: message/feedback-report\n\n{fields}\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <m1@app.example>\nTo: eve@example.org\n\nx\n--b--\n"
        )
    };
    let check = |fields: &str, expected: &str| {
        check("fbl@provider.example", "complaint", &arf(fields), expected)
    };
    check(
        "Feedback-Type: abuse\nOriginal-Rcpt-To: <bob@example.com>\n",
        "Complaint Abuse bob@example.com",
    );
    check("Feedback-Type: fraud\n", "Complaint Fraud eve@example.org");
    check(
        "Feedback-Type: opt-out\nRemoval-Recipient: bob@example.com\n",
        "Complaint OptOut bob@example.com",
    );
    check(
        "Feedback-Type: not-spam\nOriginal-Rcpt-To: bob@example.com\n",
        "Unknown NotSpam bob@example.com",
    );
    check(
        "Feedback-Type: abuse\nOriginal-Rcpt-To: redacted@example.com\n",
        "Complaint Abuse eve@example.org",
    );
    super::tests::check(
        "staff@hotmail.com",
        "complaint about message from 192.0.2.1",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: bob@example.com\nMessage-ID: <m1@app.example>\n\nx\n--b--\n",
        "Complaint Abuse bob@example.com",
    );
}

#[test]
fn automatic_answers_are_told_from_people() {
    let check = |subject: &str, body: &str, expected: &str| {
        check("Bob <bob@example.com>", subject, body, expected)
    };
    check("Out of office", "\nI am back on Monday.\n", "bob@example.com Answer");
    check("Automatische Antwort: Rechnung", "\nIch bin im Urlaub.\n", "bob@example.com Answer");
    check(
        "Automatisk svar: faktura",
        "\nJeg er ikke p\u{e5} kontoret.\n",
        "bob@example.com Answer",
    );
    check("R\u{e9}ponse automatique", "\nJe suis absent.\n", "bob@example.com Answer");
    check(
        "Re: invoice",
        "Auto-Submitted: auto-replied\n\nThank you for your mail.\n",
        "bob@example.com Answer",
    );
    check("Re: invoice", "Auto-Submitted: no\n\nThank you for your mail.\n", "none");
    check("Re: invoice", "X-Autoreply: yes\n\nThank you.\n", "bob@example.com Answer");
    check("Re: invoice", "Precedence: auto_reply\n\nThank you.\n", "bob@example.com Answer");
    check("Re: invoice", "Precedence: bulk\n\nThank you.\n", "none");
    check(
        "Re: invoice",
        "Return-Path: <>\n\nThank you, I have left; this mailbox is no longer active.\n",
        "bob@example.com Answer",
    );
    check(
        "Please confirm your message",
        "Auto-Submitted: auto-replied\n\nThis mailbox is protected by a filter. Click the link below to deliver it.\n",
        "bob@example.com Challenge",
    );
}

#[test]
fn any_bytes_are_read_in_time() {
    for piece in
        [&b"@"[..], b"a@b.c ", b"\n\n", b"Final-Recipient: x\n\n", b"<", b"5.1.1 ", b"> ", b"--b\n"]
    {
        let mut raw =
            b"From: MAILER-DAEMON\nSubject: failed\nContent-Type: message/delivery-status\n\n"
                .to_vec();
        raw.extend(piece.repeat(200_000 / piece.len()));
        read(&raw);
        let plain = [b"From: MAILER-DAEMON\nSubject: failed\n\n", &raw[..]].concat();
        read(&plain);
    }
}
