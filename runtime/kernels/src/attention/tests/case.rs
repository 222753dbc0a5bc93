//! Inputs of an attention, and what it computes of them in float64.

use std::collections::HashMap;

use super::super::*;
use crate::parallel::Sequential;

/// Pseudo-random numbers between -1 and 1.
struct Numbers(u64);

impl Numbers {
    pub(super) fn take(&mut self, count: usize) -> Vec<f32> {
        let mut next = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((self.0 >> 40) as f32 / (1u64 << 23) as f32) - 1.0
        };
        (0..count).map(|_| next()).collect()
    }
}

/// The inputs of an attention, owned.
pub(super) struct Case {
    pub(super) heads: Heads,
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
    pub(super) cached: [Vec<f32>; 2],
    pub(super) positions: Vec<i64>,
    pub(super) kv_index: Vec<i64>,
    pub(super) length: usize,
    pub(super) token_index: Vec<i64>,
    pub(super) queries: Option<Vec<i64>>,
    pub(super) norms: Option<[Vec<f32>; 2]>,
    pub(super) rotary: [Vec<f32>; 2],
    pub(super) factors: Factors,
}

/// The numbers of a token follow from its path, so that tokens of different batches can be compared.
fn row(path: &[u32], what: u64, width: usize) -> Vec<f32> {
    let seed = path.iter().fold(what + 1, |h, t| {
        (h ^ u64::from(*t))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(17)
    });
    let mut numbers = Numbers(seed);
    numbers.take(3);
    numbers.take(width)
}

impl Case {
    /// Sequences whose first tokens are cached if they are those of `prefix`.
    pub(super) fn new(heads: Heads, sequences: &[Vec<u32>], prefix: &[u32], normed: bool) -> Self {
        let (width, half) = (heads.key_width(), heads.size / 2);
        let length = sequences.iter().map(Vec::len).max().unwrap();
        let mut nodes: HashMap<&[u32], usize> = HashMap::new();
        let mut case = Self {
            heads,
            q: Vec::new(),
            k: Vec::new(),
            v: Vec::new(),
            cached: [Vec::new(), Vec::new()],
            positions: Vec::new(),
            kv_index: vec![0; sequences.len() * length],
            length,
            token_index: Vec::new(),
            queries: None,
            norms: normed.then(|| {
                [7, 8].map(|seed| {
                    Numbers(seed)
                        .take(heads.size)
                        .iter()
                        .map(|x| 1.0 + x / 2.0)
                        .collect()
                })
            }),
            rotary: [Vec::new(), Vec::new()],
            factors: Factors::Float32,
        };
        for position in 0..length {
            for i in 0..half {
                let angle = position as f64 * 10_000f64.powf(-(i as f64) / half as f64);
                case.rotary[0].push(angle.cos() as f32);
                case.rotary[1].push(angle.sin() as f32);
            }
        }
        for end in 1..=prefix.len() {
            let path = &prefix[..end];
            let mut key = vec![0.0; width];
            if end <= length {
                case.rotated_key(&row(path, 1, width), end - 1, &mut key);
            }
            case.cached[0].extend(key);
            case.cached[1].extend(row(path, 2, width));
        }
        for (b, sequence) in sequences.iter().enumerate() {
            let inner = &sequence[..sequence.len() - 1];
            let known = inner.iter().zip(prefix).take_while(|(a, b)| a == b).count();
            for position in 0..length {
                let slot = b * length + position;
                case.kv_index[slot] = if position < known {
                    position as i64
                } else if position < sequence.len() {
                    let path = &sequence[..=position];
                    let next = prefix.len() + case.positions.len();
                    let index = *nodes.entry(path).or_insert(next);
                    if index == next {
                        case.positions.push(position as i64);
                        case.token_index.push(slot as i64);
                        case.q.extend(row(path, 0, heads.query_width()));
                        case.k.extend(row(path, 1, width));
                        case.v.extend(row(path, 2, width));
                    }
                    index as i64
                } else {
                    0
                };
            }
        }
        case
    }

    pub(super) fn attention(&self) -> Attention<'_> {
        Attention {
            heads: self.heads,
            q: &self.q,
            k: &self.k,
            v: &self.v,
            cached_keys: &self.cached[0],
            cached_values: &self.cached[1],
            tokens: Tokens {
                positions: &self.positions,
                kv_index: &self.kv_index,
                length: self.length,
                token_index: &self.token_index,
                queries: self.queries.as_deref(),
            },
            norms: self.norms.as_ref().map(|[query, key]| HeadNorms {
                query,
                key,
                epsilon: 1e-6,
            }),
            rotary: RotaryTables {
                cos: &self.rotary[0],
                sin: &self.rotary[1],
            },
            factors: self.factors,
        }
    }

    pub(super) fn run(&self, set: InstructionSet) -> [Vec<f32>; 2] {
        let (mut keys, mut out) = (vec![f32::NAN; self.k.len()], vec![f32::NAN; self.q.len()]);
        self.attention()
            .compute(set, &Sequential, &mut keys, &mut out)
            .unwrap();
        [keys, out]
    }

    /// Norm and rotation of one head, in float64.
    pub(super) fn rotated(&self, x: &[f32], norm: Option<&Vec<f32>>, position: usize) -> Vec<f64> {
        let half = x.len() / 2;
        let mut x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        if let Some(weight) = norm {
            let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
            let factor = 1.0 / (mean + 1e-6).sqrt();
            x.iter_mut()
                .zip(weight)
                .for_each(|(x, w)| *x *= factor * f64::from(*w));
        }
        let angle = |i: usize| {
            [&self.rotary[0], &self.rotary[1]].map(|t| f64::from(t[position * half + i]))
        };
        (0..x.len())
            .map(|i| {
                let [cos, sin] = angle(i % half);
                match i < half {
                    true => x[i] * cos - x[i + half] * sin,
                    false => x[i] * cos + x[i - half] * sin,
                }
            })
            .collect()
    }

    pub(super) fn rotated_key(&self, k: &[f32], position: usize, to: &mut [f32]) {
        let norm = self.norms.as_ref().map(|n| &n[1]);
        for (from, to) in k
            .chunks(self.heads.size)
            .zip(to.chunks_mut(self.heads.size))
        {
            let key = self.rotated(from, norm, position);
            to.iter_mut().zip(key).for_each(|(to, x)| *to = x as f32);
        }
    }

    /// The output of one query, in float64.
    pub(super) fn reference(&self, query: usize) -> Vec<f64> {
        let (heads, size) = (self.heads, self.heads.size);
        let token = self.queries.as_ref().map_or(query, |q| q[query] as usize);
        let slot = self.token_index[token] as usize;
        let position = slot % self.length;
        let path = &self.kv_index[slot - position..=slot];
        let cached = self.cached[0].len() / heads.key_width();
        let mut out = Vec::new();
        for head in 0..heads.query {
            let at = head / heads.group() * size;
            let q = &self.q[query * heads.query_width() + head * size..][..size];
            let q = self.rotated(q, self.norms.as_ref().map(|n| &n[0]), position);
            let scores: Vec<f64> = path
                .iter()
                .enumerate()
                .map(|(position, index)| {
                    let index = *index as usize;
                    let key: Vec<f64> = if index < cached {
                        self.cached[0][index * heads.key_width() + at..][..size]
                            .iter()
                            .map(|x| f64::from(*x))
                            .collect()
                    } else {
                        let k = &self.k[(index - cached) * heads.key_width() + at..][..size];
                        self.rotated(k, self.norms.as_ref().map(|n| &n[1]), position)
                    };
                    q.iter().zip(key).map(|(a, b)| a * b).sum::<f64>() / (size as f64).sqrt()
                })
                .collect();
            let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|s| (s - max).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for d in 0..size {
                let value = |index: &i64| {
                    let index = *index as usize;
                    let (from, row) = if index < cached {
                        (&self.cached[1], index)
                    } else {
                        (&self.v, index - cached)
                    };
                    f64::from(from[row * heads.key_width() + at + d])
                };
                out.push(
                    path.iter()
                        .zip(&weights)
                        .map(|(i, w)| value(i) * w)
                        .sum::<f64>()
                        / sum,
                );
            }
        }
        out
    }
}
