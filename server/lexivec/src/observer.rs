//! Progress of opening a model: downloads and conversions take minutes.

use std::fmt;
use std::path::Path;
#[cfg(feature = "hub")]
use std::sync::Arc;

use lexivec_models::Precision;

/// A step of opening a model. Its text is a sentence for the user.
///
/// ```
/// use lexivec::{Event, Precision};
///
/// let event = Event::Converting {
///     name: "nano",
///     precision: Precision::Int8,
///     dir: "cache/nano-int8".as_ref(),
/// };
/// assert_eq!(event.to_string(), "converting nano to int8 (once; kept in cache/nano-int8)");
/// ```
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A peculiarity of the checkpoint.
    Note(&'a str),
    /// A large file is read once, to recognise it later.
    Reading(&'a Path),
    /// A conversion begins.
    Converting {
        /// The checkpoint.
        name: &'a str,
        /// The precision that it is converted to.
        precision: Precision,
        /// The folder of the result.
        dir: &'a Path,
    },
    /// Another process converts the same checkpoint.
    Waiting,
    /// A conversion has ended, in success or failure.
    Converted,
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Note(note) => write!(f, "note: {note}"),
            Self::Reading(path) => {
                write!(
                    f,
                    "reading {} to recognise it at later starts",
                    path.display()
                )
            }
            Self::Converting {
                name,
                precision,
                dir,
            } => write!(
                f,
                "converting {name} to {precision} (once; kept in {})",
                dir.display()
            ),
            Self::Waiting => f.write_str("another process is converting it: waiting for that"),
            Self::Converted => f.write_str("the conversion has ended"),
        }
    }
}

/// Receives the progress of opening a model.
///
/// ```
/// use std::sync::Mutex;
///
/// use lexivec::{Event, Observer};
///
/// /// Collects what a terminal would show.
/// #[derive(Default)]
/// struct Lines(Mutex<Vec<String>>);
///
/// impl Observer for Lines {
///     fn event(&self, event: Event<'_>) {
///         self.0.lock().expect("no thread panicked").push(event.to_string());
///     }
/// }
///
/// let lines = Lines::default();
/// // `Model::builder(name).open_with(&lines)` reports each step in this way.
/// lines.event(Event::Waiting);
/// let lines = lines.0.into_inner().expect("no thread panicked");
/// assert_eq!(lines, ["another process is converting it: waiting for that"]);
/// ```
pub trait Observer: Sync {
    /// A step begins or ends.
    fn event(&self, _event: Event<'_>) {}

    /// Receives the progress of a conversion, and may cancel it.
    fn conversion(&self) -> &dyn lexivec_convert::Progress {
        &lexivec_convert::Silent
    }

    /// Receives the progress of a download.
    #[cfg(feature = "hub")]
    fn download(&self) -> Option<Arc<dyn lexivec_models::DownloadProgress>> {
        None
    }
}

/// An observer that ignores all progress.
#[derive(Debug, Clone, Copy, Default)]
pub struct SilentObserver;

impl Observer for SilentObserver {}
