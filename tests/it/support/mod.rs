//! What the tests of promises share: the daemon as a process, and the peers around it.

pub mod admin;
pub mod api;
pub mod certificates;
pub mod clients;
pub mod daemon;
pub mod disk;
pub mod dkimpy;
pub mod documents;
pub mod gateway;
pub mod kannel;
pub mod mail_providers;
pub mod port;
pub mod postfix;
pub mod queue;
pub mod receiver;
pub mod return_path;
pub mod sink;
pub mod sms;
pub mod sms_app;
pub mod sms_port;
pub mod sms_provider;
pub mod submitter;
pub mod tls;
pub mod tools;
pub mod tracked;
pub mod upstream;
