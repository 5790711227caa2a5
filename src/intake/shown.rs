//! An archived SMS as the dialects show it.

use crate::archive::Message;
use crate::sms::call::Shown;

/// `None` when it is no SMS.
pub fn shown(_message: &Message) -> Option<Shown> {
    todo!()
}
