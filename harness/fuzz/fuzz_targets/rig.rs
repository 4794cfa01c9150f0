//! Rig files: whatever is in one, it is a rig or there is something to say about it, and not too much.
#![no_main]

use harness::files::{SourceFile, parse_rig};
use libfuzzer_sys::fuzz_target;

const LONGEST_ANSWER: usize = 20_000;

fuzz_target!(|text: &str| {
    let file = SourceFile {
        name: "rig.toml".to_owned(),
        text: text.into(),
    };
    match parse_rig(&file) {
        Ok(rig) => {
            assert!(rig.slots().count() > 0);
            assert!(rig.shelf.volume().0 > 0);
        }
        Err(error) => {
            assert!(!error.problems().is_empty(), "wrong, but why?");
            assert!(error.render(false).len() < LONGEST_ANSWER);
        }
    }
});
