//! Waiting of a thread that belongs to no runtime.
//!
//! The thread that feeds the index outlives the runtime where an archive is dropped and not closed, and
//! the timers of a runtime that ends panic. So it waits by the clock of the system, for futures that
//! need no runtime: of channels, tokens and notes.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// What comes of `future`, or `None` where it takes longer than `limit`; without one, it may take for
/// ever.
pub(super) fn wait<T>(future: impl Future<Output = T>, limit: Option<Duration>) -> Option<T> {
    let end = limit.map(|limit| Instant::now() + limit);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
        match end {
            None => thread::park(),
            Some(end) => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return None;
                }
                thread::park_timeout(left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{oneshot, watch};

    use super::*;

    #[test]
    fn what_never_comes_is_waited_for_no_longer_than_allowed() {
        let limit = Duration::from_millis(20);
        let begin = Instant::now();
        assert_eq!(wait(std::future::pending::<()>(), Some(limit)), None);
        assert!(begin.elapsed() >= limit);
    }

    #[test]
    fn news_from_another_thread_end_the_wait() {
        let (sender, receiver) = oneshot::channel();
        let other = thread::spawn(move || sender.send(7).is_ok());
        assert_eq!(wait(receiver, None), Some(Ok(7)));
        assert!(other.join().unwrap());
    }

    #[test]
    fn a_channel_that_ends_with_its_runtime_ends_the_wait() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (sender, mut receiver) = watch::channel(0);
        runtime.spawn(async move {
            sender.closed().await;
        });
        let waiting = thread::spawn(move || wait(receiver.changed(), None).map(|end| end.is_err()));
        runtime.shutdown_background();
        assert_eq!(waiting.join().unwrap(), Some(true));
    }
}
