//! An application that sends SMS through a daemon, in Waybill's own dialect.

use super::api::Api;
use super::daemon::Daemon;
use super::sms_provider::{ACCOUNT_SID, AUTH_TOKEN, SmsProvider};

const TOKEN: &str = "token-of-the-erp";

/// An app that speaks Waybill's own dialect, and a provider that speaks Twilio's.
pub fn tables(provider: &SmsProvider) -> String {
    format!(
        "[[app]]\nname = \"erp\"\nnetworks = [\"127.0.0.0/8\"]\n\
         [app.sms.waybill]\ntoken = \"{TOKEN}\"\n\
         [[upstream]]\nname = \"provider\"\nkind = \"twilio\"\nurl = \"{}\"\n\
         account_sid = \"{ACCOUNT_SID}\"\nauth_token = \"{AUTH_TOKEN}\"\n",
        provider.url()
    )
}

/// The SMS port, as the app calls it.
pub fn port(daemon: &Daemon) -> Api {
    Api::new(daemon.sms(), Some(TOKEN.to_owned()))
}
