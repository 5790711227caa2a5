//! The recipient's state machine, the judgement of outcomes, retry times, hold and stop rules.

pub mod retry;

pub use retry::RetrySchedule;
