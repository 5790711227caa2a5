//! Which senders hear by mail of what fails.

use crate::model::EnvelopeRecipient;
use crate::model::envelope::Notice;

/// Which senders hear of what fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureReports {
    /// Those who ask for it with `NOTIFY=FAILURE`.
    #[default]
    Asked,
    /// Those too who say nothing (RFC 5321 §6.1).
    Always,
}

impl FailureReports {
    /// Whether the sender is to hear this of a recipient.
    pub fn wanted(self, recipient: &EnvelopeRecipient, notice: Notice) -> bool {
        let may_go = match self {
            FailureReports::Asked => recipient.notify.is_some(),
            FailureReports::Always => true,
        };
        may_go && recipient.wants(notice)
    }
}
