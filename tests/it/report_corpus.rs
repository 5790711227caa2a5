//! Real bounces, receipts and complaints are recognised with the right recipient and class.
//!
//! Takes the messages of the folder in `WAYBILL_CORPUS`, and is skipped where there is none.

use std::path::PathBuf;

use waybill::model::Mailbox;
use waybill::report::{self, Class, Finding};

use super::support::tools;

/// Part of a file's name, who is meant (empty where the provider hides it), and the class.
const EXPECTED: [(&str, &str, Class); 42] = [
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
    ("albertito+chasquid/t-05-null_address_expected_dsr.000.eml", "fail@testserver", Class::Hard),
    (
        "chatmail+core/test-data_message_gmail_ndn_group.eml",
        "assidhfaaspocwaeofi@gmail.com",
        Class::Hard,
    ),
    ("chatmail+core/test-data_message_testrun_ndn_2.eml", "bob@example.org", Class::Hard),
    (
        "jhillyerd+enmime/dsn_testdata_dsn_with_multipart_alternative.raw.eml",
        "non-existing@example.com",
        Class::Hard,
    ),
    ("mailgun+flanker/fixtures_messages_bounce_delayed.eml", "foo@example.com", Class::Soft),
    (
        "mailgun+flanker/fixtures_messages_bounce_delayed-broken.eml",
        "demo@example.com",
        Class::Soft,
    ),
    (
        "mailgun+flanker/fixtures_messages_bounce_gmail-invalid-address.eml",
        "awfawfawfawfawfaw@someserverhere.com",
        Class::Hard,
    ),
    (
        "mailgun+flanker/fixtures_messages_bounce_zed.eml.000.eml",
        "asdfasdfasdfasdfasdfasdfewrqertrtyrthsfgdfgadfqeadvxzvz@gmail.com",
        Class::Hard,
    ),
    (
        "mikel+mail/fixtures_emails_mime_emails_raw_email_with_mimepart_without_content_type.eml",
        "larose.julie@courrier.uqam.ca",
        Class::Delayed,
    ),
    (
        "mikel+mail/fixtures_emails_multipart_report_emails_multi_address_bounce1.eml",
        "bbbbvhvbbvkjbhfbvbvjhb@gmail.com",
        Class::Hard,
    ),
    (
        "mikel+mail/fixtures_emails_multipart_report_emails_multipart_report_multiple_status.eml",
        "u@ci.com",
        Class::Soft,
    ),
    (
        "python+cpython/Lib_test_test_email_data_msg_16.txt.eml",
        "jangel1@cougar.noc.ucla.edu",
        Class::Soft,
    ),
    ("python+cpython/Lib_test_test_email_data_msg_43.txt.eml", "xxxxxxx@dot.ca.gov", Class::Soft),
    ("stalwartlabs+stalwart/resources_smtp_dsn_failure.eml", "foobar@example.org", Class::Hard),
    ("stalwartlabs+stalwart/resources_smtp_dsn_mixed.eml", "foobar@example.org", Class::Hard),
    ("stalwartlabs+stalwart/resources_smtp_reports_arf3.eml", "user@example.com", Class::Unknown),
    (
        "stalwartlabs+stalwart/resources_smtp_reports_arf4.eml",
        "address@myotherdomain.name",
        Class::Unknown,
    ),
    (
        "stalwartlabs+stalwart/resources_smtp_reports_arf5.eml",
        "someuser@receiver.example",
        Class::Unknown,
    ),
];

/// Bounces of which only the title is left.
const TITLES: [&str; 3] = [
    "php-mime-mail-parser+php-mime-mail-parser/mails_failure.eml",
    "Webklex+php-imap/messages_issue-462.eml",
    "jhillyerd+enmime/mail_multipart-wo-boundary.raw.eml",
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
        return tools::skip("WAYBILL_CORPUS names no folder");
    };
    for (name, recipient, class) in EXPECTED {
        let raw = std::fs::read(folder.join(name)).unwrap();
        let (recipients, found) = found(&raw).unwrap_or_else(|| panic!("{name} is no report"));
        let first = recipients.first().map(ToString::to_string).unwrap_or_default();
        assert_eq!((first.as_str(), found), (recipient, class), "{name}");
    }
}

#[test]
fn ordinary_mail_is_never_taken_for_a_report() {
    let Some(folder) = std::env::var_os("WAYBILL_CORPUS").map(PathBuf::from) else {
        return tools::skip("WAYBILL_CORPUS names no folder");
    };
    let mut ordinary = 0;
    for place in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        let Ok(files) = std::fs::read_dir(&place) else { continue };
        for file in files.map(|entry| entry.unwrap().path()).filter(|file| file.is_file()) {
            let name = file.strip_prefix(&folder).unwrap().to_string_lossy().into_owned();
            let is_report = EXPECTED.iter().any(|(report, ..)| *report == name);
            if is_report || TITLES.contains(&name.as_str()) {
                continue;
            }
            ordinary += 1;
            let finding = report::read(&std::fs::read(&file).unwrap()).map(|found| found.finding);
            let is_taken = matches!(
                finding,
                Some(Finding::Delivery(_) | Finding::Disposition(_) | Finding::Feedback(_))
            );
            assert!(!is_taken, "{name}: {finding:?}");
        }
    }
    assert!(ordinary > 500, "{ordinary}");
}
