//! What users were promised, held against the program over real sockets.

mod admin_access;
mod admin_accounts;
mod admin_actions;
mod admin_health;
mod admin_messages;
mod relay_pool;
mod relay_postfix;
mod relay_refusals;
mod relay_tls;
mod relay_wire;
mod support;
