//! What users were promised, held against the program over real sockets.
mod relay_pool;
mod relay_postfix;
mod relay_refusals;
mod relay_tls;
mod relay_wire;
mod support;
//! What a user was promised, one file for each promise.
mod bytes_untouched;
mod mime_corpus;
mod preview_is_inert;
mod reading_is_bounded;
