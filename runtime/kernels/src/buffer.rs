//! Aligned scratch memory.

/// 64 bytes: a cache line, and the widest vector register.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Zeroed floats that begin at a cache line, because a vector load that straddles two lines costs twice as much.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<Line>);

impl Buffer {
    /// Makes room for at least this many floats.
    pub(crate) fn reserve(&mut self, floats: usize) {
        let lines = floats.div_ceil(16);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; 16]));
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        let floats = self.0.len() * 16;
        // SAFETY: `Line` is 16 floats without padding.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), floats) }
    }
}
