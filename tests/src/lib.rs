//! Integration tests; see `integration/main.rs`. The library is empty: a package needs a target that others see.
