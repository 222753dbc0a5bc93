//! Loops of AMX, by inline assembly, because the intrinsics are unstable.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;

use lexivec_kernels::simd::InstructionSet;

use crate::{Loop, Loops};

/// Four products of tiles with 16 rows of 64 bytes: 16 x 16 sums, each of 64 or 32 products of int8 or bf16.
const PRODUCTS: usize = 4;
const SUMS: usize = 16 * 16;

/// Adds the loops that this processor has. The kernels' detection also asks Linux for permission to use tiles, without which the
/// first tile instruction would end the process.
pub(crate) fn add_to(loops: &mut Loops) {
    const BF16: u32 = 1 << 22;
    if !InstructionSet::available().contains(&InstructionSet::Amx) {
        return;
    }
    let tiles = |bytes: usize, name, run| Loop {
        name,
        operations_per_step: PRODUCTS * SUMS * 2 * (64 / bytes),
        run,
    };
    loops.int8.push(tiles(1, "AMX", run_int8));
    if __cpuid_count(7, 0).edx & BF16 != 0 {
        loops.bf16.push(tiles(2, "AMX", run_bf16));
    }
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
