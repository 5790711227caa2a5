//! `POST /hooks/{upstream}/events`: what a mail provider tells of the mail that it took.
//!
//! What is proven and read by `events` is matched to a message and a recipient: by the id in the upstream's
//! reply, else by the Message-ID of a mail that this upstream had last; and by the address. Deliveries, bounces and
//! complaints are recorded as reports, opens and clicks as hits, and who complains, opts out or does not
//! exist is suppressed. An event that outran the judgement of its attempt is waited for. What keeps it from
//! being believed twice: reports and hits are recorded once for each key, and a token proves one body.
//! Answered with success when all of it is durable; an event of a message that nobody knows is counted and
//! taken, because an account at a provider may send for others as well.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::Method;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Desk;
use super::hits::kept_address;
use super::hooks::{self, HookError};
use super::tellings::{self, Telling};
use crate::archive::{HitOf, MailReport, NewHit, Reported, ToldHit};
use crate::events::{
    EventCall, EventRefusal, EventSource, MailEvent, MailEventKind, Proven, SnsMessage, Told, Visit,
};
use crate::lifecycle::MailReportKind;
use crate::model::hit::FIRST_FOREIGN_LINK;
use crate::model::{
    Digest, EnhancedCode, Hit, HitKind, HitMethod, Message, RecipientState, Timestamp, UpstreamName,
};
use crate::sms::form::Fields;
use crate::sms::provider::CallbackRefusal;
use crate::telemetry;
