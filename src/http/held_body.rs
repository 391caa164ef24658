//! Answers that wait in memory until the client has read them. They count against the same share as
//! the bodies of requests.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::response::Response;
use http_body_util::BodyExt as _;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::domain::Error;
use crate::service::Service;
use crate::shares::{Holder, Permit};

/// The answers that need no permit are smaller, in bytes.
const FREE: u64 = 16 << 10;
/// The library takes this many bytes at a time, and no more before it has sent them.
const PART: usize = 16 << 10;

/// The rest of an answer, and the permit for its size.
struct HeldBody {
    rest: Bytes,
    _permit: Permit,
}

impl HttpBody for HeldBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let length = self.rest.len().min(PART);
        if length == 0 {
            return Poll::Ready(None);
        }
        let part = self.rest.split_to(length);
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(u64::try_from(self.rest.len()).unwrap_or(u64::MAX))
    }
}

/// Takes the permit for a large answer, which is given back when the answer has been sent or its
/// client is gone. Answers of unknown size are made while they are sent, and need none.
///
/// # Errors
/// The errors of [`Service::body_permit`].
pub(super) async fn hold(
    service: &Service,
    holder: Holder,
    response: Response,
) -> Result<Response, Error> {
    let Some(size) = response
        .body()
        .size_hint()
        .exact()
        .filter(|size| *size > FREE)
    else {
        return Ok(response);
    };
    let bytes = usize::try_from(size).unwrap_or(usize::MAX);
    let permit = service.body_permit(holder, bytes).await?;
    let (parts, body) = response.into_parts();
    // It is in memory, so this does not wait.
    let rest = body
        .collect()
        .await
        .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
    let held = HeldBody {
        rest,
        _permit: permit,
    };
    Ok(Response::from_parts(parts, Body::new(held)))
}
