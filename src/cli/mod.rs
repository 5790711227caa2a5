//! The command line: what can be asked for, and how each command ends.

pub mod demo;
