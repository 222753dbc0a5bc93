//! What stands for [`parquet`](self) in a build without the feature.

use std::convert::Infallible;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use csv::ByteRecord;

use super::output::Partial;
use super::read::{Rows, Text};
use super::record::Record;

pub(super) const IS_BUILT: bool = false;
pub(crate) const MISSING: &str =
    "this build of lexivec has no Parquet and Arrow files: build it with `--features parquet`";

#[derive(Debug, Clone)]
pub(super) struct Carried(Infallible);

impl Carried {
    pub(super) fn bytes_beside(&self, _: Option<&Self>) -> usize {
        match self.0 {}
    }

    pub(super) fn write_beside(&self, _: Option<&Self>, _: impl Write) -> std::io::Result<()> {
        match self.0 {}
    }
}

pub(super) fn texts(path: &Path, _: Option<File>, _: &str, _: bool) -> anyhow::Result<Rows> {
    bail!("{}: {MISSING}", path.display())
}

pub(super) fn check(_: &[Text], _: &str) -> anyhow::Result<()> {
    bail!(MISSING)
}

pub(super) fn carried(_: &Arc<[String]>, _: &ByteRecord) -> Option<Carried> {
    None
}

#[derive(Debug)]
pub(super) struct ParquetOutput(Infallible);

impl ParquetOutput {
    pub(super) fn new(_: Partial, _: Option<&Record>) -> anyhow::Result<Self> {
        bail!(MISSING)
    }

    pub(super) fn describe(&mut self, _: &str, _: Vec<(String, String)>) {
        match self.0 {}
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        match self.0 {}
    }

    pub(super) fn kept(&self) -> Option<&Path> {
        match self.0 {}
    }

    pub(super) fn push(&mut self, _: &Text, _: &[f32]) -> anyhow::Result<()> {
        match self.0 {}
    }

    pub(super) fn keep(&mut self, _: Record, _: bool) -> anyhow::Result<bool> {
        match self.0 {}
    }

    pub(super) fn finish(self, _: usize) -> anyhow::Result<()> {
        match self.0 {}
    }
}
