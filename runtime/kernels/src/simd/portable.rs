//! Plain code, for processors without any of the other sets, and as their reference in tests.

use super::Lanes;

/// 8 floats, which the compiler keeps in the registers that there are.
#[derive(Clone, Copy)]
pub(crate) struct Portable(pub(super) [f32; 8]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Self([x; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: `from` is valid for 8 floats, and an array of floats has their alignment.
        Self(unsafe { from.cast::<[f32; 8]>().read() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: `to` is valid for 8 floats, and an array of floats has their alignment.
        unsafe { to.cast::<[f32; 8]>().write(self.0) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    /// Rounded twice: without the instruction, one rounding would take a call per number.
    #[inline(always)]
    unsafe fn mul_add(self, a: Self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] * a.0[i] + b.0[i]))
    }

    #[inline(always)]
    unsafe fn max(self, other: Self) -> Self {
        self.zip(other, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    unsafe fn select_less(self, a: Self, b: Self, other: Self) -> Self {
        Self(std::array::from_fn(|i| {
            if a.0[i] < b.0[i] {
                self.0[i]
            } else {
                other.0[i]
            }
        }))
    }

    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer.
        const SHIFT: f32 = 12_582_912.0;
        Self(self.0.map(|x| (x + SHIFT) - SHIFT))
    }

    #[inline(always)]
    unsafe fn scale(self, n: Self) -> Self {
        // Adding n to the exponent's bits multiplies by 2^n.
        self.zip(n, |x, n| {
            f32::from_bits(x.to_bits().wrapping_add(((n as i32) << 23) as u32))
        })
    }

    #[inline(always)]
    unsafe fn div(self, other: Self) -> Self {
        self.zip(other, |a, b| a / b)
    }

    #[inline(always)]
    unsafe fn abs(self) -> Self {
        Self(self.0.map(f32::abs))
    }

    #[inline(always)]
    unsafe fn exchanged<const DISTANCE: usize>(self) -> Self {
        Self(std::array::from_fn(|i| self.0[i ^ DISTANCE]))
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8) {
        // SAFETY: `to` is valid for 8 codes, which need no alignment.
        unsafe {
            let codes = self.0.map(|x| (x + 128.0) as u8);
            to.cast::<[u8; 8]>().write(codes);
        }
    }
}
