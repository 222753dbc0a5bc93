//! Decodes bodies that a client has compressed.
//!
//! A few kilobytes of gzip may decode to gigabytes. So each piece is counted in the request's share before there is room for
//! it, and decoding ends at the body's limit.

use std::io::Read as _;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_ENCODING;
use flate2::read::MultiGzDecoder;

use crate::http::errors::ApiError;
use crate::http::limits::memory_budget::{Counted, Share};

/// Bytes that are decoded at a time.
const PIECE: usize = 64 << 10;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// As it is.
    Identity,
    Gzip,
}

impl Encoding {
    /// By the request's `Content-Encoding`.
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

/// Decodes gzip of at most `limit` bytes; what comes of it is counted in `share`.
///
/// # Errors
/// It is no gzip, is cut off, or is larger than the limit or the share allows.
pub(crate) fn gunzip(bytes: &[u8], limit: usize, share: &mut Share) -> Result<Vec<u8>, ApiError> {
    let mut decoder = MultiGzDecoder::new(bytes);
    let mut decoded = Counted::new(limit);
    let mut piece = vec![0; PIECE];
    loop {
        let count = decoder.read(&mut piece).map_err(|error| {
            ApiError::UnreadableBody(format!(
                "it is not whole gzip, as the header `Content-Encoding` says it is: {error}"
            ))
        })?;
        if count == 0 {
            return Ok(decoded.into_bytes());
        }
        decoded.extend(&piece[..count], share)?;
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
    fn what_was_packed_comes_out_and_is_counted() {
        let text = b"heart ".repeat(100_000);
        let mut share = Budget::new(64 << 20).share();
        assert_eq!(gunzip(&gzip(&text), 1 << 20, &mut share).unwrap(), text);
        assert!(share.bytes() >= text.len() && share.bytes() <= 1 << 20);
        let halves = [gzip(b"heart"), gzip(b" beat")].concat();
        assert_eq!(gunzip(&halves, 100, &mut share).unwrap(), b"heart beat");
    }

    #[test]
    fn bombs_end_at_the_limit_and_at_the_budget() {
        let bomb = gzip(&vec![b' '; 64 << 20]);
        assert!(bomb.len() < 1 << 17);
        let mut share = Budget::new(64 << 20).share();
        let refused = gunzip(&bomb, 1 << 20, &mut share);
        assert!(matches!(refused, Err(ApiError::BodyTooLarge { .. })));
        assert!(share.bytes() <= 1 << 20);
        let mut small = Budget::new(4 << 20).share();
        let refused = gunzip(&bomb, 32 << 20, &mut small);
        assert!(matches!(refused, Err(ApiError::RequestTooLarge { .. })));
        assert!(small.bytes() <= 4 << 20);
    }

    #[test]
    fn what_is_no_gzip_or_cut_off_is_said() {
        let mut share = Budget::new(4 << 20).share();
        let whole = gzip(b"{\"a\":1}");
        for bytes in [&b"{}"[..], b"", &whole[..whole.len() - 3]] {
            let error = gunzip(bytes, 100, &mut share).unwrap_err().to_string();
            assert!(error.contains("Content-Encoding"), "{error}");
        }
    }
}
