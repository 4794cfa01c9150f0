//! What all benches measure and report with.

use std::time::Duration;

/// One line: figure, value, unit, target.
pub(crate) fn report(figure: &str, value: f64, unit: &str, target: &str) {
    #[expect(clippy::print_stdout, reason = "this is what the programs are for")]
    {
        println!("{figure:<52} {value:>12.1} {unit:<16} {target}");
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
