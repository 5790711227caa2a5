//! The body of one request, read whole, within limits of size, time and memory.
//!
//! The beginning of every body costs nothing that others could miss, so that ordinary calls are read
//! whatever large ones are under way; what is beyond it comes from a room that all calls share.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Longest body: ten thousand recipients with their values.
const MAX_BODY_BYTES: usize = 4 << 20;
/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// What every body may take beside the shared room.
const FREE_BYTES: usize = 16 << 10;
/// The shared room.
const ROOM_BYTES: usize = 128 << 20;

/// Room for the large bodies of one port.
#[derive(Debug)]
pub(super) struct BodyRoom(Arc<Semaphore>);

/// A body, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(super) struct WholeBody {
    pub(super) bytes: Bytes,
    pub(super) room: Option<OwnedSemaphorePermit>,
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    TooLarge,
    TooSlow,
    Broken,
    /// Too many large bodies at one time.
    NoRoom,
}

impl BodyRoom {
    pub(super) fn new() -> BodyRoom {
        BodyRoom(Arc::new(Semaphore::new(ROOM_BYTES)))
    }

    /// Reads a body whose length is known, if the client says it.
    pub(super) async fn read(
        &self,
        body: Body,
        length: Option<usize>,
    ) -> Result<WholeBody, Unread> {
        if length.is_some_and(|length| length > MAX_BODY_BYTES) {
            return Err(Unread::TooLarge);
        }
        let whole = tokio::time::timeout(BODY_TIMEOUT, self.collect(body));
        whole.await.unwrap_or(Err(Unread::TooSlow))
    }

    async fn collect(&self, mut body: Body) -> Result<WholeBody, Unread> {
        let mut bytes = BytesMut::new();
        let mut room: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            // What is no data are trailers, which mean nothing to any dialect.
            let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else { continue };
            if bytes.len() + data.len() > MAX_BODY_BYTES {
                return Err(Unread::TooLarge);
            }
            let taken = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let needed = (bytes.len() + data.len()).saturating_sub(FREE_BYTES + taken);
            if needed > 0 {
                // At most the longest body.
                let more = Arc::clone(&self.0).try_acquire_many_owned(needed as u32);
                let more = more.map_err(|_| Unread::NoRoom)?;
                match &mut room {
                    Some(room) => room.merge(more),
                    None => room = Some(more),
                }
            }
            bytes.extend_from_slice(&data);
        }
        Ok(WholeBody { bytes: bytes.freeze(), room })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    async fn read(room: &BodyRoom, size_bytes: usize) -> Result<WholeBody, Unread> {
        room.read(Body::from(vec![b'x'; size_bytes]), None).await
    }

    #[tokio::test]
    async fn sizes_are_kept() {
        let room = BodyRoom::new();
        let declared = room.read(Body::empty(), Some(MAX_BODY_BYTES + 1)).await;
        assert_eq!(declared.unwrap_err(), Unread::TooLarge);
        assert_eq!(read(&room, MAX_BODY_BYTES + 1).await.unwrap_err(), Unread::TooLarge);
        assert_eq!(read(&room, MAX_BODY_BYTES).await.unwrap().bytes.len(), MAX_BODY_BYTES);
        assert_eq!(read(&room, 0).await.unwrap().bytes.len(), 0);
    }

    #[tokio::test]
    async fn large_bodies_leave_ordinary_ones_their_room() {
        let room = BodyRoom::new();
        let mut large = Vec::new();
        while let Ok(body) = read(&room, MAX_BODY_BYTES).await {
            large.push(body);
        }
        assert_eq!(large.len(), ROOM_BYTES / (MAX_BODY_BYTES - FREE_BYTES));
        assert_eq!(read(&room, MAX_BODY_BYTES).await.unwrap_err(), Unread::NoRoom);
        assert!(read(&room, FREE_BYTES).await.unwrap().room.is_none());
        large.clear();
        assert!(read(&room, MAX_BODY_BYTES).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up() {
        let found = BodyRoom::new().read(Body::new(Silent), None).await;
        assert_eq!(found.unwrap_err(), Unread::TooSlow);
    }

    struct Silent;

    impl axum::body::HttpBody for Silent {
        type Data = Bytes;
        type Error = std::io::Error;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
            Poll::Pending
        }
    }
}
