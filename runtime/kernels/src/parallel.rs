//! Work that threads of a pool share.

/// Runs independent tasks, on as many threads as the implementation has.
pub trait Parallel {
    /// Calls `task` once with each number below `tasks`, in any order and on any thread, and returns when all calls have returned.
    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

/// Runs tasks one after another on the calling thread.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sequential;

impl Parallel for Sequential {
    fn each(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        (0..tasks).for_each(task);
    }
}

/// A slice that tasks write to, each its own part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shared<T> {
    start: *mut T,
    length: usize,
}

// SAFETY: the only access is `part`, whose callers promise that no two parts overlap.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as for `Send`, because a shared reference allows no more than `part`.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            length: slice.len(),
        }
    }

    /// Where a value would be, which need not lie within the slice.
    #[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
    pub(crate) fn address(&self, index: usize) -> *const T {
        self.start.cast_const().wrapping_add(index)
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// The slice is still borrowed by the caller that made `self`, and no other part that overlaps this one is in use.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn part<'a>(&self, start: usize, length: usize) -> &'a mut [T] {
        assert!(
            start <= self.length && length <= self.length - start,
            "a part lies within its slice"
        );
        // SAFETY: in bounds by the assertion; disjoint and alive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), length) }
    }
}
