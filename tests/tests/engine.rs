//! What sealing and opening cost, beside the bare ciphers.

use tests::baseline::Tolerance;
use tests::engine;

#[test]
#[ignore = "long: run by `make test-long`, and says nothing when it is not optimized"]
fn sealing_and_opening_cost_no_more_of_the_bare_ciphers_than_before() {
    engine::ratios().hold("tests/engine.json", Tolerance { alike: 25, elsewhere: 100 });
}
