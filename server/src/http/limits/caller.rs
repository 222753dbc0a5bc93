//! The caller of a request: its API key, or the address that it came from.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix_web::{HttpMessage, HttpRequest};
use lexivec_runtime::Caller;

use super::keys::ApiKey;
use crate::http::connections::addresses::network;

/// The API key of a request, if it has one.
pub(crate) fn key(request: &HttpRequest) -> Option<Arc<ApiKey>> {
    request.extensions().get::<Arc<ApiKey>>().cloned()
}

/// The caller of a request as the engine's scheduling sees it, with the request's deadline.
pub(crate) fn caller(request: &HttpRequest, time: Duration) -> Caller {
    let deadline = Instant::now().checked_add(time);
    match key(request) {
        Some(key) => Caller {
            flow: key.flow(),
            weight: key.share,
            deadline,
        },
        None => Caller {
            flow: address_id(request),
            deadline,
            ..Caller::default()
        },
    }
}

fn address_id(request: &HttpRequest) -> u64 {
    // Seeded, so that no client can choose an address that collides with another's.
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let address = request.peer_addr().map(|address| network(address.ip()));
    SEED.hash_one(address)
}
