//! Who asks: the key that a request gave, or the address that it came from.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use actix_web::{HttpMessage, HttpRequest};
use lexivec_runtime::Caller;

use super::keys::ApiKey;
use crate::http::connections::addresses::network;

/// The key of a request that gave one.
pub(crate) fn key(request: &HttpRequest) -> Option<Arc<ApiKey>> {
    request.extensions().get::<Arc<ApiKey>>().cloned()
}

/// Whose share a request takes, and until when its answer is wanted.
pub(crate) fn caller(request: &HttpRequest, time: Duration) -> Caller {
    let deadline = Instant::now().checked_add(time);
    match key(request) {
        Some(key) => Caller {
            flow: key.flow(),
            weight: key.share,
            deadline,
        },
        None => Caller {
            flow: of_address(request),
            deadline,
            ..Caller::default()
        },
    }
}

fn of_address(request: &HttpRequest) -> u64 {
    // Seeded, so that nobody can choose an address that counts as another's.
    static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    let address = request.peer_addr().map(|address| network(address.ip()));
    SEED.hash_one(address)
}
