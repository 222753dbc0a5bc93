//! Instruction sets, and the vector operations that kernels are written in.
//!
//! A kernel is a generic function over `Lanes`, marked `#[inline(always)]`. One entry point for each instruction set, marked
//! `#[target_feature]`, calls it, so that the compiler generates its code for that set.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) mod bf16;
#[cfg(target_arch = "aarch64")]
pub(crate) mod neon;
pub(crate) mod portable;
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) mod tiles;

use std::fmt;
use std::sync::LazyLock;

/// An instruction set that kernels have code for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstructionSet {
    /// [`Avx512Vnni`](Self::Avx512Vnni) with AMX, for products of integers and of bf16 numbers.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
    /// [`Avx512`](Self::Avx512) with VNNI, for integer products.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// [`Avx2`](Self::Avx2) with AVX-VNNI, for integer products.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX2 with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// [`Neon`](Self::Neon) with dot products of bytes, for integer products.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// NEON, which every aarch64 processor has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Plain code, which the compiler vectorises.
    Portable,
    /// [`Portable`](Self::Portable) with tile registers in plain code.
    #[cfg(test)]
    EmulatedTiles,
}

static AVAILABLE: LazyLock<Vec<InstructionSet>> = LazyLock::new(InstructionSet::detect);

impl InstructionSet {
    /// The sets that this processor has, the fastest one first.
    #[must_use]
    pub fn available() -> &'static [Self] {
        &AVAILABLE
    }

    /// Panics if this processor lacks the set, whose instructions would end the process.
    pub(crate) fn assert_available(self) {
        assert!(
            AVAILABLE.contains(&self),
            "this processor has no {self} instructions"
        );
    }

    fn detect() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
            {
                if is_x86_feature_detected!("avx512vnni") {
                    #[cfg(target_os = "linux")]
                    if is_x86_feature_detected!("avx512bf16") && tiles::amx::available() {
                        sets.push(Self::Amx);
                    }
                    sets.push(Self::Avx512Vnni);
                }
                sets.push(Self::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                if is_x86_feature_detected!("avxvnni") {
                    sets.push(Self::AvxVnni);
                }
                sets.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                sets.push(Self::NeonDot);
            }
            sets.push(Self::Neon);
        }
        sets.push(Self::Portable);
        #[cfg(test)]
        sets.push(Self::EmulatedTiles);
        sets
    }

    /// The fastest set that this processor has.
    #[must_use]
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// Whether integer products are computed in tile registers.
    pub(crate) fn has_tiles(self) -> bool {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx => true,
            #[cfg(test)]
            Self::EmulatedTiles => true,
            _ => false,
        }
    }

    /// The set whose vectors of floats belong to this set.
    pub(crate) fn vectors(self) -> Self {
        match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx => Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => Self::Avx2,
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => Self::Neon,
            #[cfg(test)]
            Self::EmulatedTiles => Self::Portable,
            set => set,
        }
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Self::Amx => "AMX",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => "NEON with dot products",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "NEON",
            Self::Portable => "portable",
            #[cfg(test)]
            Self::EmulatedTiles => "emulated tiles",
        })
    }
}

/// A vector of floats.
///
/// # Safety of its methods
/// They may only be called in code that is inlined into an entry point for the instruction set. Pointers must be valid for
/// [`WIDTH`](Lanes::WIDTH) floats; they need no alignment.
pub(crate) trait Lanes: Copy {
    /// The number of floats.
    const WIDTH: usize;

    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * a + b`, rounded once.
    unsafe fn mul_add(self, a: Self, b: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    unsafe fn abs(self) -> Self;
    /// The larger of two values; `other` if that is NaN.
    unsafe fn max(self, other: Self) -> Self;
    /// `self` where `a < b`, and `other` elsewhere.
    unsafe fn select_less(self, a: Self, b: Self, other: Self) -> Self;
    /// The nearest integer, for |x| below 2^22; ties go to the even one.
    unsafe fn round(self) -> Self;
    /// `self * 2^n` for integers n from -126 to 127.
    unsafe fn scale(self, n: Self) -> Self;
    /// Stores these integers plus 128, for values from -128 to 127.
    unsafe fn store_codes(self, to: *mut u8);
    /// The vector whose lane i is lane `i ^ DISTANCE` of this one, for a power of two less than [`WIDTH`](Lanes::WIDTH).
    unsafe fn exchanged<const DISTANCE: usize>(self) -> Self;
}

/// `2^x` with a relative error of about 2e-7; 0 for x below -125, negative infinity included. NaN stays NaN.
///
/// `x` is at most 0. A polynomial of degree 6 approximates `2^f` for f in [-1/2, 1/2].
///
/// # Safety
/// As the methods of [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn exp2<V: Lanes>(x: V) -> V {
    // SAFETY: the caller runs this in code for the instruction set. Nothing here touches memory.
    unsafe {
        let least = V::splat(-125.0);
        let clamped = least.max(x);
        let n = clamped.round();
        let f = clamped.sub(n);
        let mut p = V::splat(1.535_336_2e-4);
        for c in [
            1.339_887_4e-3,
            9.618_437e-3,
            5.550_332_5e-2,
            2.402_264_8e-1,
            std::f32::consts::LN_2,
            1.0,
        ] {
            p = p.mul_add(f, V::splat(c));
        }
        V::splat(0.0).select_less(x, least, p.scale(n))
    }
}

/// Begins to load a cache line into the second-level cache, if the processor has such an instruction. Any address is allowed.
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
#[inline(always)]
pub(crate) fn prefetch_far(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on caches, and every x86-64 processor has SSE.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T1 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Begins to load a cache line that will be written, if the processor has such an instruction. Any address is allowed.
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
#[inline(always)]
pub(crate) fn prefetch_for_writing(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // The compiler's intrinsic becomes this instruction only where a feature that is not stable is enabled.
    // SAFETY: a prefetch has no effect but on caches. 64-bit processors without the instruction ignore it.
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Begins to load a cache line, if the processor has such an instruction. Any address is allowed.
#[inline(always)]
pub(crate) fn prefetch(address: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect but on caches, and every x86-64 processor has SSE.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
