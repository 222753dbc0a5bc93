//! Linear layers with 8-bit weights and activations, exact in 32-bit integers until the end.
//!
//! `y[m, n] = scale[m] * scale[n] * sum over k of (code[m, k] - 128) * weight[n, k]`, plus a bias. Codes are unsigned,
//! as VNNI multiplies them; the 128 is subtracted at the end by means of each output's sum of weights.

mod dot;
mod pack;

use crate::parallel::{Parallel, Shared};
use crate::simd::InstructionSet;
#[cfg(target_arch = "x86_64")]
use dot::{Avx2, Vnni};
use dot::{Dot, Portable};
pub use pack::{COLUMNS, pack, packed_len};

use crate::codes::{self, DEPTH, ROWS};

/// Weights as [`pack`] arranges them, one scale per output.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a> {
    /// `[ceil(outputs / 16), inputs / 4, 16, 4]`.
    pub codes: &'a [i8],
    /// `[outputs]`.
    pub scales: &'a [f32],
    /// `[outputs]`: the sum of each output's codes.
    pub sums: &'a [i32],
    /// The number of inputs.
    pub inputs: usize,
}

/// The activations of a [`Linear`] layer.
#[derive(Debug, Clone, Copy)]
pub struct Linear<'a> {
    /// Codes plus 128, as [`codes`] arranges them.
    pub codes: &'a [u8],
    /// `[rows]`.
    pub scales: &'a [f32],
    /// The weights.
    pub weights: Weights<'a>,
    /// `[outputs]`.
    pub bias: Option<&'a [f32]>,
}

impl Linear<'_> {
    fn outputs(&self) -> usize {
        self.weights.scales.len()
    }

    fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Checks that all sizes agree.
    ///
    /// # Errors
    /// Names the input that does not fit.
    pub fn check(&self) -> Result<(), String> {
        let (inputs, outputs, rows) = (self.weights.inputs, self.outputs(), self.rows());
        if inputs == 0 || !inputs.is_multiple_of(DEPTH) {
            return Err(format!("{inputs} inputs are no multiple of {DEPTH}"));
        }
        let sizes = [
            ("codes", self.codes.len(), codes::len(rows, inputs)),
            (
                "weights",
                self.weights.codes.len(),
                packed_len(inputs, outputs),
            ),
            ("sums", self.weights.sums.len(), outputs),
            ("bias", self.bias.map_or(outputs, <[f32]>::len), outputs),
        ];
        match sizes
            .into_iter()
            .find(|(_, found, expected)| found != expected)
        {
            Some((name, found, expected)) => {
                Err(format!("{name} has {found} values instead of {expected}"))
            }
            None => Ok(()),
        }
    }

    /// Computes `out`, `[rows, outputs]`.
    ///
    /// # Errors
    /// As [`check`](Self::check); nothing is written.
    ///
    /// # Panics
    /// If the output has another size.
    pub fn compute(
        &self,
        set: InstructionSet,
        threads: &dyn Parallel,
        out: &mut [f32],
    ) -> Result<(), String> {
        self.check()?;
        assert_eq!(
            out.len(),
            self.rows() * self.outputs(),
            "the output has a value for each row and output"
        );
        let out = Shared::new(out);
        let kernel = kernel(set);
        let blocks = Blocks::of(self);
        threads.each(blocks.count(), &|task| {
            // SAFETY: each task writes its own rows and columns. Sizes were checked, and a set that the processor lacks is never
            // made.
            unsafe { kernel(self, blocks.get(task), &out) };
        });
        Ok(())
    }
}

/// How the output is divided into tasks. Rows of a task stay in the second-level cache while it reads its columns' weights.
struct Blocks {
    rows: usize,
    panels: usize,
    rows_per_block: usize,
    panels_per_block: usize,
}

/// Some rows and panels of columns.
#[derive(Clone, Copy)]
struct Block {
    rows: [usize; 2],
    panels: [usize; 2],
}

impl Blocks {
    /// Bytes of codes per block.
    const CODES: usize = 384 << 10;
    /// Panels that a tile takes at once.
    const TILE: usize = 2;

    fn of(linear: &Linear<'_>) -> Self {
        let fitting = (Self::CODES / linear.weights.inputs).max(ROWS) / ROWS * ROWS;
        let rows = linear.rows();
        // Equal blocks, so that no thread waits for a last small one.
        let blocks = rows.div_ceil(fitting).max(1);
        Self {
            rows,
            panels: linear.outputs().div_ceil(COLUMNS),
            rows_per_block: rows.div_ceil(blocks).next_multiple_of(ROWS),
            // Few rows make small tasks of two panels, which would cost more to distribute than to compute.
            panels_per_block: if rows <= ROWS {
                4 * Self::TILE
            } else {
                Self::TILE
            },
        }
    }

    fn across(&self) -> usize {
        self.panels.div_ceil(self.panels_per_block)
    }

    fn count(&self) -> usize {
        self.rows.div_ceil(self.rows_per_block) * self.across()
    }

    fn get(&self, task: usize) -> Block {
        let part =
            |number: usize, size: usize, end: usize| [number * size, end.min((number + 1) * size)];
        Block {
            rows: part(task / self.across(), self.rows_per_block, self.rows),
            panels: part(task % self.across(), self.panels_per_block, self.panels),
        }
    }
}

/// Computes a block.
///
/// # Safety
/// The processor has the instruction set, the inputs were checked, and no other task writes the same block.
type Kernel = unsafe fn(&Linear<'_>, Block, &Shared<f32>);

fn kernel(set: InstructionSet) -> Kernel {
    match set {
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512Vnni => vnni,
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 | InstructionSet::Avx2 => avx2,
        _ => portable,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn vnni(linear: &Linear<'_>, block: Block, out: &Shared<f32>) {
    // SAFETY: the caller's promise. 24 accumulators of 32 registers.
    unsafe { run::<Vnni, ROWS>(linear, block, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(linear: &Linear<'_>, block: Block, out: &Shared<f32>) {
    // SAFETY: the caller's promise. An accumulator has four registers of 16.
    unsafe { run::<Avx2, 1>(linear, block, out) }
}

unsafe fn portable(linear: &Linear<'_>, block: Block, out: &Shared<f32>) {
    // SAFETY: the caller's promise.
    unsafe { run::<Portable, 1>(linear, block, out) }
}

/// Computes a block in tiles of `TALL` rows, and of fewer at its end.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn run<D: Dot, const TALL: usize>(linear: &Linear<'_>, block: Block, out: &Shared<f32>) {
    let [first_panel, last_panel] = block.panels;
    for panel in (first_panel..last_panel).step_by(Blocks::TILE) {
        let two = panel + 1 < last_panel;
        let mut row = block.rows[0];
        while row < block.rows[1] {
            let left = block.rows[1] - row;
            // SAFETY: the caller's promise; the tile lies within the block.
            row += unsafe {
                match two {
                    true => tiles::<D, TALL, 2>(linear, row, left, panel, out),
                    false => tiles::<D, TALL, 1>(linear, row, left, panel, out),
                }
            };
        }
    }
}

/// Computes the tallest tile that fits, and returns its rows.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn tiles<D: Dot, const TALL: usize, const PANELS: usize>(
    linear: &Linear<'_>,
    row: usize,
    left: usize,
    panel: usize,
    out: &Shared<f32>,
) -> usize {
    // SAFETY: the caller's promise.
    unsafe {
        if left >= TALL && row.is_multiple_of(TALL) {
            tile::<D, TALL, PANELS>(linear, row, panel, out);
            return TALL;
        }
        if left >= 6 {
            tile::<D, 6, PANELS>(linear, row, panel, out);
            return 6;
        }
        if left >= 2 {
            tile::<D, 2, PANELS>(linear, row, panel, out);
            return 2;
        }
        tile::<D, 1, PANELS>(linear, row, panel, out);
        1
    }
}

/// Computes some rows, all of one tile of [`codes`], and panels.
///
/// # Safety
/// As [`Kernel`].
#[inline(always)]
unsafe fn tile<D: Dot, const HEIGHT: usize, const PANELS: usize>(
    linear: &Linear<'_>,
    row: usize,
    panel: usize,
    out: &Shared<f32>,
) {
    let inputs = linear.weights.inputs;
    // SAFETY: the caller's promise; a panel has `inputs * COLUMNS` codes, and a tile `inputs * ROWS`.
    unsafe {
        let mut sums = [[D::zero(); PANELS]; HEIGHT];
        let first = row / ROWS * ROWS * inputs + row % ROWS * DEPTH;
        let codes = linear.codes.as_ptr().add(first);
        let weights = linear.weights.codes.as_ptr().add(panel * inputs * COLUMNS);
        for k in (0..inputs).step_by(DEPTH) {
            let mut operands = [D::load(weights.add(k * COLUMNS)); PANELS];
            for (p, operand) in operands.iter_mut().enumerate().skip(1) {
                *operand = D::load(weights.add((p * inputs + k) * COLUMNS));
            }
            let codes = codes.add(k * ROWS).cast::<u32>();
            for (r, sums) in sums.iter_mut().enumerate() {
                let four = codes.add(r).read_unaligned();
                for (sum, operand) in sums.iter_mut().zip(operands) {
                    *sum = sum.add(four, operand);
                }
            }
        }
        let outputs = linear.outputs();
        for p in 0..PANELS {
            let columns = Columns::of(linear, panel + p);
            for (r, sums) in sums.iter().enumerate() {
                let start = (row + r) * outputs + (panel + p) * COLUMNS;
                let to = out.part(start, columns.count);
                let scale = linear.scales[row + r];
                match columns.count {
                    COLUMNS => sums[p].finish(&columns, scale, to.as_mut_ptr()),
                    count => {
                        let mut all = [0.0; COLUMNS];
                        sums[p].finish(&columns, scale, all.as_mut_ptr());
                        to.copy_from_slice(&all[..count]);
                    }
                }
            }
        }
    }
}

/// What turns the sums of a panel's columns into outputs; zero for padding.
#[repr(C, align(64))]
struct Columns {
    scales: [f32; COLUMNS],
    /// 128 times the sum of weights.
    offsets: [i32; COLUMNS],
    bias: [f32; COLUMNS],
    count: usize,
}

impl Columns {
    #[inline(always)]
    fn of(linear: &Linear<'_>, panel: usize) -> Self {
        let first = panel * COLUMNS;
        let count = COLUMNS.min(linear.outputs() - first);
        let mut columns = Self {
            scales: [0.0; COLUMNS],
            offsets: [0; COLUMNS],
            bias: [0.0; COLUMNS],
            count,
        };
        columns.scales[..count].copy_from_slice(&linear.weights.scales[first..][..count]);
        for (offset, sum) in columns
            .offsets
            .iter_mut()
            .zip(&linear.weights.sums[first..][..count])
        {
            *offset = 128 * sum;
        }
        if let Some(bias) = linear.bias {
            columns.bias[..count].copy_from_slice(&bias[first..][..count]);
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parallel::Sequential;

    fn numbers(seed: u64, count: usize) -> impl Iterator<Item = u8> {
        let mut state = seed;
        (0..count).map(move |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
    }

    proptest! {
        #[test]
        fn sums_are_exact(rows in 1usize..40, depth in 1usize..40, outputs in 1usize..90, extreme: bool, added: bool, seed: u64) {
            let inputs = depth * DEPTH;
            let extreme = |x: u8| if extreme { if x > 100 { 255 } else { 0 } } else { x };
            let codes: Vec<u8> = numbers(seed, rows * inputs).map(extreme).collect();
            // Weights are symmetric: -127 to 127.
            let plain: Vec<i8> = numbers(!seed, inputs * outputs).map(|x| (extreme(x) as i8).max(-127)).collect();
            let (packed, sums) = pack(&plain, inputs);
            let scales: Vec<f32> = (0..outputs).map(|n| 0.01 + n as f32 / 1000.0).collect();
            let row_scales: Vec<f32> = (0..rows).map(|m| 0.5 + m as f32).collect();
            let bias: Vec<f32> = (0..outputs).map(|n| n as f32 - 5.0).collect();
            let mut tiles = vec![0; codes::len(rows, inputs)];
            for (rows, tile) in codes.chunks(ROWS * inputs).zip(tiles.chunks_mut(ROWS * inputs)) {
                codes::arrange(rows, inputs, tile);
            }
            let linear = Linear {
                codes: &tiles,
                scales: &row_scales,
                weights: Weights { codes: &packed, scales: &scales, sums: &sums, inputs },
                bias: added.then_some(&bias),
            };
            for set in InstructionSet::available() {
                let mut out = vec![f32::NAN; rows * outputs];
                linear.compute(set, &Sequential, &mut out).unwrap();
                for m in 0..rows {
                    for n in 0..outputs {
                        let sum: i32 = (0..inputs)
                            .map(|k| (i32::from(codes[m * inputs + k]) - 128) * i32::from(plain[n * inputs + k]))
                            .sum();
                        let mut expected = sum as f32 * (row_scales[m] * scales[n]);
                        if added {
                            expected += bias[n];
                        }
                        prop_assert_eq!(out[m * outputs + n], expected, "{} at {}, {}", set, m, n);
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_are_checked() {
        let weights = Weights {
            codes: &[0; 64],
            scales: &[1.0; 3],
            sums: &[0; 3],
            inputs: 4,
        };
        let linear = Linear {
            codes: &[128; 48],
            scales: &[1.0; 2],
            weights,
            bias: None,
        };
        assert_eq!(linear.check(), Ok(()));
        let refused = |linear: Linear<'_>, expected: &str| {
            let message = linear.check().unwrap_err();
            assert!(message.contains(expected), "{message}");
        };
        refused(
            Linear {
                codes: &[128; 7],
                ..linear
            },
            "codes has 7 values instead of 48",
        );
        refused(
            Linear {
                weights: Weights {
                    inputs: 6,
                    ..weights
                },
                ..linear
            },
            "multiple of 4",
        );
        refused(
            Linear {
                weights: Weights {
                    codes: &[0; 63],
                    ..weights
                },
                ..linear
            },
            "weights has 63",
        );
        refused(
            Linear {
                bias: Some(&[0.0; 2]),
                ..linear
            },
            "bias has 2",
        );
    }

    #[test]
    fn a_row_whose_scale_is_no_number_gives_none() {
        let weights = Weights {
            codes: &[1; 64],
            scales: &[1.0; 3],
            sums: &[4; 3],
            inputs: 4,
        };
        let linear = Linear {
            codes: &[128; 48],
            scales: &[f32::NAN, 1.0],
            weights,
            bias: None,
        };
        for set in InstructionSet::available() {
            let mut out = [0.0; 6];
            linear.compute(set, &Sequential, &mut out).unwrap();
            assert!(out[..3].iter().all(|x| x.is_nan()) && out[3..] == [0.0; 3]);
        }
    }
}
