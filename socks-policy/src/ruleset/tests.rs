//! Decisions by table, and the properties that all decisions have.

mod decisions;
mod properties;
mod shadows;
mod upstream;
