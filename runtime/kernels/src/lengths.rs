//! The lengths of a kernel's inputs.

/// Checks that each named input has as many values as it should have.
///
/// # Errors
/// Names the first one that has not.
pub(crate) fn check<const N: usize>(inputs: [(&str, usize, usize); N]) -> Result<(), String> {
    let mut wrong = inputs
        .into_iter()
        .filter(|(_, found, expected)| found != expected);
    match wrong.next() {
        Some((name, found, expected)) => {
            Err(format!("{name} has {found} values instead of {expected}"))
        }
        None => Ok(()),
    }
}
