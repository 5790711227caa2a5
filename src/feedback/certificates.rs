//! The certificates by which Amazon's calls are proven: fetched once from where `events` allows it, and
//! remembered.
//!
//! What a stranger can make us do is bounded: one fetch at a time, and after one that failed none for a
//! while. Amazon comes again meanwhile.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use url::Url;

use super::hooks::HookError;
use crate::model::Timestamp;

/// One fetch, within limits; says in words why there is nothing.
pub type Fetch =
    Arc<dyn Fn(Url) -> Pin<Box<dyn Future<Output = Result<Bytes, String>> + Send>> + Send + Sync>;

/// Amazon signs with one or two at a time.
const MAX_KNOWN: usize = 8;
/// After a fetch that failed.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub(super) struct Certificates(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    certificates: HashMap<Url, Bytes>,
    failed_at: Option<Timestamp>,
}

impl Certificates {
    /// The document at this URL.
    pub(super) async fn get(
        &self,
        url: &Url,
        fetch: &Fetch,
        now: Timestamp,
    ) -> Result<Bytes, HookError> {
        // Held while one is fetched, so that others wait for it instead of fetching it too.
        let mut known = self.0.lock().await;
        if let Some(certificate) = known.certificates.get(url) {
            return Ok(certificate.clone());
        }
        let is_soon = |at: Timestamp| now >= at && now.since(at) < PAUSE;
        if known.failed_at.is_some_and(is_soon) {
            return Err(HookError::NotNow);
        }
        match fetch(url.clone()).await {
            Ok(certificate) => {
                if known.certificates.len() >= MAX_KNOWN {
                    known.certificates.clear();
                }
                known.certificates.insert(url.clone(), certificate.clone());
                Ok(certificate)
            }
            Err(error) => {
                known.failed_at = Some(now);
                tracing::warn!(%url, error, "the certificate of a call can not be fetched");
                Err(HookError::NotNow)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_certificate_is_fetched_once_and_what_fails_is_not_tried_at_once() {
        let fetches = Arc::<AtomicUsize>::default();
        let counter = fetches.clone();
        let fetch: Fetch = Arc::new(move |url| {
            counter.fetch_add(1, Ordering::SeqCst);
            Box::pin(async move {
                match url.path() {
                    "/good" => Ok(Bytes::from_static(b"certificate")),
                    _ => Err("the answer is 404".into()),
                }
            })
        });
        let (good, bad) =
            (Url::parse("https://a.example/good"), Url::parse("https://a.example/bad"));
        let (good, bad) = (good.unwrap(), bad.unwrap());
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        let certificates = Certificates::default();
        assert!(certificates.get(&bad, &fetch, at(0)).await.is_err());
        assert!(certificates.get(&good, &fetch, at(9)).await.is_err());
        assert_eq!(fetches.load(Ordering::SeqCst), 1);
        for _ in 0..3 {
            assert_eq!(certificates.get(&good, &fetch, at(10)).await.unwrap(), "certificate");
        }
        assert!(certificates.get(&bad, &fetch, at(11)).await.is_err());
        assert_eq!(certificates.get(&good, &fetch, at(12)).await.unwrap(), "certificate");
        assert_eq!(fetches.load(Ordering::SeqCst), 3);
    }
}
