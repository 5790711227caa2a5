//! Who may do what: users, roles, tokens.

pub mod role;

pub use role::Role;
