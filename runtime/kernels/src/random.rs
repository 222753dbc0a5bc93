//! Numbers for tests.

/// Bytes of a linear congruential generator.
pub(crate) fn numbers(seed: u64, count: usize) -> impl Iterator<Item = u8> {
    let mut state = seed;
    (0..count).map(move |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
}
