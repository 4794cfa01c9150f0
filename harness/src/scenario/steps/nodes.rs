//! What `expect` asks of nodes.

use super::super::action::BoardState;
use super::super::check::{CONFINEMENTS, NodesWanted};
use super::super::load::Context;
use super::super::socket::nodes_named;
use super::boards::nodes_remedy;
use super::expect::{count, not_empty};
use crate::files::{Reader, Value};

/// Reads `{ all = { state = "operational" }, … }`.
pub(super) fn nodes(table: &Reader<'_>, context: &Context<'_>) -> Option<Vec<NodesWanted>> {
    let table = table.table("nodes")?;
    let mut found = Vec::new();
    for (name, span, value) in table.entries() {
        let word = if name == "all" { "nodes" } else { name };
        match nodes_named(word, context.rig) {
            Some(nodes) => {
                found.extend(wanted(value, context).map(|wanted| NodesWanted {
                    name: name.to_owned(),
                    nodes,
                    ..wanted
                }));
            }
            None => context.findings.at(
                span,
                "here",
                format!("this rig has no node \"{name}\""),
                nodes_remedy(context),
            ),
        }
    }
    not_empty("nodes", &table, found.is_empty());
    Some(found)
}

fn wanted(value: &Value<'_>, context: &Context<'_>) -> Option<NodesWanted> {
    let reader = Reader::of(value, "what nodes should be", context.findings)?;
    let bound = |key| {
        let value = reader.value(key);
        value.and_then(|value| count(key, value, context))
    };
    let text = |key| reader.string(key).map(str::to_owned);
    let wanted = NodesWanted {
        count: bound("count"),
        state: reader.word("state", &BoardState::OF_NODES),
        version: text("version"),
        serial: text("serial"),
        boots: bound("boots"),
        bus: reader.word("bus", &CONFINEMENTS),
        rom_bytes: bound("rom_bytes"),
        ..NodesWanted::default()
    };
    if wanted.count.is_some() && !reader.keys().any(|(key, _)| key != "count") {
        let remedy = "say what they are, e.g. state = \"operational\"";
        reader.complain("count", "this counts nodes whatever they are", remedy);
    }
    not_empty("this", &reader, true);
    reader.finish();
    Some(wanted)
}
