//! The running gateway, and how commands reach it.

pub mod control;

pub use control::{ControlSocket, ControlSocketError};
