//! Against float64.

use proptest::prelude::*;

use super::*;
use crate::codes::FINER;
use crate::hadamard::widest_block;
use crate::parallel::Sequential;

const FORM: Form = Form {
    scaling: Scaling::Row,
    rotation: None,
};

/// The product of a block and the orthonormal Hadamard matrix.
fn rotate(block: &mut [f64]) {
    let from = block.to_vec();
    for (i, to) in block.iter_mut().enumerate() {
        let sign = |j: usize| {
            if (i & j).count_ones().is_multiple_of(2) {
                1.0
            } else {
                -1.0
            }
        };
        let sum: f64 = from.iter().enumerate().map(|(j, x)| sign(j) * x).sum();
        *to = sum / (from.len() as f64).sqrt();
    }
}

/// The values of a row in float64.
fn expected(rows: &Rows<'_>, row: usize, width: usize) -> Vec<f64> {
    let at = row * width;
    let part = |x: &[f32]| {
        x[at..at + width]
            .iter()
            .map(|x| f64::from(*x))
            .collect::<Vec<_>>()
    };
    match rows {
        Rows::Plain(x) => part(x),
        Rows::Norm {
            x,
            residual,
            weight,
            epsilon,
        } => {
            let mut x = part(x);
            if let Some(residual) = residual {
                x.iter_mut().zip(part(residual)).for_each(|(x, r)| *x += r);
            }
            let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
            let factor = 1.0 / (mean + f64::from(*epsilon)).sqrt();
            x.iter()
                .zip(*weight)
                .map(|(x, w)| x * factor * f64::from(*w))
                .collect()
        }
        Rows::SwiGlu { gate, up } => {
            let pairs = part(gate).into_iter().zip(part(up));
            pairs.map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect()
        }
    }
}

fn run(
    set: InstructionSet,
    rows: Rows<'_>,
    width: usize,
    form: Form,
    sum: Option<&mut [f32]>,
) -> (Vec<u8>, Vec<u8>, Vec<f32>) {
    let scaling = form.scaling;
    let count = rows.len() / width;
    let layout = scaling.layout(set, width);
    let size = scaling.size(width).unwrap();
    let mut strips = vec![0; layout.len(count, width)];
    let mut scales = vec![0.0; rows.len() / size];
    let mut code_sums = vec![0; scales.len()];
    let mut fine = strips.clone();
    let outputs = Outputs {
        codes: &mut strips,
        fine: Some(&mut fine),
        scales: &mut scales,
        code_sums: Some(&mut code_sums),
        sum,
    };
    quantize(set, &Sequential, rows, width, form, outputs).unwrap();
    let [codes, fine] = [strips, fine].map(|strips| {
        let code = |i: usize| layout.at(&strips, width, i / width, i % width);
        (0..rows.len()).map(code).collect::<Vec<u8>>()
    });
    for (sum, codes) in code_sums.iter().zip(codes.chunks(size)) {
        let expected: i32 = codes.iter().map(|code| i32::from(*code) - 128).sum();
        assert_eq!(*sum, expected);
    }
    (codes, fine, scales)
}

proptest! {
    #[test]
    fn codes_times_scales_are_the_values(
        (width, values) in (1usize..12, 1usize..8).prop_flat_map(|(w, rows)| (
            Just(w * 16),
            prop::collection::vec(-30f32..30.0, w * 16 * rows * 2),
        )),
        weight in prop::collection::vec(-2f32..2.0, 12 * 16),
    ) {
        let (a, b) = values.split_at(values.len() / 2);
        let weight = &weight[..width];
        for rows in [
            Rows::Plain(a),
            Rows::Norm { x: a, residual: None, weight, epsilon: 1e-6 },
            Rows::Norm { x: a, residual: Some(b), weight, epsilon: 1e-6 },
            Rows::SwiGlu { gate: a, up: b },
        ] {
            let forms = [FORM, Form { scaling: Scaling::Block(16), ..FORM }, Form { rotation: widest_block(width), ..FORM }];
            for (&set, form) in InstructionSet::available().iter().flat_map(|set| forms.map(|form| (set, form))) {
                let size = form.scaling.size(width).unwrap();
                let mut sum = vec![0.0; a.len()];
                let wanted = matches!(rows, Rows::Norm { .. });
                let (codes, fine, scales) = run(set, rows, width, form, wanted.then_some(&mut sum));
                for (block, scale) in scales.iter().enumerate() {
                    let at = block * size;
                    let mut row = expected(&rows, at / width, width);
                    if let Some(block) = form.rotation {
                        row.chunks_mut(block).for_each(rotate);
                    }
                    let values = &row[at % width..][..size];
                    let largest = values.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                    prop_assert!((f64::from(*scale) * 127.0 - largest).abs() <= 1e-5 * largest);
                    let all = codes[at..].iter().zip(&fine[at..]);
                    for ((code, fine), value) in all.zip(values) {
                        let scale = f64::from(*scale);
                        let found = (f64::from(*code) - 128.0) * scale;
                        prop_assert!((found - value).abs() <= scale * 0.501, "{set}: {found} {value}");
                        let finer = found + (f64::from(*fine) - 128.0) / f64::from(FINER) * scale;
                        prop_assert!((finer - value).abs() <= scale * 0.003, "{set}: {finer} {value}");
                    }
                }
                if let Rows::Norm { residual, .. } = rows {
                    for (i, sum) in sum.iter().enumerate() {
                        prop_assert_eq!(*sum, a[i] + residual.map_or(0.0, |r| r[i]));
                    }
                }
                // A row alone has the same codes.
                let last = a.len() - width..;
                let alone = match rows {
                    Rows::Plain(x) => Rows::Plain(&x[last]),
                    Rows::Norm { x, residual, weight, epsilon } =>
                        Rows::Norm { x: &x[last.clone()], residual: residual.map(|r| &r[last]), weight, epsilon },
                    Rows::SwiGlu { gate, up } => Rows::SwiGlu { gate: &gate[last.clone()], up: &up[last] },
                };
                let (own, _, own_scale) = run(set, alone, width, form, None);
                prop_assert_eq!(own.as_slice(), &codes[codes.len() - width..]);
                prop_assert_eq!(own_scale.as_slice(), &scales[scales.len() - own_scale.len()..]);
            }
        }
    }
}

#[test]
fn zeros_and_invalid_numbers() {
    for &set in InstructionSet::available() {
        let (codes, fine, scales) = run(set, Rows::Plain(&[0.0; 32]), 32, FORM, None);
        assert_eq!((codes, fine), (vec![128; 32], vec![128; 32]));
        assert_eq!(scales, [LEAST / 127.0]);
        for invalid in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 17, 31] {
                let mut x = [1.0; 32];
                x[place] = invalid;
                let (_, _, scales) = run(set, Rows::Plain(&x), 32, FORM, None);
                assert!(scales[0].is_nan(), "{set}: {invalid} at {place}");
                // In blocks, the other one stays as it is.
                let (_, _, scales) = run(
                    set,
                    Rows::Plain(&x),
                    32,
                    Form {
                        scaling: Scaling::Block(16),
                        ..FORM
                    },
                    None,
                );
                assert!(scales[place / 16].is_nan() && scales[1 - place / 16] == 1.0 / 127.0);
            }
        }
    }
}

#[test]
fn sizes_are_checked() {
    let refused = |rows: Rows<'_>, width, expected: &str| {
        let message = rows.check(width).unwrap_err();
        assert!(message.contains(expected), "{message}");
    };
    refused(Rows::Plain(&[0.0; 24]), 24, "multiple of 16");
    refused(Rows::Plain(&[0.0; 40]), 32, "the input has 40 values");
    refused(
        Rows::SwiGlu {
            gate: &[0.0; 32],
            up: &[0.0; 16],
        },
        16,
        "up has 16 values instead of 32",
    );
    let norm = Rows::Norm {
        x: &[0.0; 32],
        residual: None,
        weight: &[0.0; 16],
        epsilon: 1e-6,
    };
    refused(norm, 32, "weight has 16 values instead of 32");
    for size in [0, 8, 48, 128] {
        let message = Scaling::Block(size).size(64).unwrap_err();
        assert!(
            message.contains(&format!("no whole blocks of {size}")),
            "{message}"
        );
    }
}
