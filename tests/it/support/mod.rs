//! What several promises need to be tested: peers that obey a script.

pub mod admin;
pub mod sink;
pub mod tls;
pub mod upstream;
