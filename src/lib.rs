//! All of the program but its `main`: the house as its own page describes it, and the rooms by name.
//!
#![doc = include_str!("ARCHITECTURE.md")]
#![forbid(unsafe_code)]

pub mod account;
pub mod admin;
pub mod archive;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod dispatch;
pub mod events;
pub mod evidence;
pub mod feedback;
pub mod flow;
pub mod intake;
pub mod lifecycle;
pub mod mime;
pub mod model;
pub mod net;
pub mod policy;
pub mod relay;
pub mod report;
pub mod rewrite;
pub mod sms;
pub mod smtp;
pub mod submission;
pub mod telemetry;
