//! Bytes that requests hold: their bodies, what was parsed of them, and their answers until the client has read them.
//!
//! All requests share one budget. A request that would exceed it gets 429, so that memory stays bounded whatever clients
//! send. The first 16 KiB of a request are not counted, and large requests leave a part of the budget to small ones.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::errors::ApiError;

/// Bytes per permit: a semaphore hands out 32-bit numbers of permits.
const UNIT: usize = 1024;
/// Bytes that a request holds without being counted; a single text and its vector fit.
const FREE: usize = 16 << 10;
/// A request of more bytes than this is large, and leaves a quarter of the budget to others.
const LARGE: usize = 1 << 20;
/// An answer is written in pieces of so many bytes, and held until the last one.
const PIECE: usize = 64 << 10;

/// What all requests may hold together.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    capacity: usize,
}

impl Budget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(u32::MAX as usize);
        Self {
            free: Arc::new(Semaphore::new(units)),
            capacity: units * UNIT,
        }
    }

    /// The share of a request that holds nothing yet.
    #[must_use]
    pub(crate) fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            permits: None,
            bytes: 0,
        }
    }

    fn left(&self) -> usize {
        self.free.available_permits() * UNIT
    }
}

/// Bytes that come piece by piece: room for them is counted in a share before there is any.
#[derive(Debug)]
pub(crate) struct Counted {
    bytes: Vec<u8>,
    room: usize,
    limit: usize,
}

impl Counted {
    /// Nothing yet, and at most `limit` bytes later.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            room: 0,
            limit,
        }
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// It exceeds the limit, or what `share` may count.
    pub(crate) fn extend(&mut self, piece: &[u8], share: &mut Share) -> Result<(), ApiError> {
        let (limit, needed) = (self.limit, self.bytes.len() + piece.len());
        if needed > limit {
            return Err(ApiError::BodyTooLarge { limit });
        }
        if needed > self.room {
            let room = needed.max(2 * self.room).min(limit);
            share.add(room - self.room)?;
            self.bytes.reserve_exact(room - self.bytes.len());
            self.room = room;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// What one request holds; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Share {
    /// Counts so many bytes more.
    ///
    /// # Errors
    /// [`ApiError::RequestMemoryFull`] where others hold too much, [`ApiError::RequestTooLarge`] where there never is enough.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<(), ApiError> {
        let wanted = self.bytes.saturating_add(bytes);
        let reserve = self.budget.capacity / 4;
        if wanted > self.budget.capacity - reserve {
            return Err(ApiError::RequestTooLarge {
                limit: self.budget.capacity - reserve,
            });
        }
        let counted = wanted.saturating_sub(FREE).div_ceil(UNIT);
        let held = self
            .permits
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        if counted > held {
            let more = counted - held;
            if wanted > LARGE && self.budget.left() < more * UNIT + reserve {
                return Err(ApiError::RequestMemoryFull);
            }
            let more = u32::try_from(more).map_err(|_| ApiError::RequestMemoryFull)?;
            let permits = Arc::clone(&self.budget.free).try_acquire_many_owned(more);
            let permits = permits.map_err(|_| ApiError::RequestMemoryFull)?;
            match &mut self.permits {
                Some(held) => held.merge(permits),
                None => self.permits = Some(permits),
            }
        }
        self.bytes = wanted;
        Ok(())
    }

    /// Bytes that it counts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives so many bytes back.
    pub(crate) fn give_back(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let counted = self.bytes.saturating_sub(FREE).div_ceil(UNIT);
        if let Some(permits) = &mut self.permits {
            let surplus = permits.num_permits().saturating_sub(counted);
            drop(permits.split(surplus));
        }
    }

    /// The body of an answer that this share counts.
    pub(crate) fn body(self, json: Vec<u8>) -> Held {
        Held {
            left: json.into(),
            _share: self,
        }
    }
}

/// An answer whose bytes count until the client has taken them.
#[derive(Debug)]
pub(crate) struct Held {
    left: Bytes,
    _share: Share,
}

impl MessageBody for Held {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.left.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.left.len().min(PIECE);
        Poll::Ready(Some(Ok(self.left.split_to(piece))))
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        // The share has to outlive the bytes.
        Err(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_requests_leave_a_part_to_small_ones() {
        let budget = Budget::new(64 << 20);
        let mut large: Vec<Share> = (0..4).map(|_| budget.share()).collect();
        let taken: Vec<bool> = large.iter_mut().map(|s| s.add(20 << 20).is_ok()).collect();
        assert_eq!(taken, [true, true, false, false]);
        let mut small = budget.share();
        small.add(LARGE).unwrap();
        large.clear();
        assert!(budget.share().add(40 << 20).is_ok());
        drop(small);
        assert_eq!(budget.left(), 64 << 20);
    }

    #[test]
    fn a_request_that_never_fits_is_told_so() {
        let refused = Budget::new(4 << 20).share().add(usize::MAX);
        assert!(matches!(refused, Err(ApiError::RequestTooLarge { .. })));
    }

    #[test]
    fn what_is_given_back_can_be_taken() {
        let budget = Budget::new(4 << 20);
        let mut share = budget.share();
        share.add(2 << 20).unwrap();
        share.give_back(2 << 20);
        assert_eq!(budget.left(), 4 << 20);
        share.add(FREE).unwrap();
        assert_eq!(budget.left(), 4 << 20);
    }

    #[actix_web::test]
    async fn an_answer_counts_until_its_last_piece() {
        let budget = Budget::new(4 << 20);
        let mut share = budget.share();
        share.add(1 << 20).unwrap();
        let mut body = Box::pin(share.body(vec![b'x'; 1 << 20]));
        let mut sent = 0;
        while sent < 1 << 20 {
            assert!(budget.left() < 4 << 20);
            let piece = std::future::poll_fn(|c| body.as_mut().poll_next(c)).await;
            sent += piece.unwrap().unwrap().len();
        }
        drop(body);
        assert_eq!(budget.left(), 4 << 20);
    }
}
