//! Real bounces, receipts and complaints are recognised with the right recipient and class.
//!
//! Takes the messages of the folder in `WAYBILL_CORPUS`, and is skipped where there is none.

use std::path::PathBuf;

use waybill::model::Mailbox;
use waybill::report::{self, Class, Finding};

/// Part of a file's name, who is meant (empty where the provider hides it), and the class.
const EXPECTED: [(&str, &str, Class); 24] = [
    ("chatmail+core/test-data_message_dsn_relayed.eml", "anon_2@gmx.at", Class::Delivered),
    ("chatmail+core/test-data_message_gmail_ndn.eml", "assidhfaaspocwaeofi@gmail.com", Class::Hard),
    ("chatmail+core/test-data_message_gmx_ndn.eml", "snaerituhaeirns@gmail.com", Class::Hard),
    ("chatmail+core/test-data_message_posteo_ndn.eml", "hanerthaertidiuea@gmx.de", Class::Hard),
    ("chatmail+core/test-data_message_testrun_ndn.eml", "hcksocnsofoejx@five.chat", Class::Hard),
    ("chatmail+core/test-data_message_tiscali_ndn.eml", "shenauithz@testrun.org", Class::Hard),
    ("chatmail+core/test-data_message_yahoo_ndn.eml", "haeclirth.sinoenrat@yahoo.com", Class::Hard),
    ("chatmail+core/test-data_message_ndn_with_attachment.eml", "bob@example.org", Class::Soft),
    (
        "chatmail+core/test-data_message_ms_exchange_report_disposition_notification.eml",
        "bob@example.net",
        Class::Displayed,
    ),
    ("mailgun+flanker/fixtures_messages_bounce_broken-mime.eml", "info@example.net", Class::Soft),
    ("mailgun+flanker/fixtures_messages_bounce_no-mx.eml", "user@example.com", Class::Delayed),
    ("mailgun+flanker/fixtures_messages_bounce_gmail-no-dns.eml", "user@example.comm", Class::Hard),
    ("mailgun+flanker/fixtures_messages_bounce_mailbox-full.eml", "user@aol.com", Class::Soft),
    ("mailgun+flanker/fixtures_messages_complaints_aol.eml", "", Class::Complaint),
    ("mailgun+flanker/fixtures_messages_complaints_yahoo.eml", "user@yahoo.com", Class::Complaint),
    (
        "mikel+mail/fixtures_emails_multipart_report_emails_report_422.eml",
        "fraser@oooooooo.com.au",
        Class::Delayed,
    ),
    (
        "mikel+mail/fixtures_emails_multipart_report_emails_report_530.eml",
        "edwin@zzzzzzz.com",
        Class::Hard,
    ),
    ("nodemailer+mailparser/fixtures_delivery-status.eml", "xxxx@xxxx.com", Class::Hard),
    ("stalwartlabs+stalwart/resources_smtp_dsn_delay.eml", "john.doe@example.org", Class::Delayed),
    ("stalwartlabs+stalwart/resources_smtp_dsn_success.eml", "jane@example.org", Class::Delivered),
    ("laminas+laminas-mail/files_laminas-mail-19.eml", "sysadmin@internet.com", Class::Soft),
    ("albertito+chasquid/t-16-spf_expected_dsn.000.eml", "userB@srv-b", Class::Soft),
    (
        "python+cpython/Lib_test_test_email_data_msg_25.txt.eml",
        "scoffman@wellpartner.com",
        Class::Soft,
    ),
    ("Webklex+php-imap/messages_example_bounce.eml", "ding@ding.de", Class::Soft),
];

fn found(raw: &[u8]) -> Option<(Vec<Mailbox>, Class)> {
    match report::read(raw)?.finding {
        Finding::Delivery(all) => {
            let class = all.first()?.class;
            Some((all.into_iter().filter_map(|one| one.address).collect(), class))
        }
        Finding::Disposition(one) => Some((one.recipient.into_iter().collect(), one.class)),
        Finding::Feedback(one) => Some((one.recipients, one.class)),
        Finding::AutoReply(one) => Some((one.recipient.into_iter().collect(), one.class)),
        Finding::Unknown => Some((Vec::new(), Class::Unknown)),
    }
}

#[test]
fn real_reports_name_the_recipient_and_the_class() {
    let Some(folder) = std::env::var_os("WAYBILL_CORPUS").map(PathBuf::from) else {
        eprintln!("skipped: WAYBILL_CORPUS names no folder");
        return;
    };
    for (name, recipient, class) in EXPECTED {
        let raw = std::fs::read(folder.join(name)).unwrap();
        let (recipients, found) = found(&raw).unwrap_or_else(|| panic!("{name} is no report"));
        let first = recipients.first().map(ToString::to_string).unwrap_or_default();
        assert_eq!((first.as_str(), found), (recipient, class), "{name}");
    }
}
