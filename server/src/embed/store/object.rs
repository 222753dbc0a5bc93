//! An object, and its copy in a temporary file.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use anyhow::{Context as _, anyhow, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, ObjectMeta, ObjectStore};

use super::super::location::Location;
use super::{errors, runtime};

/// An object is transferred in pieces, each with retries of its own, so a large one needs no single long-lived connection.
const PIECE: u64 = 8 << 20;
/// Pieces that are requested at the same time, which bounds the memory of a transfer.
const PIECES_IN_FLIGHT: usize = 4;

/// An object as it was listed.
pub(crate) struct Object {
    url: String,
    location: Location,
    meta: ObjectMeta,
    store: Arc<dyn ObjectStore>,
    copy: RefCell<Local>,
}

/// The copy of an object. The file has no name, so its space is free as soon as nobody reads it, however the process ends.
enum Local {
    None,
    Coming(Receiver<anyhow::Result<File>>),
    Complete(File),
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Object").field(&self.url).finish()
    }
}

impl Object {
    pub(super) fn new(location: Location, meta: ObjectMeta, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            url: location.to_string(),
            location,
            meta,
            store,
            copy: RefCell::new(Local::None),
        }
    }

    pub(in super::super) fn url(&self) -> &str {
        &self.url
    }

    /// Begins to copy the object, and does not wait. [`file`](Self::file) returns the errors.
    pub(in super::super) fn fetch(&self) {
        let mut copy = self.copy.borrow_mut();
        if matches!(*copy, Local::None) {
            // If the thread cannot be started, `file` tries again and returns the error.
            if let Ok(coming) = self.begin() {
                *copy = Local::Coming(coming);
            }
        }
    }

    fn begin(&self) -> anyhow::Result<Receiver<anyhow::Result<File>>> {
        let (location, meta) = (self.location.clone(), self.meta.clone());
        runtime::spawn(transfer(Arc::clone(&self.store), location, meta))
    }

    /// The copy, at its beginning. All files that this returns share one position, so one of them is read at a time.
    ///
    /// # Errors
    /// The object cannot be copied, or has changed since it was listed.
    pub(in super::super) fn file(&self) -> anyhow::Result<File> {
        let mut copy = self.copy.borrow_mut();
        let received = |coming: Receiver<anyhow::Result<File>>| {
            let file = coming.recv();
            file.with_context(|| format!("{}: the transfer ended early", self.url))?
        };
        let mut file = match std::mem::replace(&mut *copy, Local::None) {
            Local::Complete(file) => file,
            Local::Coming(coming) => received(coming)?,
            Local::None => received(self.begin()?)?,
        };
        file.seek(SeekFrom::Start(0))?;
        let shared = file.try_clone()?;
        *copy = Local::Complete(file);
        Ok(shared)
    }
}

async fn transfer(
    store: Arc<dyn ObjectStore>,
    location: Location,
    meta: ObjectMeta,
) -> anyhow::Result<File> {
    let on_disk = || {
        let folder = std::env::temp_dir();
        format!(
            "{location}: the object of {} bytes cannot be copied to {}: free space there, or set TMPDIR to another folder",
            meta.size,
            folder.display()
        )
    };
    let mut file = tempfile::tempfile().with_context(on_disk)?;
    let starts = (0..meta.size).step_by(usize::try_from(PIECE)?);
    let pieces = stream::iter(starts).map(|start| {
        // The condition makes all pieces those of the object that was listed.
        let options = GetOptions::default()
            .with_if_match(meta.e_tag.clone())
            .with_range(Some(start..meta.size.min(start + PIECE)));
        let (store, listed, location) = (Arc::clone(&store), meta.clone(), &location);
        async move {
            let said = |error| anyhow!(errors::said(location, &error));
            let got = store.get_opts(&listed.location, options).await;
            let got = got.map_err(said)?;
            ensure!(is_same(&listed, &got.meta), errors::changed(location));
            got.bytes().await.map_err(said)
        }
    });
    let mut pieces = pieces.buffered(PIECES_IN_FLIGHT);
    let mut written = 0;
    while let Some(piece) = pieces.try_next().await? {
        file.write_all(&piece).with_context(on_disk)?;
        written += piece.len() as u64;
    }
    ensure!(
        written == meta.size,
        "{location}: the store sent {written} of {} bytes: run the command again",
        meta.size
    );
    Ok(file)
}

/// Whether an answer belongs to the object that was listed, also where a store has no ETags or ignores conditions.
fn is_same(listed: &ObjectMeta, got: &ObjectMeta) -> bool {
    let tags = listed.e_tag.as_ref().zip(got.e_tag.as_ref());
    let same_version = match tags {
        Some((listed, got)) => listed == got,
        // Headers have whole seconds, and listings may have fractions.
        None => listed.last_modified.timestamp() == got.last_modified.timestamp(),
    };
    same_version && listed.size == got.size
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use object_store::memory::InMemory;
    use object_store::{ObjectStoreExt as _, PutPayload};

    use super::super::super::location::Service;
    use super::*;

    fn put(store: &Arc<InMemory>, contents: &[u8]) -> Object {
        let (key, contents) = ("a.txt".into(), PutPayload::from(contents.to_vec()));
        let stored = Arc::clone(store);
        let meta = runtime::spawn(async move {
            stored.put(&key, contents).await?;
            stored.head(&key).await
        });
        let location = Location {
            service: Service::S3,
            bucket: "b".to_owned(),
            key: "a.txt".to_owned(),
        };
        let meta = meta.unwrap().recv().unwrap().unwrap();
        Object::new(location, meta, Arc::clone(store) as Arc<dyn ObjectStore>)
    }

    #[test]
    fn a_copy_has_all_pieces_in_order_and_is_read_from_its_beginning() {
        let store = Arc::new(InMemory::new());
        let length = usize::try_from(PIECE).unwrap() * 6 + 3;
        let contents: Vec<u8> = (0..length).map(|i| (i / 1000) as u8).collect();
        let object = put(&store, &contents);
        for _ in 0..2 {
            let mut found = Vec::new();
            object.file().unwrap().read_to_end(&mut found).unwrap();
            assert!(found == contents);
        }
        let mut found = Vec::new();
        put(&store, b"")
            .file()
            .unwrap()
            .read_to_end(&mut found)
            .unwrap();
        assert!(found.is_empty());
    }

    #[test]
    fn an_object_that_changed_after_it_was_listed_is_an_error() {
        let store = Arc::new(InMemory::new());
        let listed = put(&store, b"heart\n");
        put(&store, b"lungs\n");
        let said = format!("{:#}", listed.file().unwrap_err());
        assert!(
            said.contains("s3://b/a.txt: the object has changed"),
            "{said}"
        );
    }

    #[test]
    fn an_object_without_an_etag_is_known_by_its_size_and_time() {
        let store = Arc::new(InMemory::new());
        let listed = |change: &dyn Fn(&mut ObjectMeta)| {
            let mut object = put(&store, b"heart\n");
            object.meta.e_tag = None;
            change(&mut object.meta);
            object.file().map_err(|error| error.to_string())
        };
        assert!(listed(&|_| {}).is_ok());
        let changes: [&dyn Fn(&mut ObjectMeta); 2] = [&|meta| meta.size -= 1, &|meta| {
            meta.last_modified -= std::time::Duration::from_secs(60)
        }];
        for change in changes {
            let said = listed(change).unwrap_err();
            assert!(said.contains("the object has changed"), "{said}");
        }
    }
}
