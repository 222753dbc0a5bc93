//! Benchmarks; `RESULTS.md` has what was measured. The library is empty: a package needs a target that others see.
