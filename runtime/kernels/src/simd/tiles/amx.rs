//! AMX by inline assembly, because the compiler's intrinsics are not stable yet.
//!
//! The compiler itself uses no tile register, so their contents last from one assembly block to the next.

use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use super::emulated::Emulated;
use super::{ROW, ROWS, Registers};

/// Whether the processor has AMX for 8-bit integers and bf16 numbers, as all processors with AMX have, and this process may use it.
///
/// Linux grants the registers to a process that asks, for all its threads. It refuses if a policy forbids it. A virtual machine may
/// claim instructions that it computes wrongly, so two products are compared with plain code.
pub(crate) fn available() -> bool {
    has_instructions() && system_saves_registers() && permission() && products_are_right()
}

fn has_instructions() -> bool {
    const BF16: u32 = 1 << 22;
    const TILES: u32 = 1 << 24;
    const INT8: u32 = 1 << 25;
    const ALL: u32 = BF16 | TILES | INT8;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & ALL == ALL
}

fn system_saves_registers() -> bool {
    const XSAVE_IS_ENABLED: u32 = 1 << 27;
    /// Configuration and contents of tiles.
    const TILES: u64 = 3 << 17;
    #[target_feature(enable = "xsave")]
    fn enabled() -> u64 {
        // SAFETY: the instruction reads a register, and the caller has seen that the processor has it.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: the bit of `cpuid` says that the instruction may be used.
    __cpuid(1).ecx & XSAVE_IS_ENABLED != 0 && unsafe { enabled() } & TILES == TILES
}

fn permission() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call changes only which registers the process may use.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

fn products_are_right() -> bool {
    // SAFETY: the callers have seen that the processor has the instructions and that the process may use them.
    unsafe { products::<Amx>() == products::<Emulated>() }
}

/// A product of codes and weights of all kinds, and one of bf16 numbers whose sums are exact.
///
/// # Safety
/// As the methods of [`Registers`].
unsafe fn products<R: Registers>() -> [[i32; ROWS * ROWS]; 2] {
    let bf16 = |factor: usize| -> [u16; ROWS * ROW / 2] {
        std::array::from_fn(|i| ((((i * factor) >> 3) as i8 as f32).to_bits() >> 16) as u16)
    };
    let (left, right) = (bf16(89), bf16(151));
    let codes: [u8; ROWS * ROW] = std::array::from_fn(|i| ((i * 89) >> 3) as u8);
    let weights: [u8; ROWS * ROW] = std::array::from_fn(|i| ((i * 151) >> 2) as u8);
    let mut sums = [[0; ROWS * ROWS]; 2];
    // SAFETY: the caller has the instructions, and the arrays have the registers' size.
    unsafe {
        let mut registers = R::configured();
        registers.zero::<3>();
        registers.load::<5>(codes.as_ptr());
        registers.load::<7>(weights.as_ptr());
        registers.multiply::<3, 5, 7>();
        registers.multiply::<3, 5, 7>();
        registers.store::<3>(sums[0].as_mut_ptr(), ROWS);
        registers.zero::<2>();
        registers.load::<5>(left.as_ptr().cast());
        registers.load::<7>(right.as_ptr().cast());
        registers.multiply_bf16::<2, 5, 7>();
        registers.multiply_bf16::<2, 5, 7>();
        registers.store::<2>(sums[1].as_mut_ptr(), ROWS);
    }
    sums
}

/// The operand of the instruction `ldtilecfg`.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Configuration {
    const NONE: Self = Self {
        palette: 0,
        start_row: 0,
        reserved: [0; 14],
        row_bytes: [0; 16],
        rows: [0; 16],
    };
    /// All eight registers have their full size.
    const FULL: Self = {
        let mut full = Self {
            palette: 1,
            ..Self::NONE
        };
        let mut register = 0;
        while register < 8 {
            full.row_bytes[register] = ROW as u16;
            full.rows[register] = ROWS as u8;
            register += 1;
        }
        full
    };
}

/// The registers of this thread. Dropping them restores the configuration that was there, because ONNX Runtime configures its
/// threads once and relies on it.
pub(crate) struct Amx {
    before: Configuration,
}

impl Drop for Amx {
    #[inline(always)]
    fn drop(&mut self) {
        let before = &raw const self.before;
        // SAFETY: the caller of `configured` promised that the processor has AMX. Palette 0 means that nothing was configured before;
        // releasing the registers also spares the system from saving them.
        unsafe {
            match self.before.palette {
                0 => asm!("tilerelease", options(nostack, preserves_flags, nomem)),
                _ => {
                    asm!("ldtilecfg [{}]", in(reg) before, options(nostack, preserves_flags, readonly))
                }
            }
        }
    }
}

impl Registers for Amx {
    #[inline(always)]
    unsafe fn configured() -> Self {
        static FULL: Configuration = Configuration::FULL;
        let mut amx = Self {
            before: Configuration::NONE,
        };
        let (before, full) = (&raw mut amx.before, &raw const FULL);
        // SAFETY: the caller has AMX. Both operands are 64 bytes, which `Configuration` has and aligns.
        unsafe {
            asm!("sttilecfg [{}]", in(reg) before, options(nostack, preserves_flags));
            asm!("ldtilecfg [{}]", in(reg) full, options(nostack, preserves_flags, readonly));
        }
        amx
    }

    #[inline(always)]
    unsafe fn zero<const SUMS: u8>(&mut self) {
        // SAFETY: the registers are configured, and the instruction changes only one of them.
        unsafe { asm!("tilezero tmm{}", const SUMS, options(nostack, preserves_flags, nomem)) };
    }

    #[inline(always)]
    unsafe fn load<const REGISTER: u8>(&mut self, from: *const u8) {
        // SAFETY: the registers are configured, and `from` is valid for 1,024 bytes.
        unsafe {
            asm!("tileloadd tmm{}, [{} + {}*1]", const REGISTER, in(reg) from, in(reg) ROW,
                options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn load_once<const REGISTER: u8>(&mut self, from: *const u8) {
        // SAFETY: as for `load`.
        unsafe {
            asm!("tileloaddt1 tmm{}, [{} + {}*1]", const REGISTER, in(reg) from, in(reg) ROW,
                options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn multiply<const SUMS: u8, const CODES: u8, const WEIGHTS: u8>(&mut self) {
        // SAFETY: the registers are configured, and the instruction changes only one of them.
        unsafe {
            asm!("tdpbusd tmm{}, tmm{}, tmm{}", const SUMS, const CODES, const WEIGHTS,
                options(nostack, preserves_flags, nomem));
        }
    }

    #[inline(always)]
    unsafe fn multiply_bf16<const SUMS: u8, const LEFT: u8, const RIGHT: u8>(&mut self) {
        // SAFETY: the registers are configured, and the instruction changes only one of them.
        unsafe {
            asm!("tdpbf16ps tmm{}, tmm{}, tmm{}", const SUMS, const LEFT, const RIGHT,
                options(nostack, preserves_flags, nomem));
        }
    }

    #[inline(always)]
    unsafe fn store<const SUMS: u8>(&mut self, to: *mut i32, stride: usize) {
        let stride = stride * size_of::<i32>();
        // SAFETY: the registers are configured, and `to` is valid for 16 rows of 16 sums.
        unsafe {
            asm!("tilestored [{} + {}*1], tmm{}", in(reg) to, in(reg) stride, const SUMS,
                options(nostack, preserves_flags));
        }
    }
}
