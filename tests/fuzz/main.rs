//! One target under libFuzzer: the one that the program is named after.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod targets;

fuzz_target!(|bytes: &[u8]| {
    let (_, target) = targets::TARGETS
        .into_iter()
        .find(|(name, _)| *name == env!("CARGO_BIN_NAME"))
        .expect("a target of this program's name");
    target(bytes);
});
