//! Bounces, delays, complaints and receipts as many mail systems shape them. What is fixed in a system's
//! program stands as it writes it; the rest is written for this test.
//!
//! One row each: the system, its `From`, its `Subject`, further fields and the body, and what is to be
//! made out of it (see `described`).

use super::described;

type Row = (&'static str, &'static str, &'static str, &'static str, &'static str);

const ORIGINAL: &str = "Message-ID: <m1@app.example>\nTo: bob@example.com\nSubject: hello\n";

#[track_caller]
fn check_all(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (system, from, subject, body, expected) in rows {
        let head = format!("From: {from}\nTo: app@sender.example\nSubject: {subject}\n");
        let raw = format!("{head}{}", body.replace("{original}", ORIGINAL));
        let found = described(raw.as_bytes());
        if found != *expected {
            wrong.push(format!("{system}: {found}, expected {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

#[test]
fn bounces_of_free_mail_servers_are_read() {
    check_all(&[
        (
            "qmail, two recipients",
            "MAILER-DAEMON@mx.example",
            "failure notice",
            "Return-Path: <>\n\nHi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n<bob@example.com>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 <bob@example.com>: Recipient address rejected: User unknown\nGiving up on 192.0.2.1.\n\n<eve@example.org>:\nSorry, I wasn't able to establish an SMTP connection. (#4.4.1)\nI'm not going to try again; this message has been in the queue too long.\n\n--- Below this line is a copy of the message.\n\nReturn-Path: <app@sender.example>\n{original}",
            "bob@example.com Hard 5.1.1, eve@example.org Soft 4.4.1",
        ),
        (
            "vpopmail",
            "MAILER-DAEMON@mx.example",
            "failure notice",
            "\nHi. This is the qmail-send program at mx.example.\nI'm afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\n<bob@example.com>:\nThe users mailfolder is over the allowed quota (size). (#5.2.2)\n\n--- Below this line is a copy of the message.\n\n{original}",
            "bob@example.com Soft 5.2.2",
        ),
        (
            "qmail-ldap",
            "MAILER-DAEMON@mx.example",
            "failure notice",
            "\nHi. This is the qmail-send program at mx.example.\n\n<bob@example.com>:\nMailaddress is administratively disabled. (LDAP-ERR #220)\n\n--- Below this line is a copy of the message.\n\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "qmail in other words",
            "postmaster@mx.example",
            "Permanent Delivery Failure",
            "\nThis is the mail delivery agent at mx.example.\nI was not able to deliver your message to the following addresses.\n\n<bob@example.com>:\nConnected to 192.0.2.1 but sender was rejected.\nRemote host said: 553 5.1.8 no\n\nOriginal message follows.\n\n{original}",
            "bob@example.com Soft 5.1.8",
        ),
        (
            "Exim",
            "Mail Delivery System <Mailer-Daemon@mx.example>",
            "Mail delivery failed: returning message to sender",
            "X-Failed-Recipients: bob@example.com\nAuto-Submitted: auto-replied\n\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  bob@example.com\n    host mx.example.com [192.0.2.1]\n    SMTP error from remote mail server after RCPT TO:<bob@example.com>:\n    550 No such user here\n\n------ This is a copy of the message, including all the headers. ------\n\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "Exim, an alias",
            "Mail Delivery System <Mailer-Daemon@mx.example>",
            "Mail delivery failed: returning message to sender",
            "\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  bob@example.com\n    (generated from list@example.org)\n    Unrouteable address\n\n------ This is a copy of the message, including all the headers. ------\n\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "Exim, timeout",
            "Mail Delivery System <Mailer-Daemon@mx.example>",
            "Mail delivery failed: returning message to sender",
            "\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of its\nrecipients. This is a permanent error. The following address(es) failed:\n\n  bob@example.com\n    host mx.example.com [192.0.2.1]: Connection timed out: retry timeout exceeded\n\n------ This is a copy of the message's headers. ------\n\n{original}",
            "bob@example.com Soft -",
        ),
        (
            "Exim, frozen",
            "Mail Delivery System <Mailer-Daemon@mx.example>",
            "Warning: message 1aBcDe-0001 delayed 24 hours",
            "\nThis message was created automatically by mail delivery software.\nA message that you have sent has not yet been delivered to one or more of its\nrecipients after more than 24 hours on the queue on mx.example.\n\nThe address to which the message has not yet been delivered is:\n\n  bob@example.com\n    Delay reason: host mx.example.com [192.0.2.1]: Connection refused\n\nNo action is required on your part. Delivery attempts will continue for\nsome time, and this warning may be repeated at intervals if the message\nremains undelivered.\n",
            "bob@example.com Delayed -",
        ),
        (
            "Postfix without a machine part",
            "MAILER-DAEMON@mx.example (Mail Delivery System)",
            "Undelivered Mail Returned to Sender",
            "Return-Path: <>\n\nThis is the mail system at host mx.example.\n\nI'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients. It's attached below.\n\nFor further assistance, please send mail to postmaster.\n\n                   The mail system\n\n<bob@example.com> (expanded from <robert@example.org>): host\n    mx.example.com[192.0.2.1] said: 452 4.2.2 Over quota (in reply to RCPT\n    TO command)\n",
            "bob@example.com Soft 4.2.2",
        ),
        (
            "Postfix, delayed",
            "MAILER-DAEMON@mx.example (Mail Delivery System)",
            "Delayed Mail (still being retried)",
            "Return-Path: <>\n\nThis is the mail system at host mx.example.\n\n####################################################################\n# THIS IS A WARNING ONLY.  YOU DO NOT NEED TO RESEND YOUR MESSAGE. #\n####################################################################\n\nYour message could not be delivered for more than 4 hour(s).\nIt will be retried until it is 5 day(s) old.\n\n<bob@example.com>: connect to mx.example.com[192.0.2.1]:25: Connection timed out\n",
            "bob@example.com Delayed -",
        ),
        (
            "Sendmail",
            "Mail Delivery Subsystem <MAILER-DAEMON@mx.example>",
            "Returned mail: see transcript for details",
            "Auto-Submitted: auto-generated (failure)\n\nThe original message was received at Mon, 2 Mar 2026 10:00:00 GMT\nfrom app.example [192.0.2.9]\n\n   ----- The following addresses had permanent fatal errors -----\n<bob@example.com>\n    (reason: 550 Host unknown)\n\n   ----- Transcript of session follows -----\n550 5.1.2 <bob@example.com>... Host unknown (Name server: example.com: host not found)\n",
            "bob@example.com Hard 5.1.2",
        ),
        (
            "Sendmail, delayed",
            "Mail Delivery Subsystem <MAILER-DAEMON@mx.example>",
            "Warning: could not send message for past 4 hours",
            "\n    **********************************************\n    **      THIS IS A WARNING MESSAGE ONLY      **\n    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **\n    **********************************************\n\nThe original message was received at Mon, 2 Mar 2026 10:00:00 GMT\n\n   ----- Transcript of session follows -----\n<bob@example.com>... Deferred: Connection timed out with mx.example.com.\nWarning: message still undelivered after 4 hours\nWill keep trying until message is 5 days old\n",
            "bob@example.com Delayed -",
        ),
        (
            "old Sendmail",
            "Mail Delivery Subsystem <MAILER-DAEMON@mx.example>",
            "Returned mail: User unknown",
            "\n   ----- Transcript of session follows -----\nWhile talking to mx.example.com:\n>>> RCPT To:<bob@example.com>\n<<< 550 <bob@example.com>... User unknown\n550 <bob@example.com>... User unknown\n\n   ----- Unsent message follows -----\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "Courier",
            "\"Courier mail server at mx.example\" <postmaster@mx.example>",
            "NOTICE: mail delivery status.",
            "\nThis is a delivery status notification from mx.example,\nrunning the Courier mail server, version 1.0.\n\nThe original message was received on Mon, 2 Mar 2026 10:00:00 +0000\nfrom app.example (app.example [192.0.2.9])\n\n---------------------------------------------------------------------------\n\n                           UNDELIVERABLE MAIL\n\nYour message to the following recipients cannot be delivered:\n\n<bob@example.com>:\n    mx.example.com [192.0.2.1]:\n>>> RCPT TO:<bob@example.com>\n<<< 550 User unknown.\n\n---------------------------------------------------------------------------\n",
            "bob@example.com Hard -",
        ),
        (
            "OpenSMTPD",
            "Mailer Daemon <MAILER-DAEMON@mx.example>",
            "Delivery status notification: error",
            "\n    Hi!\n\n    This is the MAILER-DAEMON, please DO NOT REPLY to this email.\n\n    An error has occurred while attempting to deliver a message for\n    the following list of recipients:\n\nbob@example.com: 550 5.2.2 <bob@example.com>... Mailbox Full\n\n    Below is a copy of the original message:\n\n{original}",
            "bob@example.com Soft 5.2.2",
        ),
        (
            "DragonFly",
            "MAILER-DAEMON <>",
            "Mail delivery failed",
            "\nThis is the DragonFly Mail Agent v0.13 at mx.example.\n\nThere was an error delivering your mail to <bob@example.com>.\n\nmx.example.com [192.0.2.1] did not like our RCPT TO:\n552 5.2.2 <bob@example.com>: Recipient address rejected: Mailbox quota usage exceeded\n\nMessage headers follow.\n\n{original}",
            "bob@example.com Soft 5.2.2",
        ),
        (
            "Apache James",
            "postmaster@mx.example",
            "[BOUNCE]",
            "\nHi. This is the James mail server at mx.example.\nI'm afraid I wasn't able to deliver your message to the following addresses.\nThis is a permanent error; I've given up. Sorry it didn't work out.\n\nError message below:\n550 - Requested action not taken: no such user here\n\nMessage details:\n  Subject: hello\n  Sent date: Mon Mar 02 10:00:00 GMT 2026\n  MAIL FROM: app@sender.example\n  RCPT TO: bob@example.com\n  From: App <app@sender.example>\n  To: bob@example.com\n",
            "bob@example.com Hard -",
        ),
        (
            "smail",
            "<MAILER-DAEMON@mx.example>",
            "mail failed, returning to sender",
            "\n|------------------------- Message log follows: -------------------------|\n no valid recipients were found for this message\n|------------------------- Failed addresses follow: ---------------------|\n <bob@example.com> ... unknown host\n|------------------------- Message text follows: ------------------------|\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "an unlabelled qmail clone",
            "mailer-daemon@mx.example",
            "Delivery failure",
            "\nMessage from mx.example.\nUnable to deliver message to the following address(es).\n\n<bob@example.com>:\nThis user doesn't have a example.com account (bob@example.com) [0]\n\n--- Original message follows.\n\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "Mercury",
            "Mail system <postmaster@mx.example>",
            "Postmaster notify: delivery failure.",
            "\nWith reference to your message with the subject:\n   \"hello\"\n\nOne or more addresses in your message have failed with the following\nresponses from the mail transport system:\n\n   550 Address 'bob@example.com' not known here\n",
            "bob@example.com Hard -",
        ),
        (
            "Zimbra",
            "MAILER-DAEMON@mail.example (Mail Delivery System)",
            "Undelivered Mail Returned to Sender",
            "Return-Path: <>\n\nThis is the mail system at host mail.example.\n\nI'm sorry to have to inform you that your message could not\nbe delivered to one or more recipients.\n\n<bob@example.com>: host mail.example.com[192.0.2.1] said: 550 5.1.1\n    <bob@example.com>: Recipient address rejected: example.com (in reply to\n    RCPT TO command)\n",
            "bob@example.com Hard 5.1.1",
        ),
    ]);
}

#[test]
fn bounces_of_groupware_and_commercial_servers_are_read() {
    check_all(&[
        (
            "Exchange 5.5",
            "System Administrator <postmaster@mx.example>",
            "Undeliverable: hello",
            "X-MS-Embedded-Report:\n\nYour message\n\n  To:      bob@example.com\n  Subject: hello\n  Sent:    Mon, 2 Mar 2026 10:00:00 -0000\n\ndid not reach the following recipient(s):\n\nc=US;a= ;p=corp;o=x;dda:SMTP=bob@example.com on Mon, 2 Mar 2026 10:00:05 -0000\n    The recipient name is not recognized\n\tThe MTS-ID of the original message is: c=us;a= ;p=corp;l=EXCHANGE0\n    MSEXCH:IMS:CORP:X:EXCHANGE 0 (000C05A6) Unknown Recipient\n",
            "bob@example.com Hard -",
        ),
        (
            "Exchange 2007",
            "Microsoft Exchange <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>",
            "Undeliverable: hello",
            "\nDelivery has failed to these recipients or distribution lists:\n\nbob@example.com\nThe recipient's e-mail address was not found in the recipient's e-mail system. Microsoft Exchange will not try to redeliver this message for you. Please check the e-mail address and try resending this message, or provide the following diagnostic text to your system administrator.\n\nDiagnostic information for administrators:\n\nGenerating server: corp.example\n\nbob@example.com\n#550 5.1.1 RESOLVER.ADR.RecipNotFound; not found ##\n\nOriginal message headers:\n\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Exchange, quota",
            "Microsoft Exchange <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>",
            "Undeliverable: hello",
            "\nDelivery has failed to these recipients or groups:\n\nBob Example<mailto:bob@example.com>\nThe recipient's mailbox is full and can't accept messages now. Please try resending this message later, or contact the recipient directly.\n\nDiagnostic information for administrators:\n\nGenerating server: corp.example\n\nbob@example.com\nRemote Server returned '554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded'\n\nOriginal message headers:\n\n{original}",
            "bob@example.com Soft 5.2.2",
        ),
        (
            "Exchange, delayed",
            "Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>",
            "Delivery delayed: hello",
            "\nDelivery is delayed to these recipients or groups:\n\nbob@example.com (bob@example.com)\n\nSubject: hello\n\nThis message hasn't been delivered yet. Delivery will continue to be attempted.\n\nThe server will keep trying to deliver this message for the next 1 days, 19 hours and 55 minutes.\n",
            "bob@example.com Delayed -",
        ),
        (
            "Exchange, delivered",
            "Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>",
            "Delivered: hello",
            "\nYour message has been delivered to the following recipients:\n\nbob@example.com (bob@example.com)\n\nSubject: hello\n",
            "bob@example.com Delivered -",
        ),
        (
            "Exchange, relayed",
            "Microsoft Outlook <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>",
            "Relayed: hello",
            "\nDelivery to these recipients or groups is complete, but no delivery notification was sent by the destination server:\n\nbob@example.com (bob@example.com)\n\nSubject: hello\n",
            "bob@example.com Delivered -",
        ),
        (
            "Office 365",
            "Microsoft Outlook <postmaster@corp.example>",
            "Undeliverable: hello",
            "Content-Type: text/html\n\n<html><body><p>Your message to bob@example.com couldn't be delivered.</p><p>bob wasn't found at example.com.</p><table><tr><td>app</td><td>Office 365</td><td>bob</td></tr><tr><td>Action Required</td><td></td><td>Recipient</td></tr><tr><td>Unknown To address</td></tr></table><p>Reported error: 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup</p></body></html>\n",
            "bob@example.com Hard 5.1.10",
        ),
        (
            "Office 365, German",
            "Microsoft Outlook <postmaster@corp.example>",
            "Unzustellbar: Hallo",
            "\nIhre Nachricht an bob@example.com konnte nicht zugestellt werden.\n\nbob wurde unter example.com nicht gefunden.\n\n550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@example.com not found by SMTP address lookup\n",
            "bob@example.com Hard 5.1.10",
        ),
        (
            "Domino",
            "Mail Router <postmaster@notes.example>",
            "DELIVERY FAILURE: User bob (bob@example.com) not listed in Domino Directory",
            "\nYour message\n\n  Subject: hello\n\nwas not delivered to:\n\n  bob@example.com\n\nbecause:\n\n  User bob (bob@example.com) not listed in Domino Directory\n",
            "bob@example.com Hard -",
        ),
        (
            "Domino, a refusal",
            "postmaster@notes.example",
            "DELIVERY FAILURE: Error transferring to MX.EXAMPLE.COM; SMTP Protocol Returned a Permanent Error 554 5.7.1 spam",
            "\nYour message\n\n  Subject: hello\n\nwas not delivered to:\n\n  bob@example.com\n\nbecause:\n\n  Error transferring to MX.EXAMPLE.COM; SMTP Protocol Returned a Permanent Error 554 5.7.1 spam\n",
            "bob@example.com Soft 5.7.1",
        ),
        (
            "Notes",
            "notes@notes.example",
            "Undeliverable message",
            "Return-Path: <>\n\n------- Failure Reasons  --------\n\nUser not listed in public Name & Address Book\nbob@example.com\n\n------- Returned Message --------\n\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "GroupWise",
            "Mailer-Daemon@groupwise.example",
            "Message status - undeliverable",
            "\nThe message that you sent was undeliverable to the following:\n\tbob@example.com (550 5.1.1 User unknown)\n\nPossibly truncated original message follows:\n\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "MailEnable",
            "MailEnable Postmaster <postmaster@mx.example>",
            "Message Delivery Failure",
            "\nMailEnable: Message Delivery Failure.\n\nThe following recipient(s) could not be reached:\n\n\tRecipient: [SMTP:bob@example.com]\n\tReason: Remote SMTP Server Returned: 550 5.1.1 unknown user\n\nMessage headers follow:\n\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "IMail",
            "Postmaster <postmaster@mx.example>",
            "Undeliverable Mail",
            "X-Mailer: <SMTP32 v8.22>\n\nInvalid final delivery userid: bob@example.com\n\nOriginal message follows.\n\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "IMail, given up",
            "Postmaster <postmaster@mx.example>",
            "Undeliverable Mail",
            "X-Mailer: <SMTP32 v8.22>\n\nDelivery failed 20 attempts: bob@example.com\n\nOriginal message follows.\n\n{original}",
            "bob@example.com Soft -",
        ),
        (
            "hMailServer",
            "mailer-daemon@mx.example",
            "Message undeliverable: hello",
            "\nYour message did not reach some or all of the intended recipients.\n\n   Sent: Mon, 2 Mar 2026 10:00:00 +0000\n   Subject: hello\n\nThe following recipient(s) could not be reached:\n\nbob@example.com\n   Error Type: SMTP\n   Remote server (192.0.2.1) issued an error.\n   hMailServer sent: RCPT TO:<bob@example.com>\n   Remote server replied: 550 5.1.1 No such user\n\nhMailServer\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "MDaemon",
            "MAILER-DAEMON@mx.example",
            "Permanent Delivery Failure",
            "X-MDaemon-Deliver-To: app@sender.example\n\nThe attached message had PERMANENT fatal delivery errors!\n\nAfter one or more unsuccessful delivery attempts the attached message has\nbeen removed from the mail queue on this server.\n\nFailed address: bob@example.com\n\n--- Session Transcript ---\n --> RCPT To:<bob@example.com>\n <-- 550 5.1.1 User unknown\n--- End Transcript ---\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "MDaemon, delayed",
            "MAILER-DAEMON@mx.example",
            "Warning: Delivery Delayed",
            "\nThe attached message had TRANSIENT non-fatal delivery errors.\n\nThe message will be tried again.\n\nFailed address: bob@example.com\n",
            "bob@example.com Delayed -",
        ),
        (
            "SmarterMail",
            "System Administrator <postmaster@mx.example>",
            "Delivery Failure",
            "\nCould not deliver message to the following recipient(s):\n\nFailed Recipient: bob@example.com\nReason: Remote host said: 550 5.1.1 recipient unknown\n\n   -- The header and top 20 lines of the message follows --\n\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "CommuniGate",
            "<MAILER-DAEMON@mx.example>",
            "Undeliverable mail: hello",
            "\nFailed to deliver to 'bob@example.com'\nSMTP module(domain example.com) reports:\n host mx.example.com says:\n 550 5.1.1 User unknown\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Oracle Messaging Server, Apple",
            "postmaster@mx.example",
            "Delivery Notification: Delivery has failed",
            "\nThis report relates to a message you sent with the following header fields:\n\n  Message-id: <m1@app.example>\n  Date: Mon, 02 Mar 2026 10:00:00 +0000\n  From: App <app@sender.example>\n  To: bob@example.com\n  Subject: hello\n\nYour message cannot be delivered to the following recipients:\n\n  Recipient address: bob@example.com\n  Reason: Remote SMTP server has rejected address\n  Diagnostic code: smtp;550 5.1.1 <bob@example.com>... User Unknown\n  Remote system: dns;mx.example.com (TCP|192.0.2.9|47323|192.0.2.1|25)\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Kerio",
            "Mail Delivery Subsystem <MAILER-DAEMON@mx.example>",
            "Delivery report",
            "\nYour message was not delivered to the following recipients:\n\nbob@example.com: 5.1.1 (Remote host said: 550 5.1.1 <bob@example.com>: user unknown)\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "an X.400 gateway",
            "\"X.400 gateway\" <postmaster@x400.example>",
            "Non-Delivery Report",
            "\nThe following recipients have not received your message:\n\n  /S=bob/O=corp/ADMD= /C=US/smtp=bob@example.com\n    Reason: unrecognised OR name. Recipient unknown\n",
            "bob@example.com Hard -",
        ),
    ]);
}

#[test]
fn bounces_of_filters_and_gateways_are_read() {
    check_all(&[
        (
            "Barracuda",
            "postmaster@filter.example",
            "**Message you sent blocked by our bulk email filter**",
            "\nYour message to: bob@example.com\nwas blocked by our Spam Firewall. The email you sent with the following subject has NOT BEEN DELIVERED:\n\nSubject: hello\n",
            "bob@example.com Soft -",
        ),
        (
            "Barracuda, not from a daemon",
            "noreply@filter.example",
            "**Message you sent blocked by our bulk email filter**",
            "\nYour message to: bob@example.com\nwas blocked by our Spam Firewall. The email you sent with the following subject has NOT BEEN DELIVERED:\n\nSubject: hello\n",
            "bob@example.com Soft -",
        ),
        (
            "Mimecast",
            "Mimecast Postmaster <postmaster@mimecast.example>",
            "[Postmaster] Email Delivery Failure",
            "\nThis is an email abuse and delivery notification.\n\nYour email to bob@example.com could not be delivered.\n\nThe remote host said: 550 5.1.1 Recipient address rejected: User unknown\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "MailMarshal",
            "postmaster@filter.example",
            "Undeliverable Mail: \"hello\"",
            "\nYour message:\n   From:    app@sender.example\n   Subject: hello\n\nCould not be delivered because of\n\n550 5.1.1 User unknown\n\nThe following recipients were affected: \n    bob@example.com\n\nAdditional Information\n======================\nOriginal Sender:    <app@sender.example>\nReporting-MTA:      <relay.example>\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "MailFoundry",
            "postmaster@filter.example",
            "Message delivery has failed",
            "\nUnable to deliver message to: <bob@example.com>\nDelivery failed for the following reason:\nServer mx.example.com[192.0.2.1] failed with: 550 <bob@example.com> No such user here\n\nThis has been a permanent failure.  No further delivery attempts will be made.\n",
            "bob@example.com Hard -",
        ),
        (
            "SurfControl",
            "postmaster@filter.example",
            "Message Delivery Failure",
            "X-Mailer: SurfControl E-mail Filter\n\nYour message could not be sent.\nA transcript of the attempts to send the message follows.\nThe number of attempts made: 1\nAddressed To: bob@example.com\n\nMon 02 Mar 2026 10:00:00 +0000\nFailed to send to identified host,\nbob@example.com: [192.0.2.1], 550 bob@example.com... No such user\n--- Message non-deliverable.\n",
            "bob@example.com Hard -",
        ),
        (
            "InterScan",
            "\"InterScan MSS\" <imss@filter.example>",
            "Mail could not be delivered",
            "\nSent <<< RCPT TO:<bob@example.com>\nReceived >>> 550 5.1.1 <bob@example.com>... user unknown\n\nCould not deliver mail to this user.\n<bob@example.com>\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "McAfee",
            "postmaster@filter.example",
            "Delivery Status",
            "X-NAI-Header: Modified by McAfee Email and Web Security Virtual Appliance\n\n   --- The following addresses had delivery problems ---\n\n<bob@example.com>   (User unknown bob@example.com)\n",
            "bob@example.com Hard -",
        ),
        (
            "MX Logic",
            "Mail Delivery System <Mailer-Daemon@filter.example>",
            "Mail delivery failed: returning message to sender",
            "X-MX-Bounce: mta/src/queue/bounce\n\nThis message was created automatically by mail delivery software.\n\nA message that you have sent could not be delivered to one or more\nrecipients.  This is a permanent error.  The following address failed:\n\n  <bob@example.com>: 550 5.1.1 unknown\n\nIncluded is a copy of the message header:\n-----------------------------------------\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "1&1",
            "\"Mail Delivery System\" <mailer-daemon@provider.example>",
            "Mail delivery failed: returning message to sender",
            "\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of\nits recipients. This is a permanent error. The following address\nfailed:\n\nbob@example.com:\nSMTP error from remote server for TEXT command, host: mx.example.com (192.0.2.1) reason: 550 5.2.0 Mail rejete. Mail rejected. 506\n\n--- The header of the original message is following. ---\n\n{original}",
            "bob@example.com Soft 5.2.0",
        ),
        (
            "Active!hunter",
            "\"MAILER-DAEMON\" <daemon@filter.example>",
            "FAILURE NOTICE :hello",
            "X-AHMAILID: 1\n\n  ----- The following addresses had permanent fatal errors -----\n\n>>> bob@example.com <bob@example.com>\n\n  ----- Transcript of session follows -----\n550 sorry, no mailbox here by that name (#5.1.1 - chkusr)\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "an unknown one, brackets",
            "\"Mail Deliver System\" <mail@filter.example>",
            "Mail Delivery Failure",
            "\nThe original message was received at Mon, 2 Mar 2026 10:00:00 +0000\nfrom app@sender.example\n\n---The following addresses had delivery errors---\n\nbob@example.com [User unknown]\n",
            "bob@example.com Hard -",
        ),
        (
            "an unknown one, a list with stars",
            "Mail Delivery System <mds@filter.example>",
            "Delivery status notification",
            "\n============================================================================\n     This is an automatically generated Delivery Status Notification.\n\nDelivery to the following recipients failed permanently:\n\n  * bob@example.com\n\n============================================================================\n                            Technical details:\n\nSMTP:RCPT host 192.0.2.1: 553 5.3.0 <bob@example.com>... No such user here\n",
            "bob@example.com Hard 5.3.0",
        ),
        (
            "an unknown one, in a sentence",
            "mail@filter.example",
            "There was an error sending your mail",
            "Return-Path: <>\n\nWe had trouble delivering your message. Full details follow:\n\nSubject: 'hello'\nDate: 'Mon, 2 Mar 2026 10:00:00 +0000'\n\n1 error(s):\n\nSMTP Server <mx.example.com> rejected recipient <bob@example.com> \n  (Error following RCPT command). It responded as follows: [550 5.1.1 User unknown]\n",
            "bob@example.com Hard 5.1.1",
        ),
    ]);
}

#[test]
fn bounces_of_mailbox_providers_are_read() {
    check_all(&[
        (
            "Gmail",
            "Mail Delivery Subsystem <mailer-daemon@googlemail.example>",
            "Delivery Status Notification (Failure)",
            "Return-Path: <>\n\n** Address not found **\n\nYour message wasn't delivered to bob@example.com because the address couldn't be found, or is unable to receive mail.\n\nThe response from the remote server was:\n550 5.1.1 The email account that you tried to reach does not exist.\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Gmail, full",
            "Mail Delivery Subsystem <mailer-daemon@googlemail.example>",
            "Delivery Status Notification (Failure)",
            "Return-Path: <>\n\n** Recipient inbox full **\n\nYour message couldn't be delivered to bob@example.com. Their inbox is full, or it's getting too much mail right now.\n\nThe response was:\n552 5.2.2 The email account that you tried to reach is over quota.\n",
            "bob@example.com Soft 5.2.2",
        ),
        (
            "Gmail, blocked",
            "Mail Delivery Subsystem <mailer-daemon@googlemail.example>",
            "Delivery Status Notification (Failure)",
            "Return-Path: <>\n\n** Message blocked **\n\nYour message to bob@example.com has been blocked. See technical details below for more information.\n\nThe response from the remote server was:\n554 5.7.1 Service unavailable; Client host blocked using a list\n",
            "bob@example.com Soft 5.7.1",
        ),
        (
            "Gmail, delayed",
            "Mail Delivery Subsystem <mailer-daemon@googlemail.example>",
            "Delivery Status Notification (Delay)",
            "Return-Path: <>\n\n** Delivery incomplete **\n\nThere was a temporary problem delivering your message to bob@example.com. Gmail will retry for 46 more hours. You'll be notified if the delivery fails permanently.\n",
            "bob@example.com Delayed -",
        ),
        (
            "Google Groups",
            "Mail Delivery Subsystem <mailer-daemon@googlegroups.example>",
            "Delivery Status Notification (Failure)",
            "X-Failed-Recipients: bob@example.com\n\nHello app@sender.example,\n\nWe're writing to let you know that the group you tried to contact (bob) may not exist, or you may not have permission to post messages to the group.\n",
            "bob@example.com Soft -",
        ),
        (
            "Yahoo",
            "MAILER-DAEMON@yahoo.example",
            "Failure Notice",
            "\nSorry, we were unable to deliver your message to the following address.\n\n<bob@example.com>:\nRemote host said: 550 5.1.1 User unknown [RCPT_TO]\n\n--- Below this line is a copy of the message.\n\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Yahoo, too long",
            "MAILER-DAEMON@yahoo.example",
            "Failure Notice",
            "\nSorry, we were unable to deliver your message to the following address.\n\n<bob@example.com>:\nMail server for \"example.com\" unreachable for too long\n\n--- Below this line is a copy of the message.\n\n{original}",
            "bob@example.com Soft -",
        ),
        (
            "AOL",
            "Mail Delivery Subsystem <MAILER-DAEMON@aol.example>",
            "Returned mail: User unknown",
            "\nThe original message was received at Mon, 2 Mar 2026 10:00:00 -0500\n\n*** ATTENTION ***\n\nYour e-mail is being returned to you because there was a problem with its\ndelivery.\n\n   ----- The following addresses had permanent fatal errors -----\n<bob@example.com>\n\n   ----- Transcript of session follows -----\n... while talking to mx.example.com.:\n>>> RCPT To:<bob@example.com>\n<<< 550 MAILBOX NOT FOUND\n550 <bob@example.com>... User unknown\n",
            "bob@example.com Hard -",
        ),
        (
            "GMX",
            "GMX Mailer Daemon <mailer-daemon@gmx.example>",
            "Mail delivery failed: returning message to sender",
            "\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of\nits recipients. This is a permanent error. The following address\nfailed:\n\n\"bob@example.com\":\nSMTP error from remote server after RCPT command:\nhost: mx.example.com\n5.1.1 <bob@example.com>... User Unknown\n\n--- The header of the original message is following. ---\n\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Zoho",
            "mailer-daemon@mail.example",
            "Undelivered Mail Returned to Sender",
            "X-ZohoMail: x\n\nThis message was created automatically by mail delivery software.\nA message that you sent could not be delivered to one or more of its recipients. This is a permanent error.\n\nbob@example.com Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.1 <bob@example.com>... User Unknown\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Verizon",
            "post_master@vtext.example",
            "Undeliverable Message",
            "\nError: 550 - Requested action not taken: no such user here\n\nMessage details:\n  Subject: hello\n  Sent date: Mon Mar 02 10:00:00 GMT 2026\n  MAIL FROM: app@sender.example\n  RCPT TO: bob@example.com\n",
            "bob@example.com Hard -",
        ),
        (
            "EZweb",
            "<Postmaster@ezweb.example>",
            "Mail System Error - Returned Mail",
            "\nThe user(s) account is disabled.\n\n<bob@example.com>: 550 user unknown (in reply to RCPT TO command)\n\n--------------------------------------------------\n\n{original}",
            "bob@example.com Hard -",
        ),
        (
            "EZweb, another server",
            "<Postmaster@ezweb.example>",
            "Mail System Error - Returned Mail",
            "\nEach of the following recipients was rejected by a remote\nmail server.\n\n   Recipient: <bob@example.com>\n   >>> RCPT TO:<bob@example.com>\n   <<< 550 <bob@example.com>: User unknown\n",
            "bob@example.com Hard -",
        ),
        (
            "docomo, softbank",
            "Mail Administrator <postmaster@carrier.example>",
            "Mail System Error - Returned Mail",
            "\nThis Message was undeliverable due to the following reason:\n\nThe following recipients did not receive this message:\n\n   <bob@example.com>\n\nUnknown user\n\nPlease reply to <postmaster@carrier.example>\nif you feel this message to be in error.\n",
            "bob@example.com Hard -",
        ),
        (
            "KDDI",
            "<no-reply@app.kddi.example>",
            "Mail System Error - Returned Mail",
            "Return-Path: <>\n\nYour mail sent on: Mon, 2 Mar 2026 10:00:00 +0900\n    Could not be delivered to: <bob@example.com>\n    As their mailbox is full.\n",
            "bob@example.com Soft -",
        ),
        (
            "Biglobe",
            "postmaster@biglobe.example",
            "Returned mail: user unknown",
            "\n   ----- The following addresses had delivery problems -----\nbob@example.com\n\n   ----- Non-delivered information -----\nThe number of messages in recipient's mailbox exceeded the local limit.\n",
            "bob@example.com Soft -",
        ),
        (
            "m-FILTER, Japanese",
            "mailer-daemon@filter.example",
            "failure notice",
            "X-Mailer: m-FILTER\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n以下のメールアドレスへの送信に失敗しました。\nbob@example.com\n\n-------server message\n550 5.1.1 unknown user <bob@example.com>\n\n-------SMTP command\nRCPT\n\n-------original message\n{original}",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "a Chinese provider",
            "PostMaster@provider.example",
            "=?utf-8?B?57O757uf6YCA5L+h?=",
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n抱歉，您的邮件被退回来了。\n收件人：bob@example.com\n退信原因：收件人不存在。 550 5.1.1\n",
            "bob@example.com Hard 5.1.1",
        ),
        (
            "Mail.ru",
            "Mail Delivery System <mailer-daemon@provider.example>",
            "Mail failure.",
            "\nThis message was created automatically by mail delivery software.\n\nA message that you sent could not be delivered to one or more of its\nrecipients. The following address(es) failed:\n\n  bob@example.com\n    error: quota exceed\n\n**************************************************\n",
            "bob@example.com Soft -",
        ),
        (
            "Facebook",
            "Facebook <mailer-daemon@provider.example>",
            "Sorry, your message could not be delivered",
            "\nThis message was created automatically by Facebook.\n\nSorry, your message could not be delivered to the following address:\n\nbob@example.com\n\n550 5.1.1 RCP-P2 no\n",
            "bob@example.com Hard 5.1.1",
        ),
    ]);
}

#[test]
fn bounces_in_many_languages_are_read() {
    let rows = [
        (
            "Spanish",
            "No se puede entregar: hola",
            "No se pudo realizar la entrega a estos destinatarios o grupos:",
            "No se encontró la dirección de correo.",
        ),
        (
            "Italian",
            "Non recapitabile: ciao",
            "Recapito non riuscito per i seguenti destinatari o gruppi:",
            "L'indirizzo non esiste.",
        ),
        (
            "Dutch",
            "Onbestelbaar: hallo",
            "De bezorging is mislukt bij deze geadresseerden of groepen:",
            "Het adres is niet gevonden.",
        ),
        (
            "Portuguese",
            "Não é possível entregar: olá",
            "Falha na entrega a estes destinatários ou grupos:",
            "O endereço não existe.",
        ),
        (
            "Swedish",
            "Går inte att leverera: hej",
            "Leveransen misslyckades till följande mottagare eller grupper:",
            "Adressen hittades inte.",
        ),
        (
            "Norwegian",
            "Kan ikke leveres: hei",
            "Levering mislyktes til disse mottakerne eller gruppene:",
            "Adressen finnes ikke.",
        ),
        (
            "Danish",
            "Kan ikke leveres: hej",
            "Levering til disse modtagere eller grupper mislykkedes:",
            "Adressen blev ikke fundet.",
        ),
        (
            "French",
            "Non remis : bonjour",
            "Échec de la remise à ces destinataires ou groupes :",
            "L'adresse est introuvable.",
        ),
        (
            "German",
            "Unzustellbar: Hallo",
            "Fehler bei der Nachrichtenzustellung an folgende Empfänger oder Gruppen:",
            "Die Adresse konnte nicht gefunden werden.",
        ),
        (
            "Polish",
            "Nie można dostarczyć: cześć",
            "Dostarczenie do następujących adresatów nie powiodło się:",
            "Adres nie istnieje.",
        ),
        (
            "Czech",
            "Nelze doručit: ahoj",
            "Doručení těmto příjemcům se nezdařilo:",
            "Adresa neexistuje.",
        ),
        (
            "Russian",
            "Не удалось доставить: привет",
            "Не удалось выполнить доставку следующим получателям:",
            "Адрес не существует.",
        ),
        (
            "Japanese",
            "配信不能: x",
            "次の受信者またはグループへの配信に失敗しました:",
            "アドレスが見つかりません",
        ),
        ("Chinese", "无法传递: x", "向这些收件人或组投递失败:", "地址不存在"),
        (
            "Finnish",
            "Ei voitu toimittaa: hei",
            "Toimitus epäonnistui seuraaville vastaanottajille:",
            "Osoitetta ei löytynyt.",
        ),
    ];
    for (language, subject, title, reason) in rows {
        let raw = format!(
            "From: Microsoft Outlook <postmaster@corp.example>\nTo: app@sender.example\nSubject: {subject}\n\
             Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{title}\n\nbob@example.com\n{reason}\n"
        );
        assert_eq!(described(raw.as_bytes()), "bob@example.com Hard -", "{language}");
    }
}

#[test]
fn a_bounce_in_another_charset_is_read() {
    // "The mail could not be delivered. The address does not exist." in ISO-2022-JP.
    let mut raw = b"From: postmaster@carrier.example\nTo: app@sender.example\nSubject: =?ISO-2022-JP?B?GyRCJWEhPCVrR1s/LiVoGyhC?=\n\
        Content-Type: text/plain; charset=ISO-2022-JP\n\n"
        .to_vec();
    raw.extend_from_slice(
        b"\x1b$B0J2<$N%a!<%k%\"%I%l%9$X$NAw?.$K<:GT$7$^$7$?!#\x1b(B\nbob@example.com\n550 5.1.1\n",
    );
    assert_eq!(described(&raw), "bob@example.com Hard 5.1.1");
}

#[test]
fn a_signed_receipt_is_read() {
    let mdn = "Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n\r\n--b\r\n\r\nread\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\nFinal-Recipient: rfc822; bob@example.com\r\nOriginal-Message-ID: <m1@app.example>\r\nDisposition: manual-action/MDN-sent-manually; displayed\r\n\r\n--b--\r\n";
    let head = "From: bob@example.com\nTo: app@sender.example\nSubject: Read\n";
    let detached = format!(
        "{head}Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=s\n\n--s\n{mdn}\n--s\nContent-Type: application/pkcs7-signature\nContent-Transfer-Encoding: base64\n\nMIIB\n--s--\n"
    );
    assert_eq!(described(detached.as_bytes()), "bob@example.com Displayed Displayed");
    use base64::Engine;
    // What CMS puts around it, with a certificate after it.
    let wrapped = [
        b"\x30\x80\x06\x09*\x86H\x86\xf7\x0d\x01\x07\x02\xa0\x80",
        mdn.as_bytes(),
        b"\x31\x82\x00",
    ]
    .concat();
    let wrapped = base64::prelude::BASE64_STANDARD.encode(wrapped);
    let opaque = format!(
        "{head}Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\n{wrapped}\n"
    );
    assert_eq!(described(opaque.as_bytes()), "bob@example.com Displayed Displayed");
    let encrypted = format!(
        "{head}Content-Type: application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIIBAAECAwQFBgc=\n"
    );
    assert_eq!(described(encrypted.as_bytes()), "none");
}

#[test]
fn complaints_of_many_providers_are_read() {
    let arf = |fields: &str, original: &str| {
        format!(
            "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nThis is an email abuse report.\n--b\nContent-Type: message/feedback-report\n\n{fields}\n--b\nContent-Type: message/rfc822\n\nMessage-ID: <m1@app.example>\n{original}\n\nx\n--b--\n"
        )
    };
    let check = |system: &str, from: &str, subject: &str, body: &str, expected: &str| {
        let raw = format!("From: {from}\nTo: fbl@sender.example\nSubject: {subject}\n{body}");
        assert_eq!(described(raw.as_bytes()), expected, "{system}");
    };
    let fields = "Feedback-Type: abuse\nUser-Agent: Yahoo!-Mail-Feedback/2.0\nVersion: 0.1\nOriginal-Mail-From: <bounce+x@b.example>\nOriginal-Rcpt-To: bob@example.com\n";
    check(
        "Yahoo",
        "complaints@arf.yahoo.example",
        "FW: hello",
        &arf(fields, "To: bob@example.com"),
        "Complaint Abuse bob@example.com",
    );
    let fields = "Feedback-Type: abuse\nUser-Agent: AOL SComp\nVersion: 0.1\nOriginal-Rcpt-To: redacted@aol.example\n";
    check(
        "AOL",
        "scomp@aol.example",
        "Email Feedback Report for IP 192.0.2.9",
        &arf(fields, "To: redacted@aol.example"),
        "Complaint Abuse ?",
    );
    let fields = "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <***@provider.example>\n";
    check(
        "crossed out",
        "fbl@provider.example",
        "complaint",
        &arf(fields, "To: xxxxx@provider.example"),
        "Complaint Abuse ?",
    );
    let fields = "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <x@redacted.invalid>\n";
    check(
        "another domain",
        "fbl@provider.example",
        "complaint",
        &arf(fields, "To: bob@example.com"),
        "Complaint Abuse bob@example.com",
    );
    let fields = "Feedback-Type: virus\nVersion: 1\nRemoval-Recipient: bob@example.com\n";
    check(
        "Comcast",
        "fbl@provider.example",
        "complaint",
        &arf(fields, ""),
        "Complaint Virus bob@example.com",
    );
    check(
        "Hotmail JMRP",
        "staff@hotmail.com",
        "complaint about message from 192.0.2.9",
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\nX-HmXmrOriginalRecipient: bob@example.com\nX-Reporter-IP: 192.0.2.1\nMessage-ID: <m1@app.example>\nTo: redacted@example.com\n\nx\n--b--\n",
        "Complaint Abuse bob@example.com",
    );
    check(
        "without a label",
        "fbl@provider.example",
        "complaint",
        "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\n\nAn abuse report.\n--b\nContent-Type: text/plain\n\nFeedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: bob@example.com\n\n--b--\n",
        "Complaint Abuse bob@example.com",
    );
    let fields =
        "Feedback-Type: auth-failure\nAuth-Failure: dmarc\nOriginal-Rcpt-To: bob@example.com\n";
    check(
        "DMARC",
        "noreply@provider.example",
        "FW: hello",
        &arf(fields, ""),
        "Unknown AuthFailure bob@example.com",
    );
}
