//! What decisions and the decoding of messages cost, in instructions.

use tests::baseline::Tolerance;
use tests::instructions;

#[test]
fn no_operation_takes_a_tenth_more_instructions_than_before() {
    instructions::count().hold("tests/instructions.json", Tolerance { alike: 10, elsewhere: 50 });
}
