//! Scenario files: whatever is in one, it is a scenario or there is something to say about it, and not
//! too much.
#![no_main]

use std::path::Path;

use harness::files::SourceFile;
use harness::scenario::Scenario;
use libfuzzer_sys::fuzz_target;

const LONGEST_ANSWER: usize = 20_000;

fuzz_target!(|text: &str| {
    let file = SourceFile {
        name: "scenario.toml".to_owned(),
        text: text.into(),
    };
    match Scenario::parse(&file, Path::new("scenario.toml")) {
        Ok(scenario) => {
            assert!(!scenario.expectations().is_empty(), "it expects nothing");
        }
        Err(error) => {
            assert!(!error.problems().is_empty(), "wrong, but why?");
            assert!(error.render(false).len() < LONGEST_ANSWER);
        }
    }
});
