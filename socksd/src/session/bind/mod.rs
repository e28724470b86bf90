//! BIND: what is asked for is judged, a socket listens, the right peer is taken.
//!
//! RFC 1928 section 6: the first reply tells where the gateway listens, the second one who has come.

mod expected;
mod listening;
mod permitted;
mod upstream;

pub(super) use permitted::Permitted;

use expected::Expected;
