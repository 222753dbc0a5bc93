//! Standard output and standard error, whose readers may close them before the program ends.
//!
//! `println!` and `eprintln!` panic in that case (`lexivec inspect DIR | true`). A report without a reader is not a failure, and must not
//! replace the exit code of the command.
//!
//! Names and notes of a model, and answers of a server, come from elsewhere. So text for people is made printable here.

use std::io::{ErrorKind, Write as _};

use lexivec_models::text;

/// The reader of a command's output has closed it, so the command can stop.
#[derive(Debug, thiserror::Error)]
#[error("the reader of the output has closed it")]
pub(crate) struct Closed;

/// Writes text for people and a line feed to standard output. A closed pipe is not an error.
///
/// # Errors
/// It cannot be written otherwise, such as to a full disk.
pub(crate) fn print(words: &str) -> anyhow::Result<()> {
    print_exactly(&text::printable(words))
}

/// As [`print()`], for programs, which read every character as it is.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_exactly(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(anyhow::anyhow!(error).context("standard output cannot be written"))
        }
        _ => Ok(()),
    }
}

/// `eprintln!` of a message that may quote something from elsewhere. It does not panic if standard error is closed.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let message = lexivec_models::text::message(&format!($($words)*));
        // A failure to write to standard error cannot be reported.
        let _ = writeln!(std::io::stderr(), "{message}");
    }};
}

pub(crate) use say;
