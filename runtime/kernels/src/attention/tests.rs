//! Against a reference in float64, on random tries.

use proptest::prelude::*;

use super::*;
use case::Case;

mod case;

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

/// The kernels that this processor has: the sets that differ in vectors of floats, and those with tile registers. The greatest error
/// is that of outputs, relative to their norm.
fn kernels() -> impl Iterator<Item = (InstructionSet, Factors, f64)> {
    let sets = || InstructionSet::available().iter().copied();
    let vectors = sets().filter(|set| *set == set.vectors());
    let tiles = sets().filter(|set| set.has_tiles());
    vectors
        .map(|set| (set, Factors::Float32, 2e-6))
        .chain(tiles.map(|set| (set, Factors::Bf16, 2e-2)))
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
        let mut case = Case::new(heads, &sequences, &prefix, normed);
        for (set, factors, greatest) in kernels() {
            case.factors = factors;
            let [keys, out] = case.run(set);
            for (query, found) in out.chunks(heads.query_width()).enumerate() {
                let error = error(found, &case.reference(query));
                prop_assert!(error < greatest, "{set}, {factors:?}: query {query}: {error}");
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
        let mut alone: Vec<Case> = sequences.iter().map(|s| Case::new(heads, std::slice::from_ref(s), &[], normed)).collect();
        let last: Vec<i64> = sequences.iter().enumerate().map(|(b, s)| batch.kv_index[b * batch.length + s.len() - 1]).collect();
        for (set, factors, _) in kernels() {
            batch.factors = factors;
            alone.iter_mut().for_each(|case| case.factors = factors);
            let [keys, out] = batch.run(set);
            for (case, last) in alone.iter().zip(&last) {
                let [own_keys, own] = case.run(set);
                let expected = &own[own.len() - heads.query_width()..];
                prop_assert_eq!(&out[*last as usize * heads.query_width()..][..heads.query_width()], expected);
                // With all tokens but the last one cached.
                let sequence = &sequences[alone.iter().position(|c| std::ptr::eq(c, case)).unwrap()];
                let (inner, width) = (sequence.len() - 1, heads.key_width());
                let mut cached = Case::new(heads, std::slice::from_ref(sequence), &sequence[..inner], normed);
                cached.factors = factors;
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
    for (factors, greatest) in [(Factors::Float32, 1e-5), (Factors::Bf16, 2e-2)] {
        case.factors = factors;
        let [_, out] = case.run(InstructionSet::best());
        for (query, found) in out.chunks(heads.query_width()).enumerate() {
            let error = error(found, &case.reference(query));
            assert!(
                error < greatest,
                "{factors:?}, row {}: {error}",
                rows[query]
            );
        }
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
    for (set, factors, _) in kernels() {
        for place in 0..3 {
            let mut case = Case::new(heads, &[vec![1, 2, 3]], &[], true);
            case.factors = factors;
            [&mut case.q, &mut case.k, &mut case.v][place][5] = f32::NAN;
            let [_, out] = case.run(set);
            assert!(out[..64].iter().any(|x| x.is_nan()), "{set}, input {place}");
        }
    }
}
