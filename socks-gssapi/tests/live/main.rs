//! Both sides against MIT's library and a real realm.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a step that fails is a test that fails"
)]

mod accepting;
mod diagnoses;
mod engines;
mod groups;
mod method;
mod stage;
