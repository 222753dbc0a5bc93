//! The memory budget of requests: their bodies, the parsed values, and their responses until the client has read them.
//!
//! All requests share one budget. A request that would exceed it gets a 429, so that memory stays bounded whatever clients
//! send. The first 16 KiB of a request are not counted. Large requests leave a fraction of the budget to small ones.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, MessageBody};
use actix_web::web::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::errors::ApiError;

/// The bytes per permit, because a semaphore counts permits in 32 bits.
const UNIT: usize = 1024;
/// The bytes of a request that are not counted. A single text and its vector fit.
const FREE: usize = 16 << 10;
/// A request of more bytes is large, and leaves a quarter of the budget to others.
const LARGE: usize = 1 << 20;
/// Responses are written in pieces of this many bytes. They count until the last one is written. The HTTP library's copy of a piece is
/// not counted, so pieces are small; each takes a system call, so they are not smaller.
const PIECE: usize = 256 << 10;

/// The memory that all requests may use together; clones share it.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    capacity: usize,
}

impl Budget {
    /// Creates a budget of `bytes` bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT).min(u32::MAX as usize);
        Self {
            free: Arc::new(Semaphore::new(units)),
            capacity: units * UNIT,
        }
    }

    /// Creates the reservation of a request, with nothing reserved yet.
    #[must_use]
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation {
            budget: self.clone(),
            permits: None,
            bytes: 0,
        }
    }

    fn available(&self) -> usize {
        self.free.available_permits() * UNIT
    }
}

/// A buffer that grows piece by piece, and reserves its memory before it allocates it.
#[derive(Debug)]
pub(crate) struct CountedBuffer {
    bytes: Vec<u8>,
    capacity: usize,
    limit: usize,
}

impl CountedBuffer {
    /// Creates an empty buffer for at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            capacity: 0,
            limit,
        }
    }

    /// Appends a piece.
    ///
    /// # Errors
    /// The piece exceeds the limit, or the memory that can be reserved.
    pub(crate) fn extend(
        &mut self,
        piece: &[u8],
        reservation: &mut Reservation,
    ) -> Result<(), ApiError> {
        let (limit, needed) = (self.limit, self.bytes.len() + piece.len());
        if needed > limit {
            return Err(ApiError::BodyTooLarge { limit });
        }
        if needed > self.capacity {
            let capacity = needed.max(2 * self.capacity).min(limit);
            reservation.add(capacity - self.capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
            self.capacity = capacity;
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The memory of one request. Dropping it releases the memory.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Budget,
    permits: Option<OwnedSemaphorePermit>,
    bytes: usize,
}

impl Reservation {
    /// Reserves `bytes` more bytes.
    ///
    /// # Errors
    /// [`ApiError::RequestMemoryFull`] if other requests hold too much, [`ApiError::RequestTooLarge`] if the bytes never fit.
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
            if wanted > LARGE && self.budget.available() < more * UNIT + reserve {
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

    /// The reserved bytes, the uncounted first ones included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Releases `bytes` bytes.
    pub(crate) fn release(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
        let counted = self.bytes.saturating_sub(FREE).div_ceil(UNIT);
        if let Some(permits) = &mut self.permits {
            let surplus = permits.num_permits().saturating_sub(counted);
            drop(permits.split(surplus));
        }
    }

    /// Creates a response body that holds the reservation.
    pub(crate) fn body(self, json: Vec<u8>) -> ReservedBody {
        ReservedBody {
            rest: json.into(),
            _reservation: self,
        }
    }
}

/// A response body. Its reservation ends when the client has read it.
#[derive(Debug)]
pub(crate) struct ReservedBody {
    rest: Bytes,
    _reservation: Reservation,
}

impl MessageBody for ReservedBody {
    type Error = std::convert::Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let piece = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(self.rest.split_to(piece))))
    }

    fn try_into_bytes(self) -> Result<Bytes, Self> {
        // The reservation has to outlive the bytes.
        Err(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_requests_leave_a_part_to_small_requests() {
        let budget = Budget::new(64 << 20);
        let mut large: Vec<Reservation> = (0..4).map(|_| budget.reservation()).collect();
        let taken: Vec<bool> = large.iter_mut().map(|s| s.add(20 << 20).is_ok()).collect();
        assert_eq!(taken, [true, true, false, false]);
        let mut small = budget.reservation();
        small.add(LARGE).unwrap();
        large.clear();
        assert!(budget.reservation().add(40 << 20).is_ok());
        drop(small);
        assert_eq!(budget.available(), 64 << 20);
    }

    #[test]
    fn a_request_that_never_fits_is_too_large() {
        let rejected = Budget::new(4 << 20).reservation().add(usize::MAX);
        assert!(matches!(rejected, Err(ApiError::RequestTooLarge { .. })));
    }

    #[test]
    fn released_memory_can_be_reserved_again() {
        let budget = Budget::new(4 << 20);
        let mut reservation = budget.reservation();
        reservation.add(2 << 20).unwrap();
        reservation.release(2 << 20);
        assert_eq!(budget.available(), 4 << 20);
        reservation.add(FREE).unwrap();
        assert_eq!(budget.available(), 4 << 20);
    }

    #[actix_web::test]
    async fn a_response_counts_until_its_last_piece() {
        let budget = Budget::new(4 << 20);
        let mut reservation = budget.reservation();
        reservation.add(1 << 20).unwrap();
        let mut body = Box::pin(reservation.body(vec![b'x'; 1 << 20]));
        let mut sent = 0;
        while sent < 1 << 20 {
            assert!(budget.available() < 4 << 20);
            let piece = std::future::poll_fn(|c| body.as_mut().poll_next(c)).await;
            sent += piece.unwrap().unwrap().len();
        }
        drop(body);
        assert_eq!(budget.available(), 4 << 20);
    }
}
