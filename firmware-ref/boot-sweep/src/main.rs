//! Sweeps every story to depth 2 and prints what was found and how fast.

use std::process::ExitCode;
use std::time::Instant;

use boot_sweep::{Build, Limits, Scenario, sweep};

/// Torn outcomes of each operation: many at the first cut, fewer at the second.
const LIMITS: Limits = Limits { torn: &[16, 4] };

fn main() -> ExitCode {
    let mut clean = true;
    let (mut all_cases, mut all_seconds) = (0u64, 0f64);
    println!(
        "{:<55} {:>4} {:>8} {:>6} {:>10}",
        "story", "ops", "cases", "found", "cases/s"
    );
    for scenario in Scenario::all() {
        let began = Instant::now();
        let report = match sweep(&scenario, Build::Careful, LIMITS) {
            Ok(report) => report,
            Err(error) => {
                eprintln!("{}: {error}", scenario.name);
                return ExitCode::from(4);
            }
        };
        let seconds = began.elapsed().as_secs_f64();
        clean &= report.violations.is_empty();
        println!(
            "{:<55} {:>4} {:>8} {:>6} {:>10.0}",
            scenario.name,
            report.operations,
            report.cases,
            report.violations.len(),
            per_second(report.cases, seconds),
        );
        for violation in report.violations.iter().take(3) {
            println!("  {violation:?}");
        }
        // Signatures cost a hundred times a hash and are no part of the rate.
        if !scenario.signed {
            all_cases += report.cases;
            all_seconds += seconds;
        }
    }
    println!(
        "unsigned stories: {all_cases} cases in {all_seconds:.2} s on one core, {:.0} cases/s",
        per_second(all_cases, all_seconds)
    );
    let caught = match Scenario::all()
        .first()
        .map(|story| sweep(story, Build::Brick, LIMITS))
    {
        Some(Ok(report)) => !report.violations.is_empty(),
        _ => false,
    };
    println!(
        "build that erases both banks first: {}",
        if caught { "caught" } else { "NOT CAUGHT" }
    );
    if clean && caught {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

fn per_second(cases: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let cases = cases as f64;
    if seconds > 0.0 { cases / seconds } else { 0.0 }
}
