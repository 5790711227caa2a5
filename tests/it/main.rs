//! What users were promised, held against the program over real sockets.

mod relay_pool;
mod relay_postfix;
mod relay_refusals;
mod relay_tls;
mod relay_wire;
mod support;
