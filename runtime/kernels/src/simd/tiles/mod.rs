//! Tile registers for products of matrices of 8-bit integers or bf16 numbers. See Intel's Architecture Instruction Set Extensions Programming Reference, chapter
//! "Advanced Matrix Extensions".

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) mod amx;
pub(crate) mod emulated;

/// Bytes of a row: 64 codes or weights, or 16 sums.
pub(crate) const ROW: usize = 64;
/// Rows of a register.
pub(crate) const ROWS: usize = 16;
/// Sums of a row.
const COLUMNS: usize = 16;

/// Eight tile registers of 16 rows of 64 bytes.
///
/// # Safety of its methods
/// The processor has the instructions, and the process may use them. Loads read 1,024 bytes. Stores write 16 rows of 16 sums. The value
/// stays on the thread that configured it.
pub(crate) trait Registers {
    /// Configures the registers of this thread. Dropping the value restores what was configured before.
    unsafe fn configured() -> Self;

    /// Sets a register to zero.
    unsafe fn zero<const SUMS: u8>(&mut self);

    /// Loads 1,024 codes or weights that lie one after another.
    unsafe fn load<const REGISTER: u8>(&mut self, from: *const u8);

    /// As [`load`](Self::load), for bytes that are not needed again before much else is, so that they need not stay in the
    /// first-level cache.
    unsafe fn load_once<const REGISTER: u8>(&mut self, from: *const u8);

    /// Adds the products of 16 rows of 64 unsigned codes with 16 columns of 64 signed weights. Four weights of each column lie side
    /// by side.
    unsafe fn multiply<const SUMS: u8, const CODES: u8, const WEIGHTS: u8>(&mut self);

    /// Adds the products of 16 rows of 32 bf16 numbers with 16 columns of 32 of them to floats. Two numbers of each column lie side by
    /// side. Subnormal numbers count as zero.
    unsafe fn multiply_bf16<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self);

    /// Stores 16 by 16 sums. Rows in memory are `stride` sums apart.
    unsafe fn store<const SUMS: u8>(&mut self, to: *mut i32, stride: usize);
}
