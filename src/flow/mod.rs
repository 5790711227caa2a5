//! Rules on events: webhooks, callbacks in the application's dialect, replies.

pub mod rule;

pub use rule::{Flow, FlowAction, FlowMatcher};
