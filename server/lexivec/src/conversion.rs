//! Conversion of a checkpoint on first use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lexivec_convert::{Calibration, ConvertOptions, Error as ConvertError, convert};
use lexivec_models::{Checkpoint, Manifest, cache_dir};

use crate::conversion_cache;
use crate::error::{Error, Result};
use crate::observer::{Event, Observer};

/// How often a process that waits for the conversion of another one looks for its result.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The default calibration: the built-in texts, with results in the cache folder if there is one.
///
/// ```
/// let calibration = lexivec::default_calibration();
/// assert!(calibration.texts.is_empty() && calibration.accuracy_target.is_none());
/// ```
#[must_use]
pub fn default_calibration() -> Calibration {
    Calibration {
        cache: cache_dir().ok().map(|dir| dir.join("calibrations")),
        ..Calibration::default()
    }
}

/// The model directory of a checkpoint, which is converted into the cache the first time.
pub(crate) fn converted(
    name: &str,
    checkpoint: &Checkpoint,
    options: &ConvertOptions,
    observer: &dyn Observer,
) -> Result<PathBuf> {
    let options = &options.clone().suited_to(&checkpoint.decoder);
    let dir = conversion_cache::place(checkpoint, options, observer)?;
    let exists = Manifest::is_model_dir(&dir);
    if !exists || !conversion_cache::is_intact(&dir, observer)? {
        let options = ConvertOptions {
            force: exists,
            ..options.clone()
        };
        convert_into(&dir, checkpoint, &options, observer)?;
        if conversion_cache::place(checkpoint, &options, observer)? != dir {
            fs_err::remove_dir_all(&dir)?;
            return Err(Error::Changed {
                name: name.to_owned(),
            });
        }
    }
    Ok(dir)
}

/// Converts a checkpoint, or waits for another process that converts it.
fn convert_into(
    dir: &Path,
    checkpoint: &Checkpoint,
    options: &ConvertOptions,
    observer: &dyn Observer,
) -> Result<()> {
    for note in &checkpoint.notes {
        observer.event(Event::Note(note));
    }
    observer.event(Event::Converting {
        name: &checkpoint.source.name,
        precision: options.precision,
        dir,
    });
    let progress = observer.conversion();
    let mut report = convert(checkpoint, dir, options, progress);
    if matches!(report, Err(ConvertError::Busy { .. })) {
        observer.event(Event::Waiting);
        while matches!(report, Err(ConvertError::Busy { .. })) && !progress.cancelled() {
            std::thread::sleep(POLL_INTERVAL);
            report = convert(checkpoint, dir, options, progress);
        }
    }
    observer.event(Event::Converted);
    match report {
        Ok(_) => Ok(()),
        // Another process finished the same conversion while this one began.
        Err(ConvertError::Exists { .. }) if Manifest::is_model_dir(dir) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
