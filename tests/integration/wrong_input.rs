//! Damaged checkpoints: each has a message of its own, and nothing is left at the output path.
