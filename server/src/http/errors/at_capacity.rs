//! The errors of the limit of texts in flight.

/// Why a request was not admitted. Nothing of it was computed, and a retry may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AtCapacity {
    /// Other texts leave no room for all texts of the request.
    #[error(
        "too many texts are in flight: this model accepts {capacity} at a time and has {in_flight}, so the {texts} texts of \
         this request do not fit: try again later"
    )]
    Full {
        /// The texts of the request.
        texts: usize,
        /// The texts in flight.
        in_flight: usize,
        /// The limit.
        capacity: usize,
    },
    /// The request fits only into the capacity that is reserved for small requests.
    #[error(
        "too many texts are in flight for a request of {texts} texts: this model accepts {capacity} at a time and has \
         {in_flight}, and room for {reserved} is reserved for small requests: try again later, or send fewer texts per request"
    )]
    Reserved {
        /// The texts of the request.
        texts: usize,
        /// The texts in flight.
        in_flight: usize,
        /// The limit.
        capacity: usize,
        /// The texts that only small requests may add.
        reserved: usize,
    },
    /// The request exceeds the caller's share, and other callers want theirs.
    #[error(
        "this client has {own} texts in flight, and the {texts} texts of this request exceed its share, which is {share} \
         texts while other clients send requests: try again later"
    )]
    ShareExceeded {
        /// The texts of the request.
        texts: usize,
        /// The caller's texts in flight.
        own: usize,
        /// The caller's share.
        share: usize,
    },
}
