//! What stands for [`store`](self) in a build without the feature.

use std::convert::Infallible;
use std::fs::File;

use super::location::Location;

const MISSING: &str = "this build of lexivec reads no object stores: build it with `cargo build --release --bin lexivec --features \
                       lexivec-server/object-store`";

#[derive(Debug)]
pub(crate) struct Object(Infallible);

impl Object {
    pub(super) fn url(&self) -> &str {
        match self.0 {}
    }

    pub(super) fn fetch(&self) {
        match self.0 {}
    }

    pub(super) fn file(&self) -> anyhow::Result<File> {
        match self.0 {}
    }
}

#[derive(Debug, Default)]
pub(super) struct Stores(());

impl Stores {
    pub(super) fn expand(&mut self, location: &Location, _: bool) -> Result<Vec<Object>, String> {
        Err(format!("{location}: {MISSING}"))
    }
}
