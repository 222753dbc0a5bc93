//! Formats figures for readers.

use crate::bootstrap::Interval;

/// Stands for a missing figure.
pub(super) const NONE: &str = "–";

/// Values closer to 1 than this differ from 1 only by float32 rounding.
const NEAREST: f64 = 1e-8;

/// A cosine or correlation. Values closer to 1 get more digits, so that only exactly 1 is written as 1.
pub(super) fn similarity(value: f64) -> String {
    let error = (1.0 - value).abs();
    if error == 0.0 {
        return "1".to_owned();
    }
    if error < NEAREST {
        return "≈1".to_owned();
    }
    // Two digits after the leading nines, at least four in all. Rounding up to 1 would be wrong.
    let digits = (-error.log10().floor() as i32 + 1).max(4);
    format!(
        "{:.*}",
        digits as usize,
        value.min(1.0 - 10f64.powi(-digits))
    )
}

pub(super) fn similarity_or_none(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), similarity)
}

/// A share or score with three digits.
pub(super) fn share(value: f64) -> String {
    if value == 1.0 {
        return "1".to_owned();
    }
    // Rounding up to 1 would be wrong.
    format!("{:.3}", value.min(0.999))
}

pub(super) fn share_or_none(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), share)
}

/// A figure with its interval, unless the interval is a point.
pub(super) fn with_interval(
    value: f64,
    interval: Option<Interval>,
    write: fn(f64) -> String,
) -> String {
    let value = write(value);
    match interval.map(|i| (write(i.low), write(i.high))) {
        Some((low, high)) if low != high => format!("{value} ({low}…{high})"),
        _ => value,
    }
}

/// A difference with its sign.
pub(super) fn signed(value: f64) -> String {
    format!("{value:+.4}")
}

pub(super) fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or(NONE.to_owned(), |bytes| match bytes as f64 / 1e6 {
        megabytes if megabytes < 100.0 => format!("{megabytes:.1}"),
        megabytes => format!("{megabytes:.0}"),
    })
}

/// Three significant digits.
pub(super) fn rounded(value: f64) -> String {
    match value {
        value if value >= 100.0 => format!("{value:.0}"),
        value if value >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}

pub(super) fn rounded_or_none(value: Option<f64>) -> String {
    value.map_or(NONE.to_owned(), rounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_exactly_one_is_written_as_one() {
        assert_eq!(similarity(1.0), "1");
        assert_eq!(similarity(0.999_999_7), "0.99999970");
        assert_eq!(similarity(0.999_468), "0.99947");
        assert_eq!(similarity(0.85), "0.8500");
        assert_eq!(similarity(-0.2), "-0.2000");
        assert_eq!(similarity(1.0 - 1e-15), "≈1");
        assert_eq!(similarity(0.999_999_98), "0.999999980");
        assert_eq!(share(0.999_9), "0.999");
        assert_eq!(share(1.0), "1");
    }

    #[test]
    fn sizes_and_times_have_three_digits() {
        assert_eq!(megabytes(Some(19_300_000)), "19.3");
        assert_eq!(megabytes(Some(2_383_000_000)), "2383");
        assert_eq!(megabytes(None), NONE);
        assert_eq!(
            [rounded(1234.5), rounded(12.34), rounded(1.234)],
            ["1234", "12.3", "1.23"]
        );
        assert_eq!(signed(-0.0123), "-0.0123");
    }
}
