//! An application that sends SMS through a daemon, in Waybill's own dialect, and the provider that calls back.

use std::io::{Read, Write};
use std::net::TcpStream;

use waybill::model::Secret;
use waybill::sms::form::Fields;
use waybill::sms::twilio::sign_callback;

use super::api::Api;
use super::daemon::Daemon;
use super::sms_provider::{ACCOUNT_SID, AUTH_TOKEN, SmsProvider};

pub const TOKEN: &str = "token-of-the-erp";

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

/// A callback that is signed with this token, for whoever is at `url`.
pub fn signed(url: &str, path: &str, fields: &[(&str, &str)], token: &str) -> String {
    let mut form = Fields::default();
    fields.iter().for_each(|(name, value)| form.push(name, value));
    let signature = sign_callback(&Secret::new(token.to_owned()), &format!("{url}{path}"), &form);
    let body = form.encode();
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nX-Twilio-Signature: {signature}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Calls the public port as the provider does; gives the status.
pub fn callback(daemon: &Daemon, path: &str, fields: &[(&str, &str)], token: &str) -> u16 {
    let url = format!("http://127.0.0.1:{}", daemon.public());
    let request = signed(&url, path, fields, token);
    called(daemon.public(), &request).expect("no answer to a callback")
}

/// The status that the public port gives to this request; nothing when there is no answer.
pub fn called(port: u16, request: &str) -> Option<u16> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}
