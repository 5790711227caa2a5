//! The recipient's state machine: what an action, a claim or an outcome makes of a state.
//!
//! One total function, [`step`], decides every transition and carries its reason. It is pure: the
//! time, the verdict of the upstream and the rules of the app are inputs. The archive's writer calls
//! it inside its transaction, so of two wishes that exclude each other exactly one is granted.
//!
//! | state | leaves by | to |
//! |---|---|---|
//! | `Held` | its time or a release, stop, expiry | `Claimed` or `Due`, `Stopped`, `Failed` |
//! | `Due` | claim, stop, expiry | `Claimed`, `Stopped`, `Failed` |
//! | `Held`, `Due` after an unknown outcome | a receipt or a report by mail too | `Sent`, `Failed` |
//! | `Held`, `Due` of a mail | the suppression list | `NotSent` |
//! | `Claimed` | judgement, return, recovery | `Sent`, `Due`, `Held`, `Failed` |
//! | `Sent` | a receipt that it was lost, a bounce | `Failed` |
//! | `Stopped`, `Failed`, `NotSent` | restart | `Due` |
//!
//! Two judgements that move no state stand beside it, as pure: `visitor` says of the hits on a recipient's
//! links and pixel who made each of them, a person or a machine, with `agent`, which reads what programs
//! call themselves; and `suppression` says on which grounds an address is not written to again, by whom,
//! and for how long.

mod agent;
mod judge;
mod mail_report;
mod receipt;
pub mod retry;
mod step;
mod suppression;
mod visitor;

pub use judge::OWES_REPORT;
pub use mail_report::{MailNews, MailReportKind};
pub use receipt::{Part, Receipt};
pub use retry::RetrySchedule;
pub use step::{Input, Note, Progress, Refusal, Step, step};
pub use suppression::Ground;
pub use visitor::{JUDGEMENT_VERSION, Reason, Verdict, engagement, judge_hits};
