//! Committed files that are generated from the code.

use std::path::Path;

/// Compares a file of the crate with its generated contents. With the environment variable LEXIVEC_UPDATE, writes the file first.
///
/// # Panics
/// If they differ. The message names the tests that write the file.
pub(crate) fn assert_current(file: &str, generated: &str, tests: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("LEXIVEC_UPDATE").is_some() {
        fs_err::write(&path, generated).unwrap();
    }
    let committed = fs_err::read_to_string(&path).unwrap();
    assert!(
        committed == generated,
        "server/{file} differs from the code: LEXIVEC_UPDATE=1 cargo nextest run {tests}"
    );
}
