//! An object, and its copy in a temporary file.

use std::cell::RefCell;
use std::fs::File;
use std::io::{ErrorKind, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, anyhow, ensure};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use object_store::{GetOptions, ObjectMeta, ObjectStore};

use super::super::location::Location;
use super::errors;
use super::runtime::{self, Task};

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
    Coming(Coming),
    Complete(File),
}

/// A transfer, and the number of bytes that have been written.
struct Coming {
    task: Task<anyhow::Result<File>>,
    written: Arc<AtomicU64>,
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

    fn begin(&self) -> anyhow::Result<Coming> {
        let written = Arc::new(AtomicU64::new(0));
        let transfer = Transfer {
            store: Arc::clone(&self.store),
            location: self.location.clone(),
            meta: self.meta.clone(),
            written: Arc::clone(&written),
        };
        let task = runtime::spawn(transfer.run())?;
        Ok(Coming { task, written })
    }

    /// The copy, at its beginning. All files that this returns share one position, so one of them is read at a time.
    ///
    /// # Errors
    /// The object cannot be copied, or has changed since it was listed.
    pub(in super::super) fn file(&self) -> anyhow::Result<File> {
        let mut copy = self.copy.borrow_mut();
        let received = |coming: Coming| {
            let file = coming.task.wait(|| {
                let written = coming.written.load(Ordering::Relaxed);
                format!(
                    "waiting for {}: {written} of {} bytes so far",
                    self.url, self.meta.size
                )
            });
            file.with_context(|| self.url.clone())?
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

/// What copies an object.
struct Transfer {
    store: Arc<dyn ObjectStore>,
    location: Location,
    meta: ObjectMeta,
    written: Arc<AtomicU64>,
}

impl Transfer {
    async fn run(self) -> anyhow::Result<File> {
        let (location, size) = (&self.location, self.meta.size);
        let folder = std::env::temp_dir();
        let file = tempfile::tempfile_in(&folder);
        let file = Arc::new(file.map_err(|error| no_copy(location, size, &folder, error))?);
        let starts = (0..size).step_by(usize::try_from(PIECE)?);
        let pieces = stream::iter(starts).map(|start| {
            let (transfer, file, folder) = (&self, Arc::clone(&file), &folder);
            async move {
                let piece = transfer
                    .piece(start..size.min(start.saturating_add(PIECE)))
                    .await?;
                let length = piece.len() as u64;
                // The thread has other transfers, which a slow disk must not stop.
                let write = move || file.write_all_at(&piece, start);
                let written = tokio::task::spawn_blocking(write).await?;
                written.map_err(|error| no_copy(&transfer.location, size, folder, error))?;
                transfer.written.fetch_add(length, Ordering::Relaxed);
                anyhow::Ok(())
            }
        });
        let mut pieces = pieces.buffer_unordered(PIECES_IN_FLIGHT);
        while pieces.try_next().await?.is_some() {}
        drop(pieces);
        Arc::into_inner(file).with_context(|| format!("{location}: the copy is still written"))
    }

    /// The bytes of a range of the object that was listed.
    async fn piece(&self, range: Range<u64>) -> anyhow::Result<Vec<u8>> {
        let location = &self.location;
        let said = |error| anyhow!(errors::said(location, &error));
        let length = usize::try_from(range.end - range.start)?;
        // The condition makes all pieces those of the object that was listed.
        let options = GetOptions::default()
            .with_if_match(self.meta.e_tag.clone())
            .with_range(Some(range));
        let got = self.store.get_opts(&self.meta.location, options).await;
        let got = got.map_err(said)?;
        ensure!(is_same(&self.meta, &got.meta), errors::changed(location));
        let mut piece = Vec::new();
        let mut bytes = got.into_stream();
        while let Some(more) = bytes.try_next().await.map_err(said)?
            && piece.len() <= length
        {
            piece.extend(more);
        }
        ensure!(
            piece.len() == length,
            "{location}: the store sent {} bytes where {length} were requested: run the command again",
            piece.len()
        );
        Ok(piece)
    }
}

/// The error that an object cannot be copied to this machine.
fn no_copy(location: &Location, size: u64, folder: &Path, error: std::io::Error) -> anyhow::Error {
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "free space there, or set TMPDIR to another folder"
        }
        _ => "set TMPDIR to a folder that exists and can be written to",
    };
    let words = format!(
        "{location}: the object of {size} bytes cannot be copied to {}: {remedy}",
        folder.display()
    );
    anyhow::Error::new(error).context(words)
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
    use super::super::fake::{self, Answer, Fake};
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
        let meta = meta.unwrap().wait(String::new).unwrap().unwrap();
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

    #[test]
    fn an_answer_of_another_length_is_an_error_before_it_fills_the_memory() {
        let sent = |change: fn(Answer) -> Answer| {
            let store = Fake::serve(move |request| match request.method.as_str() {
                "HEAD" => fake::object(request, fake::CONTENTS),
                _ => change(fake::object(request, fake::CONTENTS)),
            });
            let (location, client) = store.client("s3://b/a.txt");
            let asked = Arc::clone(&client);
            let head = async move { asked.head(&"a.txt".into()).await };
            let head = runtime::spawn(head).unwrap().wait(String::new);
            let object = Object::new(location, head.unwrap().unwrap(), client as _);
            object.file().map_err(|error| format!("{error:#}"))
        };
        assert!(sent(|answer| answer).is_ok());
        let said = sent(Answer::endless).unwrap_err();
        assert!(said.contains("where 6 were requested"), "{said}");
        assert!(
            sent(|_| Answer::status(403))
                .unwrap_err()
                .contains("denies access")
        );
    }

    #[test]
    fn the_reason_why_there_is_no_copy_is_named() {
        let location = Location::of(Path::new("s3://b/a.txt")).unwrap().unwrap();
        for (kind, remedy) in [
            (ErrorKind::NotFound, "set TMPDIR to a folder that exists"),
            (
                ErrorKind::PermissionDenied,
                "set TMPDIR to a folder that exists",
            ),
            (ErrorKind::StorageFull, "free space there"),
        ] {
            let error = no_copy(&location, 6, Path::new("/missing"), kind.into());
            let said = error.to_string();
            assert!(
                said.contains("copied to /missing: ") && said.contains(remedy),
                "{said}"
            );
        }
    }
}
