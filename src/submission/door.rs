//! What the SMTP port needs of the door, and the one place where a message is acknowledged.

use std::future::Future;

use crate::archive::Durable;
use crate::intake::{Intake, Submission};
use crate::model::{EnhancedCode, MessageId, Reply};

/// Takes complete messages.
pub trait Door: Clone + Send + Sync + 'static {
    /// Whether there is room for another message; asked at MAIL.
    fn has_room(&self) -> bool;

    /// Makes a message durable. A 2yz reply says that it is; any other says that it is not.
    fn submit(&self, submission: Submission) -> impl Future<Output = Reply> + Send;
}

impl Door for Intake {
    fn has_room(&self) -> bool {
        Intake::has_room(self)
    }

    async fn submit(&self, submission: Submission) -> Reply {
        match Intake::submit(self, submission).await {
            Ok(id) => receipt(&id),
            Err(reply) => reply,
        }
    }
}

/// From here the message is ours. Only the archive can make a `Durable`, so nothing else can lead
/// to this reply. Its form is what old tools look for.
fn receipt(id: &Durable<MessageId>) -> Reply {
    Reply::new(250, Some(EnhancedCode(2, 0, 0)), &format!("Ok: queued as {}", id.get()))
}
