//! A body comes in time or not at all: whoever sends one byte a minute does not hold a handler for ever.
//!
//! Cast: [`in_time`]. It knows nothing of what is in a body.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use futures_util::Stream;
use tokio::time::{Instant, Sleep};

/// For the first byte, and however small the body is.
const AT_LEAST: Duration = Duration::from_secs(30);
/// Slower than this on the whole is too slow, in bytes per second.
const SLOWEST: u64 = 8 * 1024;

/// A body with an end in time.
struct Timed<S> {
    body: S,
    /// The earliest end and the one in force; set when the body is first asked for: a handler may think before it reads.
    patience: Option<(Instant, Pin<Box<Sleep>>)>,
    bytes: u64,
}

impl<S: Stream<Item = Result<Bytes, PayloadError>> + Unpin> Stream for Timed<S> {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let (earliest, sleep) = this.patience.get_or_insert_with(|| {
            let sleep = Box::pin(tokio::time::sleep(AT_LEAST));
            (sleep.deadline(), sleep)
        });
        match Pin::new(&mut this.body).poll_next(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                this.bytes += chunk.len() as u64;
                sleep.as_mut().reset(*earliest + Duration::from_secs(this.bytes / SLOWEST));
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Pending if sleep.as_mut().poll(context).is_ready() => {
                Poll::Ready(Some(Err(PayloadError::Io(std::io::Error::from(std::io::ErrorKind::TimedOut)))))
            }
            other => other,
        }
    }
}

/// Puts a limit on the time a request's body may take.
pub fn in_time(request: &mut ServiceRequest) {
    match HttpMessage::take_payload(request) {
        Payload::None => {}
        body => request.set_payload(Payload::Stream { payload: Box::pin(Timed { body, patience: None, bytes: 0 }) }),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;
    use futures_util::stream;

    use super::*;

    /// A body of chunks, each after a pause; how many bytes come through, and whether all of them.
    async fn read(chunk: usize, chunks: usize, pause: Duration) -> (usize, bool) {
        let body = stream::iter(0..chunks).then(move |_| async move {
            tokio::time::sleep(pause).await;
            Ok(Bytes::from(vec![0; chunk]))
        });
        let mut timed = Timed { body: Box::pin(body), patience: None, bytes: 0 };
        let mut bytes = 0;
        while let Some(next) = timed.next().await {
            match next {
                Ok(chunk) => bytes += chunk.len(),
                Err(error) => {
                    assert!(matches!(error, PayloadError::Io(_)), "{error}");
                    return (bytes, false);
                }
            }
        }
        (bytes, true)
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_ends_and_a_slow_but_steady_body_comes_through() {
        assert_eq!(read(1, 100, Duration::from_secs(4)).await, (7, false));
        assert_eq!(read(64 * 1024, 500, Duration::from_secs(4)).await, (500 * 64 * 1024, true));
        assert_eq!(read(10, 3, Duration::from_secs(9)).await, (30, true));
        assert_eq!(read(10, 1, Duration::from_secs(31)).await, (0, false));
    }
}
