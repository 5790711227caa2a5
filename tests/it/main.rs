//! Tests of what a user was promised, through the real binary and over real sockets.

mod check_command;
mod config_bad;
