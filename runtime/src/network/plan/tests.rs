//! Plans against what each text needs.

use proptest::prelude::*;

use super::*;

/// The cached tokens of these sequences if one prefix is cached.
fn chain(prefix: &[u32], sequences: &[&[u32]]) -> CachedTokens {
    let shared = |sequence: &&[u32]| {
        let inner = &sequence[..sequence.len() - 1];
        let equal = inner.iter().zip(prefix).take_while(|(a, b)| a == b);
        (0..equal.count()).collect()
    };
    CachedTokens {
        paths: sequences.iter().map(shared).collect(),
        count: prefix.len(),
    }
}

#[test]
fn shared_prefixes_and_repeated_texts_are_computed_once() {
    let plan = Plan::new(&[&[7, 8, 1], &[7, 9, 9, 1], &[7, 8, 1]]);
    assert_eq!(plan.input_ids, [7, 8, 1, 9, 9, 1]);
    assert_eq!(plan.position_ids, [0, 1, 2, 1, 2, 3]);
    assert_eq!(plan.kv_index, [0, 1, 2, 2, 0, 3, 4, 5, 0, 1, 2, 2]);
    assert_eq!(plan.token_index, [0, 1, 2, 5, 6, 7]);
    assert_eq!(plan.last_row, [2, 5, 2]);
    assert_eq!(plan.last_slot, [2, 7, 10]);
}

#[test]
fn a_cached_prefix_is_not_computed_again() {
    let texts: [&[u32]; 2] = [&[7, 8, 1], &[7, 5]];
    let plan = Plan::with_cached(&chain(&[7, 8], &texts), &texts);
    assert_eq!(plan.input_ids, [1, 5]);
    assert_eq!(plan.position_ids, [2, 1]);
    assert_eq!(plan.kv_index, [0, 1, 2, 0, 3, 3]);
    assert_eq!(plan.query_index, [0, 0, 0, 0, 1, 0]);
}

#[test]
fn a_text_that_is_the_prefix_itself_still_computes_its_last_token() {
    let texts: [&[u32]; 1] = [&[7, 8]];
    let plan = Plan::with_cached(&chain(&[7, 8], &texts), &texts);
    assert_eq!(
        (plan.input_ids, plan.last_row, plan.kv_index),
        (vec![8], vec![0], vec![0, 2])
    );
}

#[test]
fn copies_of_a_batch_have_packed_tokens_of_their_own() {
    let plan = Plan::new(&[&[7, 8, 1], &[7, 9]]);
    let twice = plan.repeated(2);
    assert_eq!(twice.input_ids, [7, 8, 1, 9, 7, 8, 1, 9]);
    let own = states(&plan, &[]);
    assert_eq!(states(&twice, &[]), [own.clone(), own].concat());
    assert_eq!(twice.kv_index[6..], [4, 5, 6, 4, 7, 7]);
    assert_eq!(twice.token_index[4..], [6, 7, 8, 10]);
    assert_eq!((twice.packed_tokens(), twice.batch()), (8, 4));
}

/// A stand-in for a causal decoder: a state is the list of the tokens that are read through the plan's indices.
fn states(plan: &Plan, prefix: &[u32]) -> Vec<Vec<(i64, i64)>> {
    let token = |index: i64| -> (i64, i64) {
        let index = usize::try_from(index).unwrap();
        match index.checked_sub(prefix.len()) {
            Some(index) => (plan.input_ids[index], plan.position_ids[index]),
            None => (i64::from(prefix[index]), index as i64),
        }
    };
    (0..plan.batch())
        .map(|b| {
            let slot = usize::try_from(plan.last_slot[b]).unwrap();
            // The last query is the last index's, and it reads the keys of every position up to its own.
            assert_eq!(plan.query_index[slot], plan.last_row[b]);
            (b * plan.length..=slot)
                .map(|s| token(plan.kv_index[s]))
                .collect()
        })
        .collect()
}

proptest! {
    #[test]
    fn planned_equals_each_text_alone(
        texts in prop::collection::vec(prop::collection::vec(0u32..4, 1..9), 1..9),
        prefix in prop::collection::vec(0u32..4, 0..5),
    ) {
        let sequences: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let plan = Plan::with_cached(&chain(&prefix, &sequences), &sequences);
        let unshared = Plan::unshared(&sequences);
        for (b, text) in texts.iter().enumerate() {
            let expected: Vec<(i64, i64)> = text.iter().enumerate().map(|(p, t)| (i64::from(*t), p as i64)).collect();
            prop_assert_eq!(&states(&plan, &prefix)[b], &expected);
            prop_assert_eq!(&states(&unshared, &[])[b], &expected);
        }
        prop_assert_eq!(unshared.packed_tokens(), texts.iter().map(Vec::len).sum::<usize>());
        // Padding adds rows, texts and positions, and changes nothing that is read.
        let to = Shape { packed_tokens: plan.packed_tokens() + 3, batch: plan.batch() + 2, length: plan.length + 4 };
        if prefix.is_empty() {
            let padded = plan.padded(to);
            prop_assert_eq!(padded.shape(), to);
            prop_assert_eq!(&states(&padded, &[])[..plan.batch()], &states(&plan, &[])[..]);
            for (index, slot) in padded.token_index.iter().take(plan.packed_tokens()).enumerate() {
                prop_assert_eq!(padded.query_index[usize::try_from(*slot).unwrap()], index as i64);
            }
        }
        // Every index's attention result is read where that index itself asked.
        for (index, slot) in plan.token_index.iter().enumerate() {
            prop_assert_eq!(plan.query_index[usize::try_from(*slot).unwrap()], index as i64);
        }
        // No two packed tokens stand for the same prefix.
        let mut paths = std::collections::HashSet::new();
        for text in &texts { for end in 1..=text.len() { paths.insert(&text[..end]); } }
        prop_assert!(plan.packed_tokens() <= paths.len());
    }
}
