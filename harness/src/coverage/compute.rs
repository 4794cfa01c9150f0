use std::collections::BTreeMap;

use serde::Serialize;

use super::rows::{Row, RowId, Rows};
use crate::report::{Line, Record};
use crate::scenario::{Expectation, ExpectationId};

/// What became of an expectation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran and held.
    Passed,
    /// It ran and did not hold.
    Failed,
    /// It never ran.
    NeverRan,
}

/// Something that keeps the table from being whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "gap")]
pub enum Gap {
    /// No passed expectation proves the row.
    Unproven {
        /// The row.
        row: RowId,
    },
    /// An expectation that should prove the row did not hold.
    Failed {
        /// The row.
        row: RowId,
        /// The expectation.
        expectation: ExpectationId,
    },
    /// An expectation names a row that does not exist.
    UnknownRow {
        /// What it names.
        row: RowId,
        /// The expectation.
        expectation: ExpectationId,
    },
    /// An expectation of a scenario that was to be played ran zero times.
    NeverRan {
        /// The expectation.
        expectation: ExpectationId,
    },
    /// A run recorded an expectation that no scenario declares: the record is of other scenarios.
    Undeclared {
        /// The expectation.
        expectation: ExpectationId,
    },
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowResult {
    /// The row.
    pub id: RowId,
    /// What must be seen.
    pub title: String,
    /// Whether it is proven.
    pub proven: bool,
    /// It need not be yet: what must prove it is being worked on.
    pub under_way: bool,
    /// The expectations that should prove it, and what became of them.
    pub proofs: Vec<(ExpectationId, Outcome)>,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Every row asked for.
    pub rows: Vec<RowResult>,
    /// What keeps it from being whole; empty for a good table.
    pub gaps: Vec<Gap>,
}

/// What became of each expectation according to the records of a run. One that ran more than once
/// (after a restore) passed only if it passed every time.
pub fn outcomes<'l>(lines: impl IntoIterator<Item = &'l Line>) -> BTreeMap<ExpectationId, Outcome> {
    let mut outcomes = BTreeMap::new();
    for line in lines {
        let Record::Expectation { id, passed, .. } = &line.record else {
            continue;
        };
        let outcome = match passed {
            true => Outcome::Passed,
            false => Outcome::Failed,
        };
        outcomes
            .entry(id.clone())
            .and_modify(|known| {
                if !passed {
                    *known = outcome;
                }
            })
            .or_insert(outcome);
    }
    outcomes
}

impl Coverage {
    /// Computes the table of the rows that `wanted` picks.
    pub fn compute(
        rows: &Rows,
        wanted: impl Fn(&Row) -> bool,
        declared: &[Expectation],
        outcomes: &BTreeMap<ExpectationId, Outcome>,
    ) -> Coverage {
        let mut gaps = Vec::new();
        let mut proofs: BTreeMap<&RowId, Vec<(ExpectationId, Outcome)>> = BTreeMap::new();
        for expectation in declared {
            let outcome = outcomes
                .get(&expectation.id)
                .copied()
                .unwrap_or(Outcome::NeverRan);
            if outcome == Outcome::NeverRan {
                gaps.push(Gap::NeverRan {
                    expectation: expectation.id.clone(),
                });
            }
            for row in &expectation.proves {
                if rows.get(&row.0).is_none() {
                    gaps.push(Gap::UnknownRow {
                        row: row.clone(),
                        expectation: expectation.id.clone(),
                    });
                }
                proofs
                    .entry(row)
                    .or_default()
                    .push((expectation.id.clone(), outcome));
            }
        }
        for id in outcomes.keys() {
            if !declared.iter().any(|expectation| expectation.id == *id) {
                gaps.push(Gap::Undeclared {
                    expectation: id.clone(),
                });
            }
        }
        let mut results = Vec::new();
        for row in rows.iter().filter(|row| wanted(row)) {
            let proofs = proofs.remove(&row.id).unwrap_or_default();
            for (id, _) in proofs
                .iter()
                .filter(|(_, outcome)| *outcome == Outcome::Failed)
            {
                gaps.push(Gap::Failed {
                    row: row.id.clone(),
                    expectation: id.clone(),
                });
            }
            // All of them: a row with a failed or silent proof is in doubt whatever the others say.
            let proven = !proofs.is_empty()
                && proofs
                    .iter()
                    .all(|(_, outcome)| *outcome == Outcome::Passed);
            // What should prove a row and does not hold is wrong whenever it is needed.
            let under_way = rows.is_under_way(row);
            if !proven && !under_way {
                gaps.push(Gap::Unproven {
                    row: row.id.clone(),
                });
            }
            results.push(RowResult {
                id: row.id.clone(),
                title: row.title.clone(),
                proven,
                under_way,
                proofs,
            });
        }
        Coverage {
            rows: results,
            gaps,
        }
    }

    /// How many rows are proven, and how many there are, of those that must be or of those under way.
    pub fn proven(&self, under_way: bool) -> (usize, usize) {
        let rows = || self.rows.iter().filter(|row| row.under_way == under_way);
        (rows().filter(|row| row.proven).count(), rows().count())
    }

    /// Whether every row is proven and nothing else is wrong.
    pub fn is_whole(&self) -> bool {
        self.gaps.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(step: usize) -> ExpectationId {
        ExpectationId {
            scenario: "s".to_owned(),
            step,
            part: "boots".to_owned(),
        }
    }

    fn declared(step: usize, rows: &[&str]) -> Expectation {
        Expectation {
            id: id(step),
            line: step,
            proves: rows.iter().map(|row| RowId((*row).to_owned())).collect(),
        }
    }

    const TABLE: &str = r#"
        family = [
            { prefix = "VC", title = "One family" },
            { prefix = "CD", title = "Another one", under_way = true },
        ]
        row = [
            { id = "VC1", kind = "main", title = "One", required_by = 2 },
            { id = "VC2", kind = "main", title = "Two", required_by = 2 },
            { id = "CD1", kind = "main", title = "Three", required_by = 4 },
        ]
    "#;

    /// The gaps, in words.
    fn check(declared: &[Expectation], ran: &[(usize, Outcome)], wanted: &[&str]) {
        let outcomes = ran
            .iter()
            .map(|(step, outcome)| (id(*step), *outcome))
            .collect();
        let rows = Rows::of_tables(&[TABLE]);
        let coverage = Coverage::compute(&rows, |_| true, declared, &outcomes);
        let found: Vec<String> = coverage
            .gaps
            .iter()
            .map(|gap| match gap {
                Gap::Unproven { row } => format!("unproven {row}"),
                Gap::Failed { row, .. } => format!("failed {row}"),
                Gap::UnknownRow { row, .. } => format!("unknown {row}"),
                Gap::NeverRan { expectation } => format!("never ran {}", expectation.step),
                Gap::Undeclared { expectation } => format!("undeclared {}", expectation.step),
            })
            .collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_row_counts_through_passed_expectations_only() {
        use Outcome::{Failed, Passed};
        let both = [declared(1, &["VC1"]), declared(2, &["VC2"])];
        check(&both, &[(1, Passed), (2, Passed)], &[]);
        check(
            &both,
            &[(1, Passed), (2, Failed)],
            &["failed VC2", "unproven VC2"],
        );
        check(&both, &[(1, Passed)], &["never ran 2", "unproven VC2"]);
        check(&[], &[], &["unproven VC1", "unproven VC2"]);
    }

    #[test]
    fn a_row_under_way_need_not_be_proven_and_may_not_fail() {
        use Outcome::{Failed, Passed};
        let both = [declared(1, &["VC1", "VC2"]), declared(2, &["CD1"])];
        check(&both[..1], &[(1, Passed)], &[]);
        check(&both, &[(1, Passed), (2, Passed)], &[]);
        check(&both, &[(1, Passed), (2, Failed)], &["failed CD1"]);
        check(&both, &[(1, Passed)], &["never ran 2"]);
    }

    #[test]
    fn one_failure_puts_a_row_in_doubt() {
        use Outcome::{Failed, Passed};
        let twice = [declared(1, &["VC1", "VC2"]), declared(2, &["VC1"])];
        check(
            &twice,
            &[(1, Passed), (2, Failed)],
            &["failed VC1", "unproven VC1"],
        );
    }

    #[test]
    fn what_does_not_exist_is_an_error() {
        use Outcome::Passed;
        let odd = [declared(1, &["VC1", "VC2", "VC999"])];
        check(
            &odd,
            &[(1, Passed), (7, Passed)],
            &["unknown VC999", "undeclared 7"],
        );
    }

    #[test]
    fn an_expectation_passed_only_if_it_passed_every_time() {
        let line = |passed| Line {
            scenario: Some("s".to_owned()),
            record: Record::Expectation {
                id: id(1),
                line: 1,
                passed,
                message: String::new(),
                proves: Vec::new(),
            },
        };
        assert_eq!(
            outcomes(&[line(false), line(true)])[&id(1)],
            Outcome::Failed
        );
        assert_eq!(outcomes(&[line(true), line(true)])[&id(1)], Outcome::Passed);
    }
}
