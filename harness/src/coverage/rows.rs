use std::fmt;

use serde::{Deserialize, Serialize};

use crate::files::nearest;

/// The id of an acceptance row, such as `VC47`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowId(pub String);

impl fmt::Display for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where a row comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Main embodiment.
    Main,
    /// Alternative or optional embodiment.
    Alternative,
    /// Claim wording.
    Claim,
    /// A baseline to measure against.
    PriorArt,
    /// Ours: it follows from the others.
    Derived,
}

/// One acceptance row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its id.
    pub id: RowId,
    /// Where it comes from.
    pub kind: Kind,
    /// What must be seen.
    pub title: String,
    /// The issue whose landing must prove it.
    pub required_by: u32,
}

/// A family of rows, by the letters their ids begin with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    /// `VC` …
    pub prefix: String,
    /// What the family is about.
    pub title: String,
    /// It is being worked on: its rows are shown, and one that nothing proves yet is no error.
    #[serde(default)]
    pub under_way: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    family: Vec<Family>,
    row: Vec<Row>,
}

/// The tables, one file per landing; their order is that of the report.
const TABLES: [&str; 2] = [include_str!("rows.toml"), include_str!("rows-can.toml")];

/// All acceptance rows.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    families: Vec<Family>,
    rows: Vec<Row>,
}

impl Rows {
    /// The rows of the project. The tables are part of the program and checked by its tests.
    pub fn of_the_project() -> Rows {
        Rows::of_tables(&TABLES)
    }

    pub(super) fn of_tables(tables: &[&str]) -> Rows {
        let mut all = Rows::default();
        for text in tables {
            if let Ok(table) = toml::from_str::<Table>(text) {
                all.families.extend(table.family);
                all.rows.extend(table.row);
            }
        }
        all
    }

    /// Whether the family of `row` is still being worked on.
    pub fn is_under_way(&self, row: &Row) -> bool {
        self.family(&row.id).is_some_and(|family| family.under_way)
    }

    /// The rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter()
    }

    /// The row with that id.
    pub fn get(&self, id: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.id.0 == id)
    }

    /// The id most likely meant by `id`.
    pub fn nearest(&self, id: &str) -> Option<&str> {
        nearest(id, self.rows.iter().map(|row| row.id.0.as_str()))
    }

    /// The title of the family that `id` belongs to.
    pub fn family(&self, id: &RowId) -> Option<&Family> {
        self.families
            .iter()
            .find(|family| id.0.starts_with(&family.prefix))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_tables_are_whole() {
        for text in TABLES {
            toml::from_str::<Table>(text).unwrap();
        }
        let rows = Rows::of_the_project();
        let ids: BTreeSet<&RowId> = rows.iter().map(|row| &row.id).collect();
        assert_eq!(ids.len(), rows.iter().count(), "an id is there twice");
        let mut wanted: BTreeSet<RowId> = (1..=93).map(|n| RowId(format!("VC{n}"))).collect();
        wanted.insert(RowId("VC12a".to_owned()));
        wanted.extend((1..=63).map(|n| RowId(format!("CD{n}"))));
        assert_eq!(ids, wanted.iter().collect());
        for row in rows.iter() {
            let family = rows.family(&row.id).unwrap().prefix.as_str();
            let issue = if family == "VC" { 2 } else { 4 };
            assert_eq!(row.required_by, issue, "{}", row.id);
            assert!(
                row.title.len() > 20 && !row.title.ends_with('.'),
                "{}",
                row.id
            );
        }
    }
}
