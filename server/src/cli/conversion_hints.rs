//! Names the flag that helps against an error of a conversion.

use lexivec_convert::Error;

/// Adds to an error what to do about it.
pub(crate) fn with_hint(error: Error) -> anyhow::Error {
    match hint(&error) {
        Some(hint) => anyhow::anyhow!("{error}: {hint}"),
        None => error.into(),
    }
}

/// What to do about an error, if a flag helps.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    Some(match error {
        Error::Rescaling { .. } | Error::Fp16Range { .. } => {
            "convert with `--precision bf16` or `--precision fp32`"
        }
        Error::BlockSize { .. } => "choose another `--block-size`, or `--precision int8`",
        Error::UnusedTensors { .. } => {
            "correct config.json, or accept the tensors with `--allow-unused-tensors`"
        }
        Error::Exists { .. } => "choose another `--output`, or replace it with `--force`",
        Error::Busy { .. } => "wait for it, or choose another `--output`",
        Error::Verification { .. } => {
            "choose a wider `--precision`, or keep the model regardless with `--no-verify`"
        }
        Error::NonFiniteOutput { .. } => {
            "choose `--precision bf16` or fp32, or `--compute fp32` for int8-weight and int4-weight; calibration, which \
             `--no-calibration` skips, rescales values that are too large"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_follows_the_error_that_it_helps_against() {
        let exists = Error::Exists {
            path: "model".into(),
        };
        assert_eq!(
            with_hint(exists).to_string(),
            "model exists already: choose another `--output`, or replace it with `--force`"
        );
        assert_eq!(
            with_hint(Error::Interrupted).to_string(),
            "stopped; nothing was written"
        );
    }
}
