//! What users were promised, held against the real program over real sockets.

mod acknowledged_is_never_lost;
mod bytes_untouched;
mod disk_full;
mod interop_curl;
mod interop_msmtp;
mod interop_nodemailer;
mod interop_postfix;
mod interop_python;
mod interop_smtp_source;
mod interop_swaks;
mod mime_corpus;
mod preview_is_inert;
mod reading_is_bounded;
mod relay_pool;
mod relay_postfix;
mod relay_refusals;
mod relay_tls;
mod relay_wire;
mod rewriting_touches_no_other_byte;
mod slow_clients;
mod stop_and_send_exclude;
mod storage_error;
mod support;
