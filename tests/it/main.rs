//! What a user was promised, one file for each promise.

mod bytes_untouched;
mod mime_corpus;
mod preview_is_inert;
mod reading_is_bounded;
