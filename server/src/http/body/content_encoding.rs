//! Decodes compressed request bodies.
//!
//! A few kilobytes of gzip may decode to gigabytes. So memory for each piece is reserved before the piece is stored, and decoding
//! stops at the limit of bodies.

use std::io::Read as _;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_ENCODING;
use flate2::read::MultiGzDecoder;

use crate::http::errors::ApiError;
use crate::http::limits::memory_budget::{CountedBuffer, Reservation};

/// The most bytes decoded at a time.
const PIECE: usize = 64 << 10;

/// The content encoding of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentEncoding {
    /// Not encoded.
    Identity,
    Gzip,
}

impl ContentEncoding {
    /// Reads the header `Content-Encoding`.
    ///
    /// # Errors
    /// [`ApiError::UnsupportedEncoding`]: another encoding, or several.
    pub(crate) fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let mut found = Self::Identity;
        for header in request.headers().get_all(CONTENT_ENCODING) {
            let name = String::from_utf8_lossy(header.as_bytes());
            match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                "gzip" | "x-gzip" if found == Self::Identity => found = Self::Gzip,
                _ => {
                    return Err(ApiError::UnsupportedEncoding {
                        encoding: name.into_owned(),
                    });
                }
            }
        }
        Ok(found)
    }
}

/// Decodes gzip to at most `limit` bytes, which are added to `reservation`.
///
/// # Errors
/// The bytes are not gzip or are cut short, or the decoded body exceeds the limit or the memory budget.
pub(crate) fn gunzip(
    bytes: &[u8],
    limit: usize,
    reservation: &mut Reservation,
) -> Result<Vec<u8>, ApiError> {
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut decoded = CountedBuffer::new(limit);
    let mut piece = vec![0; PIECE];
    loop {
        let count = decoder.read(&mut piece).map_err(|error| {
            ApiError::UnreadableBody(format!(
                "it is not valid gzip, which the header `Content-Encoding` announces: {error}"
            ))
        })?;
        if count == 0 {
            return Ok(decoded.into_bytes());
        }
        decoded.extend(&piece[..count], reservation)?;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::http::limits::memory_budget::Budget;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_decoded_and_its_memory_reserved() {
        let text = b"heart ".repeat(100_000);
        let mut reservation = Budget::new(64 << 20).reservation();
        assert_eq!(
            gunzip(&gzip(&text), 1 << 20, &mut reservation).unwrap(),
            text
        );
        assert!(reservation.bytes() >= text.len() && reservation.bytes() <= 1 << 20);
        let halves = [gzip(b"heart"), gzip(b" beat")].concat();
        assert_eq!(
            gunzip(&halves, 100, &mut reservation).unwrap(),
            b"heart beat"
        );
    }

    #[test]
    fn gzip_bombs_stop_at_the_limit_and_at_the_budget() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 1 << 17);
        let mut reservation = Budget::new(64 << 20).reservation();
        let rejected = gunzip(&bomb, 1 << 20, &mut reservation);
        assert!(matches!(rejected, Err(ApiError::BodyTooLarge { .. })));
        assert!(reservation.bytes() <= 1 << 20);
        let mut small = Budget::new(4 << 20).reservation();
        let rejected = gunzip(&bomb, 32 << 20, &mut small);
        assert!(matches!(rejected, Err(ApiError::RequestTooLarge { .. })));
        assert!(small.bytes() <= 4 << 20);
    }

    #[test]
    fn invalid_and_truncated_gzip_is_an_error() {
        let mut reservation = Budget::new(4 << 20).reservation();
        let whole = gzip(b"{\"a\":1}");
        for bytes in [&b"{}"[..], b"", &whole[..whole.len() - 3]] {
            let error = gunzip(bytes, 100, &mut reservation)
                .unwrap_err()
                .to_string();
            assert!(error.contains("Content-Encoding"), "{error}");
        }
    }
}
