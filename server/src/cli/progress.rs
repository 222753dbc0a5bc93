//! Progress bars. indicatif draws nothing if standard error is not a terminal.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::interrupt;

const BYTES: &str = "{msg:28} {bar:32} {bytes:>10}/{total_bytes} {bytes_per_sec} {eta}";
const COUNT: &str = "{msg:36} {bar:32} {pos:>6}/{len} texts {eta}";
const SPINNER: &str = "{msg:28} {spinner} {elapsed}";
/// For texts from a pipe, whose number is unknown.
const TEXTS: &str = "{msg} {spinner} {human_pos} texts, {per_sec}, {elapsed}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// A bar that counts texts. `count` is their number, if it is known.
pub(crate) fn text_bar(count: Option<u64>) -> ProgressBar {
    let bar = match count {
        Some(count) => ProgressBar::new(count).with_style(style(COUNT)),
        None => ProgressBar::new_spinner().with_style(style(TEXTS)),
    };
    let bar = bar.with_message("embedding");
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// A spinner for stages of unknown length, whose message names the stage.
pub(crate) fn stage_bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_style(style(SPINNER));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The stages of a conversion or a comparison, one bar after another.
#[derive(Debug)]
pub(crate) struct ConversionBar {
    current: Mutex<Option<ProgressBar>>,
    template: &'static str,
}

impl Default for ConversionBar {
    fn default() -> Self {
        Self {
            current: Mutex::default(),
            template: BYTES,
        }
    }
}

impl ConversionBar {
    /// A bar for stages that count texts instead of bytes.
    pub(crate) fn of_texts() -> Self {
        Self {
            template: COUNT,
            ..Self::default()
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = self
            .current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            bar.finish_and_clear();
        }
    }
}

impl lexivec_convert::Progress for ConversionBar {
    fn stage(&self, name: &str, total: u64) {
        self.clear();
        let bar = if total > 0 {
            ProgressBar::new(total).with_style(style(self.template))
        } else {
            ProgressBar::new_spinner().with_style(style(SPINNER))
        };
        let bar = bar.with_message(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar);
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.current.lock().unwrap_or_else(PoisonError::into_inner) {
            bar.inc(bytes);
        }
    }

    fn cancelled(&self) -> bool {
        interrupt::requested()
    }
}

/// A bar for each file of a download.
#[derive(Debug, Default)]
pub(crate) struct DownloadBars {
    bars: MultiProgress,
    files: Mutex<HashMap<String, ProgressBar>>,
}

impl DownloadBars {
    fn with(&self, file: &str, f: impl FnOnce(&ProgressBar)) {
        if let Some(bar) = self
            .files
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(file)
        {
            f(bar);
        }
    }
}

impl lexivec_models::DownloadProgress for DownloadBars {
    fn start(&self, file: &str, bytes: Option<u64>) {
        let bar = self
            .bars
            .add(ProgressBar::new(bytes.unwrap_or(0)).with_style(style(BYTES)));
        bar.set_message(file.to_owned());
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(file.to_owned(), bar);
    }

    fn advance(&self, file: &str, bytes: u64) {
        self.with(file, |bar| bar.inc(bytes));
    }

    fn finish(&self, file: &str) {
        self.with(file, ProgressBar::finish_and_clear);
    }
}
