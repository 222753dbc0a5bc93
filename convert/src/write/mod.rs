//! Writes a model directory.
//!
//! * [`output_folder`] makes the directory appear complete or not at all.
//! * [`external_data`] writes the graph and its weights.
//! * [`share_files`] places the checkpoint's weight files beside a graph that refers to them, without copying if possible.
//! * [`file_records`] records sizes and digests of files for the manifest.

pub(crate) mod external_data;
pub(crate) mod file_records;
pub(crate) mod output_folder;
pub(crate) mod share_files;
