use super::compute::{Coverage, Gap, Outcome};

/// The table as people read it, widest column last; then what is missing.
pub fn table(coverage: &Coverage) -> String {
    let mut out = String::new();
    for row in &coverage.rows {
        let mark = match (row.proven, row.under_way) {
            (true, _) => "proven",
            (false, false) => "------",
            (false, true) => "to do ",
        };
        out.push_str(&format!("{:<6} {mark}  {}\n", row.id, row.title));
        for (id, outcome) in &row.proofs {
            let word = match outcome {
                Outcome::Passed => "by",
                Outcome::Failed => "FAILED:",
                Outcome::NeverRan => "NEVER RAN:",
            };
            out.push_str(&format!("{:15}{word} {id}\n", ""));
        }
    }
    let rest: Vec<String> = coverage.gaps.iter().filter_map(words).collect();
    if !rest.is_empty() {
        out.push_str(&format!("\n{}\n", rest.join("\n")));
    }
    let (proven, all) = coverage.proven(false);
    out.push_str(&format!("\n{proven} of {all} rows proven"));
    out.push_str(&match coverage.proven(true) {
        (_, 0) => "\n".to_owned(),
        (proven, all) => format!(", and {proven} of {all} that need not be yet\n"),
    });
    out
}

/// Gaps that the rows themselves do not show.
fn words(gap: &Gap) -> Option<String> {
    match gap {
        Gap::Unproven { .. } | Gap::Failed { .. } => None,
        Gap::UnknownRow { row, expectation } => Some(format!(
            "error: there is no row {row}, which {expectation} names"
        )),
        Gap::NeverRan { expectation } => Some(format!("error: {expectation} ran zero times")),
        Gap::Undeclared { expectation } => Some(format!(
            "error: {expectation} was recorded, but no scenario declares it; was the record made from these files?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coverage::{RowId, RowResult};
    use crate::scenario::ExpectationId;

    #[test]
    fn the_table_tells_who_proves_what() {
        let id = |step| ExpectationId {
            scenario: "pair-boot".to_owned(),
            step,
            part: "boots".to_owned(),
        };
        let row = |name: &str, proven, proofs| RowResult {
            id: RowId(name.to_owned()),
            title: format!("Title of {name}"),
            proven,
            under_way: name.starts_with("CD"),
            proofs,
        };
        let coverage = Coverage {
            rows: vec![
                row("VC1", true, vec![(id(0), Outcome::Passed)]),
                row(
                    "VC12a",
                    false,
                    vec![(id(1), Outcome::Failed), (id(2), Outcome::NeverRan)],
                ),
                row("VC2", false, vec![]),
                row("CD1", false, vec![]),
                row("CD2", true, vec![(id(0), Outcome::Passed)]),
            ],
            gaps: vec![
                Gap::NeverRan { expectation: id(2) },
                Gap::Unproven {
                    row: RowId("VC2".to_owned()),
                },
            ],
        };
        insta::assert_snapshot!(table(&coverage));
    }
}
