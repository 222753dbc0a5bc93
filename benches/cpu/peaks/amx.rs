//! Loops of AMX, by inline assembly, because the intrinsics are unstable.

use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

use crate::{Loop, Loops};

/// Four products of tiles with 16 rows of 64 bytes: 16 x 16 sums, each of 64 or 32 products of int8 or bf16.
const PRODUCTS: usize = 4;
const SUMS: usize = 16 * 16;

pub(crate) fn add_to(loops: &mut Loops) {
    let Some((int8, bf16)) = detect() else {
        return;
    };
    let tiles = |bytes: usize, name, run| Loop {
        name,
        operations_per_step: PRODUCTS * SUMS * 2 * (64 / bytes),
        run,
    };
    if int8 {
        loops.int8.push(tiles(1, "AMX", run_int8));
    }
    if bf16 {
        loops.bf16.push(tiles(2, "AMX", run_bf16));
    }
}

/// Whether tiles can be multiplied as int8 and as bf16. Asks Linux for permission to use tile data, without which the first tile
/// instruction would end the process.
fn detect() -> Option<(bool, bool)> {
    const AMX_TILE: u32 = 1 << 24;
    const AMX_INT8: u32 = 1 << 25;
    const AMX_BF16: u32 = 1 << 22;
    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 3 << 17;
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: i64 = 0x1023;
    const XTILEDATA: i64 = 18;
    let features = __cpuid_count(7, 0).edx;
    if features & AMX_TILE == 0 || __cpuid(1).ecx & OSXSAVE == 0 {
        return None;
    }
    #[target_feature(enable = "xsave")]
    fn saved_state() -> u64 {
        // SAFETY: the caller has found OSXSAVE.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: OSXSAVE was found above.
    if unsafe { saved_state() } & TILE_STATE != TILE_STATE || !cfg!(target_os = "linux") {
        return None;
    }
    let mut result = ARCH_PRCTL;
    // SAFETY: the call changes nothing but this process's permission. It overwrites rcx and r11.
    unsafe {
        asm!("syscall", inout("rax") result, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") XTILEDATA,
            out("rcx") _, out("r11") _, options(nostack));
    }
    (result == 0).then_some((features & AMX_INT8 != 0, features & AMX_BF16 != 0))
}

/// The operand of LDTILECFG: eight tiles of 16 rows with 64 bytes.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

static CONFIGURATION: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    bytes_per_row: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Defines a function that multiplies tiles of zeros with `$product`.
macro_rules! tile_loop {
    ($name:ident, $product:literal) => {
        fn $name(steps: usize) {
            // SAFETY: `detect` has found the feature and got the permission. No other code uses tiles.
            unsafe {
                asm!("ldtilecfg [{}]", in(reg) &CONFIGURATION, options(nostack, readonly));
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "tilezero tmm4", "tilezero tmm5", "tilezero tmm6", "tilezero tmm7",
                    options(nostack)
                );
                for _ in 0..steps {
                    asm!(
                        concat!($product, " tmm0, tmm4, tmm6"),
                        concat!($product, " tmm1, tmm4, tmm7"),
                        concat!($product, " tmm2, tmm5, tmm6"),
                        concat!($product, " tmm3, tmm5, tmm7"),
                        options(nostack)
                    );
                }
                asm!("tilerelease", options(nostack));
            }
        }
    };
}

tile_loop!(run_int8, "tdpbssd");
tile_loop!(run_bf16, "tdpbf16ps");
