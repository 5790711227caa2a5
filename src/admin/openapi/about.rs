//! What each route is for, in the order of the table: one function for each row, which takes it as
//! its last argument.

use super::operation::Operation;
use super::parameter;
use crate::admin::problem::ProblemKind::{Busy, Conflict, NotFound, RateLimited};
use crate::admin::views::{EventView, FoundView, MessageView, QueueBody, UpstreamView};
use crate::admin::{
    actions, bulk, logs, manage, outbox, resend, session, statistics, suppressions, threads,
};
use crate::model::EventKind;

const NEW_COOKIE: &str = "The new session.";
const FOR_PEOPLE: &str = "For people who are logged in; a token gets 409.";
const PNG: (&str, Option<&str>) = ("image/png", None);

fn every<T>(parts: impl IntoIterator<Item = Vec<T>>) -> Vec<T> {
    parts.into_iter().flatten().collect()
}

pub(in crate::admin) fn openapi() -> Operation {
    Operation::new("getOpenApi", "Session", "This description.")
        .gives("OpenAPI 3.1.", [("application/json", None)])
}

pub(in crate::admin) fn log_in() -> Operation {
    Operation::new("logIn", "Session", "Begin a session.")
        .details(
            "One answer for every reason to refuse: which it is, is nobody's business. Who fails too often must wait, by \
             name and by network. What comes from a loopback address is not locked by network: a proxy stands there, all \
             people come through it, and one of them could lock out all others; the proxy should limit logins by the \
             address that it sees.",
        )
        .body::<session::LogInBody>()
        .answers::<session::MeView>(200, "Who logged in.")
        .field("Set-Cookie", "The session, for this origin only and out of reach of scripts.")
}

pub(in crate::admin) fn log_out() -> Operation {
    Operation::new("logOut", "Session", "End the session.")
        .details(FOR_PEOPLE)
        .empty(204, "It is over.")
        .field("Set-Cookie", "Takes the cookie away.")
        .fails([Conflict, NotFound])
        .logged_as("logout")
}

pub(in crate::admin) fn me() -> Operation {
    Operation::new("getMe", "Session", "Who is asking, and what they may see.")
        .answers::<session::MeView>(200, "Who is asking.")
}

pub(in crate::admin) fn my_sessions() -> Operation {
    Operation::new("listMySessions", "Session", "The sessions of whoever is asking.")
        .details(FOR_PEOPLE)
        .page::<session::SessionView>("All of them.")
        .fails([Conflict])
}

pub(in crate::admin) fn end_my_session() -> Operation {
    Operation::new("endMySession", "Session", "End one of the own sessions.")
        .details(FOR_PEOPLE)
        .empty(204, "It is over.")
        .fails([Conflict])
        .logged_as("session_ended")
}

pub(in crate::admin) fn begin_two_factor() -> Operation {
    Operation::new("beginTwoFactor", "Session", "Begin to enrol a second factor (TOTP, RFC 6238).")
        .details(FOR_PEOPLE)
        .answers::<session::EnrolmentView>(200, "The secret, shown this once.")
        .fails([Conflict, NotFound])
        .logged_as("two_factor_begun")
}

pub(in crate::admin) fn confirm_two_factor() -> Operation {
    Operation::new("confirmTwoFactor", "Session", "Turn the second factor on with a first code.")
        .details(FOR_PEOPLE)
        .body::<session::CodeBody>()
        .answers::<session::StepView>(200, "It is on; the recovery codes, shown this once.")
        .field("Set-Cookie", NEW_COOKIE)
        .fails([Conflict, NotFound])
        .logged_as("two_factor_enabled")
}

pub(in crate::admin) fn drop_two_factor() -> Operation {
    Operation::new("dropTwoFactor", "Session", "Turn the second factor off with a last code.")
        .details(FOR_PEOPLE)
        .body::<session::CodeBody>()
        .answers::<session::StepView>(200, "It is off.")
        .field("Set-Cookie", NEW_COOKIE)
        .fails([Conflict, NotFound])
        .logged_as("two_factor_disabled")
}

pub(in crate::admin) fn messages() -> Operation {
    let order = vec![parameter::order(true)];
    Operation::new("listMessages", "Messages", "Messages that match, a page at a time.")
        .details("Newest first. Where nothing matches, `note` says why if that is known, and `absence` what is known about the app and the period that were asked for.")
        .takes(every([parameter::narrowing(), order, parameter::paging()]))
        .answers::<FoundView>(200, "A page.")
}

pub(in crate::admin) fn csv() -> Operation {
    Operation::new("exportMessages", "Messages", "All messages that match, as a table (RFC 4180).")
        .details("Written while it is read; no cell is taken for a formula. An export that could not be finished is cut off.")
        .takes(parameter::narrowing())
        .takes([parameter::order(false)])
        .gives("One row for each message.", [("text/csv", None)])
        .field("Content-Disposition", "A download.")
        .fails([Busy])
}

pub(in crate::admin) fn stream() -> Operation {
    Operation::new("streamEvents", "Messages", "What happens, as it happens (server-sent events).")
        .details("The data of an event is a `Streamed`. The stream ends after some minutes; come back with `Last-Event-ID`, and nothing is missed.")
        .takes(parameter::narrowing())
        .takes(parameter::resuming())
        .gives("Events until the end.", [(
            "text/event-stream",
            Some("id: 7\nevent: sent\ndata: {\"sequence\":7,\"event\":\"sent\"}\n\n"),
        )])
        .mentions::<crate::admin::views::StreamedView>()
        .fails([Conflict, Busy])
}

pub(in crate::admin) fn message() -> Operation {
    Operation::new("getMessage", "Messages", "One message.")
        .answers::<MessageView>(200, "The message.")
}

pub(in crate::admin) fn events() -> Operation {
    Operation::new("listEvents", "Messages", "What happened to a message, oldest first.")
        .takes(parameter::paging())
        .page::<EventView>("A page.")
}

pub(in crate::admin) fn raw() -> Operation {
    Operation::new("getRaw", "Messages", "The bytes, as submitted or as relayed to one recipient.")
        .details("What was relayed is only shown when the digest of the attempt proves it.")
        .takes([parameter::sent_to()])
        .gives(
            "A mail; the request that brought an SMS; the text that left.",
            [("message/rfc822", None), ("message/http", None), ("text/plain", None)],
        )
        .field("Content-Disposition", "A download.")
        .fails([Conflict])
        .leaves(EventKind::Viewed)
}

pub(in crate::admin) fn html() -> Operation {
    Operation::new("getHtml", "Messages", "The message as its recipient sees it, made harmless.")
        .gives("A document that loads and runs nothing.", [("text/html", Some("<p>Dear Kim</p>"))])
        .field("Content-Security-Policy", "Nothing runs, nothing is loaded.")
        .fails([Conflict])
        .leaves(EventKind::Viewed)
}

pub(in crate::admin) fn text() -> Operation {
    Operation::new("getText", "Messages", "The text of a message.")
        .gives("The text; 404 where there is none.", [("text/plain", Some("Dear Kim"))])
        .fails([Conflict])
        .leaves(EventKind::Viewed)
}

pub(in crate::admin) fn attachment() -> Operation {
    Operation::new("getAttachment", "Messages", "One attachment, decoded.")
        .gives(
            "A picture that is one keeps its type; everything else is octets.",
            [
                ("application/octet-stream", None),
                PNG,
                ("image/jpeg", None),
                ("image/gif", None),
                ("image/webp", None),
            ],
        )
        .field("Content-Disposition", "A download.")
        .fails([Conflict])
        .leaves(EventKind::Viewed)
}

fn action(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, "Actions", summary)
        .details(
            "Without recipients: all for which it is possible. Where it is too late, 409 says why.",
        )
        .optional_body::<actions::ActionBody>()
        .answers::<MessageView>(200, "The message as it stands now.")
        .fails([Conflict])
}

pub(in crate::admin) fn stop() -> Operation {
    action("stopMessage", "Stop what was not sent yet.")
}

pub(in crate::admin) fn restart() -> Operation {
    action("restartMessage", "Send what was stopped or has failed after all.")
}

pub(in crate::admin) fn release() -> Operation {
    action("releaseMessage", "Let go of what is held.")
}

pub(in crate::admin) fn resend() -> Operation {
    Operation::new("resendMessage", "Actions", "Send it once more, as it was or with changes.")
        .details(
            "A new message with `resend_of`; the original is not touched. Without changes it is the same message once \
             more, byte for byte, so it keeps its Message-ID: whoever has it already sees one mail and not two, answers \
             to it find their thread, and a signature holds. With changes it is another message and has a Message-ID of \
             its own.",
        )
        .optional_body::<resend::ResendBody>()
        .answers::<MessageView>(201, "The new message.")
        .field("Location", "The new message.")
        .fails([Conflict, RateLimited])
}

pub(in crate::admin) fn begin_job() -> Operation {
    Operation::new("beginJob", "Actions", "Stop, restart or release many messages.")
        .details(
            "Either `query`, with the filters of the list, or `ids`. `dry_run` counts and changes nothing. An id that no \
             message has is refused as an item of the job, and the others are acted on.",
        )
        .body::<bulk::BulkBody>()
        .answers::<bulk::JobView>(200, "It is done.")
        .answers::<bulk::JobView>(202, "It was begun and goes on.")
        .field("Location", "The job.")
        .fails([Busy, NotFound])
}

pub(in crate::admin) fn jobs() -> Operation {
    Operation::new("listJobs", "Actions", "Jobs, the newest first.")
        .takes(parameter::paging())
        .page::<bulk::JobView>("A page.")
}

pub(in crate::admin) fn job() -> Operation {
    Operation::new("getJob", "Actions", "Where a job stands, and what became of each message.")
        .takes(parameter::paging())
        .answers::<bulk::JobPageView>(200, "The job with a page of its messages.")
}

pub(in crate::admin) fn cancel_job() -> Operation {
    Operation::new("cancelJob", "Actions", "Let a job end here; what was done stays done.")
        .answers::<bulk::JobView>(200, "The job.")
        .fails([Conflict])
}

pub(in crate::admin) fn threads() -> Operation {
    Operation::new("listThreads", "Threads", "Threads, the newest activity first.")
        .takes(parameter::paging())
        .page::<threads::ThreadView>("A page.")
}

pub(in crate::admin) fn thread() -> Operation {
    Operation::new("getThread", "Threads", "What was said about one reference, in time order.")
        .takes(parameter::paging())
        .page::<threads::ItemView>("A page.")
}

pub(in crate::admin) fn print() -> Operation {
    Operation::new("printThread", "Threads", "A thread as one page to print.")
        .gives("The page.", [("text/html", Some("<h1>INV-12345</h1>"))])
        .fails([Busy, Conflict])
}

pub(in crate::admin) fn add_entry() -> Operation {
    Operation::new("addEntry", "Threads", "Add a call or a note to a thread.")
        .body::<threads::EntryBody>()
        .answers::<threads::EntryView>(201, "The entry.")
        .fails([Conflict])
}

pub(in crate::admin) fn contact() -> Operation {
    Operation::new("getContact", "Threads", "Everything with one counterpart, newest first.")
        .takes(parameter::paging())
        .page::<threads::ItemView>("A page.")
}

pub(in crate::admin) fn statistics() -> Operation {
    Operation::new("getStatistics", "Messages", "How many messages stand where.")
        .takes([parameter::dimension()])
        .takes(every([parameter::narrowing(), parameter::paging()]))
        .details(
            "With `q`, `read` and some filters, messages are counted one by one, the newest first, for some seconds at \
             most. Where that was not all, `complete` is `false`, and `note` says from when on they were counted.",
        )
        .answers::<statistics::StatisticsView>(200, "A page of the numbers, and their sum.")
}

pub(in crate::admin) fn delete_message() -> Operation {
    Operation::new("deleteMessage", "Actions", "Take the content away for good.")
        .details("Leaves who, when and why, and the digest that proves what it was.")
        .body::<actions::DeleteBody>()
        .answers::<MessageView>(200, "What is left.")
        .fails([Conflict])
}

pub(in crate::admin) fn suppressions() -> Operation {
    Operation::new("listSuppressions", "Suppressions", "Who must not be written to.")
        .takes(parameter::suppressed())
        .takes(parameter::paging())
        .page::<suppressions::SuppressionView>("A page.")
}

pub(in crate::admin) fn suppress() -> Operation {
    Operation::new("addSuppression", "Suppressions", "Write to somebody no longer.")
        .body::<suppressions::NewSuppressionBody>()
        .answers::<suppressions::SuppressionView>(201, "A new entry.")
        .answers::<suppressions::SuppressionView>(200, "There was one already.")
}

pub(in crate::admin) fn unsuppress() -> Operation {
    Operation::new("removeSuppression", "Suppressions", "Take an entry away.")
        .empty(204, "It is gone.")
}

pub(in crate::admin) fn deliveries() -> Operation {
    Operation::new("listDeliveries", "Queue", "What applications are still to be told.")
        .takes([parameter::delivery_status()])
        .takes(parameter::paging())
        .page::<outbox::DeliveryView>("A page.")
}

pub(in crate::admin) fn retry_delivery() -> Operation {
    Operation::new("retryDelivery", "Queue", "Try one that was given up again.")
        .empty(202, "It will be tried.")
}

pub(in crate::admin) fn drop_delivery() -> Operation {
    Operation::new("dropDelivery", "Queue", "Drop one for good.").empty(204, "It is gone.")
}

pub(in crate::admin) fn queue() -> Operation {
    Operation::new(
        "getQueue",
        "Queue",
        "Depth by status, the oldest, the next attempts, upstreams.",
    )
    .answers::<QueueBody>(200, "The queue.")
}

pub(in crate::admin) fn pause() -> Operation {
    Operation::new("pauseUpstream", "Queue", "Begin no attempts at an upstream.")
        .answers::<UpstreamView>(200, "The upstream.")
}

pub(in crate::admin) fn resume() -> Operation {
    Operation::new("resumeUpstream", "Queue", "Begin attempts at an upstream again.")
        .answers::<UpstreamView>(200, "The upstream.")
}

pub(in crate::admin) fn tokens() -> Operation {
    Operation::new("listTokens", "Accounts", "Tokens, without their secrets.")
        .takes(parameter::paging())
        .page::<manage::TokenView>("A page.")
}

pub(in crate::admin) fn create_token() -> Operation {
    Operation::new("createToken", "Accounts", "A new token.")
        .body::<manage::NewTokenBody>()
        .answers::<manage::CreatedTokenView>(201, "The token; its secret is shown this once.")
        .fails([Conflict])
        .logged_as("token_created")
}

pub(in crate::admin) fn revoke_token() -> Operation {
    Operation::new("revokeToken", "Accounts", "A token is good no longer.")
        .answers::<manage::TokenView>(200, "The token.")
        .fails([Conflict])
        .logged_as("token_revoked")
}

pub(in crate::admin) fn users() -> Operation {
    Operation::new("listUsers", "Accounts", "Users.")
        .takes(parameter::paging())
        .page::<manage::UserView>("A page.")
}

pub(in crate::admin) fn add_user() -> Operation {
    Operation::new("addUser", "Accounts", "A new user.")
        .details("A password has at least five different characters and is not the name.")
        .body::<manage::NewUserBody>()
        .answers::<manage::UserView>(201, "The user.")
        .fails([Conflict])
        .logged_as("user_added")
}

fn change_user(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, "Accounts", summary)
        .answers::<manage::UserView>(200, "The user.")
        .fails([Conflict])
}

pub(in crate::admin) fn edit_user() -> Operation {
    change_user("editUser", "Change what a user may do; all sessions of the user end.")
        .details(
            "What is left out stays; the last administrator without a limit to apps stays one. `disabled` `false` lets a \
             disabled user in again, with the password and second factor of before; nothing else of a disabled user can \
             be changed.",
        )
        .body::<manage::UserEditBody>()
        .logged_as("user_changed")
}

pub(in crate::admin) fn set_password() -> Operation {
    change_user("setPassword", "Set a password; all sessions of the user end.")
        .body::<manage::PasswordBody>()
        .logged_as("password_set")
}

pub(in crate::admin) fn disable_user() -> Operation {
    change_user("disableUser", "Let a user in no longer; the last administrator stays.")
        .logged_as("user_disabled")
}

pub(in crate::admin) fn reset_two_factor() -> Operation {
    change_user("resetTwoFactor", "Take a user's second factor away.").logged_as("two_factor_reset")
}

pub(in crate::admin) fn unlock_user() -> Operation {
    change_user("unlockUser", "Forget the failed logins of a user.").logged_as("user_unlocked")
}

pub(in crate::admin) fn user_sessions() -> Operation {
    Operation::new("listUserSessions", "Accounts", "The sessions of a user.")
        .page::<session::SessionView>("All of them.")
}

pub(in crate::admin) fn end_user_sessions() -> Operation {
    Operation::new("endUserSessions", "Accounts", "End all sessions of a user.")
        .empty(204, "They are over; 404 where there were none.")
        .logged_as("sessions_ended")
}

fn log(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, "Logs", summary)
        .takes(parameter::of_logs())
        .takes(parameter::paging())
        .page::<logs::EntryView>("A page, newest first.")
}

pub(in crate::admin) fn security_log() -> Operation {
    log("listSecurityLog", "Logins, denials, changes of accounts.")
}

pub(in crate::admin) fn operations_log() -> Operation {
    log("listOperationsLog", "Every call of this API.")
}
