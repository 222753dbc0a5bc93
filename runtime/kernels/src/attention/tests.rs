//! Against a reference in float64, on random tries.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::parallel::Sequential;

/// Pseudo-random numbers between -1 and 1.
struct Numbers(u64);

impl Numbers {
    fn take(&mut self, count: usize) -> Vec<f32> {
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
struct Case {
    heads: Heads,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    cached: [Vec<f32>; 2],
    positions: Vec<i64>,
    kv_index: Vec<i64>,
    length: usize,
    token_index: Vec<i64>,
    queries: Option<Vec<i64>>,
    norms: Option<[Vec<f32>; 2]>,
    rotary: [Vec<f32>; 2],
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
    fn new(heads: Heads, sequences: &[Vec<u32>], prefix: &[u32], normed: bool) -> Self {
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

    fn attention(&self) -> Attention<'_> {
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
        }
    }

    fn run(&self, set: InstructionSet) -> [Vec<f32>; 2] {
        let (mut keys, mut out) = (vec![f32::NAN; self.k.len()], vec![f32::NAN; self.q.len()]);
        self.attention()
            .compute(set, &Sequential, &mut keys, &mut out)
            .unwrap();
        [keys, out]
    }

    /// Norm and rotation of one head, in float64.
    fn rotated(&self, x: &[f32], norm: Option<&Vec<f32>>, position: usize) -> Vec<f64> {
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

    fn rotated_key(&self, k: &[f32], position: usize, to: &mut [f32]) {
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
    fn reference(&self, query: usize) -> Vec<f64> {
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

fn error(found: &[f32], expected: &[f64]) -> f64 {
    let difference: f64 = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - b).powi(2))
        .sum();
    let norm: f64 = expected.iter().map(|x| x * x).sum();
    (difference / norm.max(1e-12)).sqrt()
}

fn heads() -> impl Strategy<Value = Heads> {
    let groups = prop::sample::select(vec![1, 2, 3, 4, 8, 16]);
    let sizes = prop::sample::select(vec![16, 64, 80, 96, 128]);
    (1usize..4, groups, sizes).prop_map(|(key_value, group, size)| Heads {
        query: key_value * group,
        key_value,
        size,
    })
}

/// The sets that differ in vectors of floats.
fn vector_sets() -> impl Iterator<Item = InstructionSet> {
    let sets = InstructionSet::available().iter().copied();
    sets.filter(|set| *set == set.vectors())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_token_attends_to_its_ancestors(
        heads in heads(),
        sequences in prop::collection::vec(prop::collection::vec(0u32..3, 1..70), 1..6),
        prefix in prop::collection::vec(0u32..3, 0..8),
        normed: bool,
    ) {
        let case = Case::new(heads, &sequences, &prefix, normed);
        for set in vector_sets() {
            let [keys, out] = case.run(set);
            for (query, found) in out.chunks(heads.query_width()).enumerate() {
                let error = error(found, &case.reference(query));
                prop_assert!(error < 2e-6, "{set}: query {query}: {error}");
            }
            let mut key = vec![0.0; heads.key_width()];
            for (token, found) in keys.chunks(heads.key_width()).enumerate() {
                case.rotated_key(&case.k[token * heads.key_width()..][..heads.key_width()], case.positions[token] as usize, &mut key);
                let expected: Vec<f64> = key.iter().map(|x| f64::from(*x)).collect();
                prop_assert!(error(found, &expected) < 2e-6);
            }
        }
    }

    /// Alone, in a batch, behind cached tokens, and as a selected query: the same bits.
    #[test]
    fn a_result_does_not_depend_on_the_batch(
        heads in heads(),
        sequences in prop::collection::vec(prop::collection::vec(0u32..3, 1..130), 2..5),
        normed: bool,
    ) {
        let mut batch = Case::new(heads, &sequences, &[], normed);
        let alone: Vec<Case> = sequences.iter().map(|s| Case::new(heads, std::slice::from_ref(s), &[], normed)).collect();
        let last: Vec<i64> = sequences.iter().enumerate().map(|(b, s)| batch.kv_index[b * batch.length + s.len() - 1]).collect();
        for set in vector_sets() {
            let [keys, out] = batch.run(set);
            for (case, last) in alone.iter().zip(&last) {
                let [own_keys, own] = case.run(set);
                let expected = &own[own.len() - heads.query_width()..];
                prop_assert_eq!(&out[*last as usize * heads.query_width()..][..heads.query_width()], expected);
                // With all tokens but the last one cached.
                let sequence = &sequences[alone.iter().position(|c| std::ptr::eq(c, case)).unwrap()];
                let (inner, width) = (sequence.len() - 1, heads.key_width());
                let mut cached = Case::new(heads, std::slice::from_ref(sequence), &sequence[..inner], normed);
                cached.cached = [own_keys[..inner * width].to_vec(), case.v[..inner * width].to_vec()];
                let [_, found] = cached.run(set);
                prop_assert_eq!(found.as_slice(), expected);
            }
            let expected: Vec<f32> = last.iter().flat_map(|t| out[*t as usize * heads.query_width()..][..heads.query_width()].to_vec()).collect();
            let rows = |q: &[f32]| last.iter().flat_map(|t| q[*t as usize * heads.query_width()..][..heads.query_width()].to_vec()).collect::<Vec<f32>>();
            let all = std::mem::take(&mut batch.q);
            (batch.q, batch.queries) = (rows(&all), Some(last.clone()));
            let [same_keys, found] = batch.run(set);
            (batch.q, batch.queries) = (all, None);
            prop_assert_eq!(found, expected);
            prop_assert_eq!(same_keys, keys);
        }
    }
}

#[test]
fn the_longest_text_is_exact_and_needs_no_square_of_memory() {
    let heads = Heads {
        query: 2,
        key_value: 1,
        size: 64,
    };
    let sequence: Vec<u32> = (0..33_000).map(|i| i % 1_000).collect();
    let mut case = Case::new(heads, &[sequence], &[], true);
    let rows = [0, 47, 48, 16_383, 32_999];
    case.q = rows
        .iter()
        .flat_map(|r| case.q[r * 128..][..128].to_vec())
        .collect();
    case.queries = Some(rows.iter().map(|r| *r as i64).collect());
    let [_, out] = case.run(InstructionSet::best());
    for (query, found) in out.chunks(heads.query_width()).enumerate() {
        let error = error(found, &case.reference(query));
        assert!(error < 1e-5, "row {}: {error}", rows[query]);
    }
}

#[test]
fn indices_and_sizes_are_checked() {
    let heads = Heads {
        query: 2,
        key_value: 1,
        size: 16,
    };
    let case = || Case::new(heads, &[vec![1, 2, 3]], &[], true);
    let refused = |change: fn(&mut Case), expected: &str| {
        let mut case = case();
        change(&mut case);
        let message = case.attention().check().unwrap_err();
        assert!(message.contains(expected), "{message}");
    };
    assert_eq!(case().attention().check(), Ok(()));
    refused(|c| c.kv_index[1] = 3, "kv_index contains 3");
    refused(|c| c.kv_index[1] = -1, "kv_index contains -1");
    refused(|c| c.positions[2] = 3, "position_ids contains 3");
    refused(|c| c.token_index[0] = 3, "token_index contains 3");
    refused(|c| c.q.truncate(5), "q has 5");
    refused(|c| c.cached[0] = vec![0.0; 16], "cached_values has 0");
    refused(|c| c.length = 2, "kv_index has 3 numbers instead of 2");
    refused(|c| c.heads.query = 17, "not supported");
    refused(
        |c| c.queries = Some(vec![3, 0, 0]),
        "query_tokens contains 3",
    );
}

#[test]
fn a_value_that_is_no_number_reaches_the_output() {
    let heads = Heads {
        query: 2,
        key_value: 1,
        size: 32,
    };
    for set in vector_sets() {
        for place in 0..3 {
            let mut case = Case::new(heads, &[vec![1, 2, 3]], &[], true);
            [&mut case.q, &mut case.k, &mut case.v][place][5] = f32::NAN;
            let [_, out] = case.run(set);
            assert!(out[..64].iter().any(|x| x.is_nan()), "{set}, input {place}");
        }
    }
}
