//! Answers that are written while they are read: a body fed by a task, a few chunks ahead at most.
//!
//! What it keeps: whoever feeds it waits for the reader, so nothing gathers in memory; a reader who
//! takes nothing for too long is given up; and an answer that could not be finished ends with an
//! error, so that its connection is cut and nobody takes half of it for the whole.
//! Not here: what is written, and the socket below, which has a deadline of its own (`net::http`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Chunks that may wait for the reader, beside what the socket holds.
pub(super) const CHUNKS_AHEAD: usize = 2;

/// Why a streamed answer ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Cut {
    #[error("the reader is gone")]
    Gone,
    #[error("the reader takes nothing")]
    TooSlow,
    #[error("the rest could not be read")]
    Failed,
    #[error("the right to read it was taken away")]
    NotAllowed,
}

/// The side that writes.
pub(super) struct Feed {
    chunks: mpsc::Sender<Result<Bytes, Cut>>,
    patience: Duration,
}

/// A body, and what writes it; the body ends in order when the feed is dropped.
pub(super) fn streamed(patience: Duration) -> (Feed, Body) {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    (Feed { chunks: sender, patience }, Body::new(Chunks(receiver)))
}

impl Feed {
    /// Waits until there is room for it.
    pub(super) async fn send(&self, chunk: Bytes) -> Result<(), Cut> {
        if chunk.is_empty() {
            return Ok(());
        }
        match tokio::time::timeout(self.patience, self.chunks.send(Ok(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Cut::Gone),
            Err(_) => Err(Cut::TooSlow),
        }
    }

    /// Cuts the answer off: what was sent is not the whole.
    pub(super) async fn fail(self) {
        let _ = tokio::time::timeout(self.patience, self.chunks.send(Err(Cut::Failed))).await;
    }

    /// Returns when the reader is gone.
    pub(super) async fn gone(&self) {
        self.chunks.closed().await;
    }
}

struct Chunks(mpsc::Receiver<Result<Bytes, Cut>>);

impl HttpBody for Chunks {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_given_up_and_nothing_gathers() {
        let (feed, body) = streamed(Duration::from_secs(5));
        for _ in 0..CHUNKS_AHEAD {
            assert_eq!(feed.send(Bytes::from("x")).await, Ok(()));
        }
        assert_eq!(feed.send(Bytes::from("x")).await, Err(Cut::TooSlow));
        drop(body);
        feed.gone().await;
        assert_eq!(feed.send(Bytes::from("x")).await, Err(Cut::Gone));
    }

    #[tokio::test]
    async fn half_an_answer_is_not_taken_for_the_whole() {
        let (feed, body) = streamed(Duration::from_secs(5));
        feed.send(Bytes::from("half")).await.unwrap();
        feed.fail().await;
        assert!(body.collect().await.is_err());
        let (feed, body) = streamed(Duration::from_secs(5));
        feed.send(Bytes::from("all")).await.unwrap();
        drop(feed);
        assert_eq!(body.collect().await.unwrap().to_bytes(), "all");
    }
}
