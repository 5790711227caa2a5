//! Graceful stop: one signal to come to an end, a time for it, then the end.
//!
//! Tasks are spawned here so that they can be waited for. A task that looks at [`Stop::requested`]
//! ends by itself; whoever has not when the time is over is dropped where it waits.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The stop signal and the tasks that obey it; clones share both.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    requested: CancellationToken,
    overdue: CancellationToken,
    tasks: TaskTracker,
}

impl Stop {
    /// Nothing is stopped yet.
    pub fn new() -> Stop {
        Stop::default()
    }

    /// Waits until somebody asks for the end.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Whether somebody asked for the end.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Runs a task that [`Stop::finish`] waits for. A panic ends that task alone.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let overdue = self.overdue.clone();
        self.tasks.spawn(async move {
            overdue.run_until_cancelled(task).await;
        });
    }

    /// Asks for the end and returns at once.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Asks for the end and waits for all tasks; those that are still there after `grace` are
    /// dropped. Gives whether all ended by themselves.
    pub async fn finish(&self, grace: Duration) -> bool {
        self.request();
        self.tasks.close();
        if tokio::time::timeout(grace, self.tasks.wait()).await.is_ok() {
            return true;
        }
        self.overdue.cancel();
        self.tasks.wait().await;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_end_is_dropped() {
        let stop = Stop::new();
        stop.spawn(std::future::pending());
        assert!(!stop.finish(Duration::from_secs(10)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_is_waited_for() {
        let stop = Stop::new();
        let inside = stop.clone();
        stop.spawn(async move {
            inside.requested().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        });
        assert!(!stop.is_requested());
        assert!(stop.finish(Duration::from_secs(10)).await);
    }
}
