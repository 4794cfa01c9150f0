use std::collections::BTreeMap;

use emulator::rig::{BankLetter, Slot};
use toml::de::DeValue;

use super::super::action::{Action, BoardState, Role, ShelfState};
use super::super::check::{
    Again, BankState, Bound, Check, Counter, HostFigure, Lun, Preferred, RomState,
};
use super::super::contents::bank_name;
use super::super::load::Context;
use super::super::pattern::EventPattern;
use super::Verb;
use super::boards::{known, slots_remedy};
use super::dialogue::pattern;
use super::nodes::nodes;
use crate::files::{Reader, Value, string_of, word_of};

pub(super) const EXPECT: Verb = Verb {
    key: "expect",
    help: "asks what happened and what is: boots, state, role, version, banks, rom, serial, preferred, \
           owner, outage, host, counters, shelf, nodes (state, version, serial, boots, bus, rom_bytes, of each or of as many as \
           `count` says: { \"drive-*\" = { state = \"operational\", count = \">9\" } }), can_frames, again (what `said` before the note, `says` must say after it), events, \
           never, event_count",
    example: "{ expect = { boots = { A = 2 }, outage = { lun0 = \"<2s\" } }, since = \"upgrade begins\", proves = [\"VC73\"] }",
    read: read_expect,
};

const PATTERNS_MAX: usize = 200;

fn read_expect(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let since = reader.string("since");
    if let Some(note) =
        since.filter(|note| !context.notes.borrow().iter().any(|known| known == note))
    {
        reader.complain(
            "since",
            format!("no earlier step notes \"{note}\""),
            format!("add {{ note = \"{note}\" }} where counting should begin"),
        );
    }
    let table = reader.table("expect")?;
    if table.has("again") && since.is_none() {
        reader.complain(
            "expect",
            "`again` compares what was said before a note with what is said after it",
            "add since = \"…\" with the note between them",
        );
    }
    let checks = read_checks(&table, context);
    let empty = table.keys().next().is_none();
    table.finish();
    if empty {
        reader.complain(
            "expect",
            "this asks nothing",
            "say what should be, e.g. boots = { A = 1 }",
        );
        return None;
    }
    Some(Action::Expect {
        since: since.map(str::to_owned),
        checks,
    })
}

fn read_checks(table: &Reader<'_>, context: &Context<'_>) -> Vec<Check> {
    let checks = [
        by_slot(table, "boots", context, count).map(Check::Boots),
        by_slot(table, "state", context, |key, value, context| {
            word(key, value, context, &BoardState::ALL)
        })
        .map(Check::State),
        by_slot(table, "role", context, |key, value, context| {
            word(key, value, context, &Role::ALL)
        })
        .map(Check::Role),
        by_slot(table, "version", context, text).map(Check::Version),
        by_slot(table, "banks", context, banks).map(Check::Banks),
        by_slot(table, "rom", context, |key, value, context| {
            word(key, value, context, &RomState::ALL)
        })
        .map(Check::Rom),
        by_slot(table, "serial", context, text).map(Check::Serial),
        preferred(table, context).map(Check::Preferred),
        by_lun(table, "owner", context, owner).map(Check::Owner),
        by_lun(table, "outage", context, outage).map(Check::Outage),
        by_word(table, "host", &HostFigure::ALL, context).map(Check::Host),
        by_slot(table, "counters", context, |_, value, context| {
            let table = Reader::of(value, "the counters of a board", context.findings)?;
            words_of(table, &Counter::ALL, context)
        })
        .map(Check::Counters),
        table.word("shelf", &ShelfState::ALL).map(Check::Shelf),
        nodes(table, context).map(Check::Nodes),
        table
            .value("can_frames")
            .and_then(|value| count("can_frames", value, context))
            .map(Check::CanFrames),
        by_slot(table, "again", context, again).map(Check::Again),
        patterns(table, "events", context).map(Check::Events),
        patterns(table, "never", context).map(Check::Never),
        event_counts(table, context).map(Check::EventCount),
    ];
    checks.into_iter().flatten().collect()
}

/// Reads `{ A = …, B = … }`.
fn by_slot<T>(
    table: &Reader<'_>,
    key: &'static str,
    context: &Context<'_>,
    read: impl Fn(&str, &Value<'_>, &Context<'_>) -> Option<T>,
) -> Option<BTreeMap<Slot, T>> {
    let table = table.table(key)?;
    let mut found = BTreeMap::new();
    for (name, span, value) in table.entries() {
        match known(name, context) {
            Some(slot) => {
                if let Some(wanted) = read(key, value, context) {
                    found.insert(slot, wanted);
                }
            }
            None => context.findings.at(
                span,
                "here",
                format!("this rig has no slot \"{name}\""),
                slots_remedy(context),
            ),
        }
    }
    not_empty(key, &table, found.is_empty());
    Some(found)
}

/// Reads `{ lun0 = … }`.
fn by_lun<T>(
    table: &Reader<'_>,
    key: &'static str,
    context: &Context<'_>,
    read: impl Fn(&Value<'_>, &Context<'_>) -> Option<T>,
) -> Option<BTreeMap<Lun, T>> {
    let table = table.table(key)?;
    let mut found = BTreeMap::new();
    for (name, span, value) in table.entries() {
        if name == "lun0" {
            if let Some(wanted) = read(value, context) {
                found.insert(Lun(0), wanted);
            }
        } else {
            let remedy = "the array has one volume: lun0";
            context
                .findings
                .at(span, "here", format!("there is no \"{name}\""), remedy);
        }
    }
    not_empty(key, &table, found.is_empty());
    Some(found)
}

pub(super) fn not_empty(key: &str, table: &Reader<'_>, empty: bool) {
    if empty && table.keys().next().is_none() {
        let remedy = "say what should be, or remove it";
        table.findings().at(
            table.span(),
            "here",
            format!("`{key}` asks nothing"),
            remedy,
        );
    }
}

fn by_word<T: Copy + Ord>(
    table: &Reader<'_>,
    key: &'static str,
    words: &[(&'static str, T)],
    context: &Context<'_>,
) -> Option<BTreeMap<T, Bound>> {
    words_of(table.table(key)?, words, context)
}

fn words_of<T: Copy + Ord>(
    table: Reader<'_>,
    words: &[(&'static str, T)],
    context: &Context<'_>,
) -> Option<BTreeMap<T, Bound>> {
    let mut found = BTreeMap::new();
    for (word, meaning) in words {
        if let Some(bound) = table
            .value(word)
            .and_then(|value| count(word, value, context))
        {
            found.insert(*meaning, bound);
        }
    }
    not_empty("this", &table, found.is_empty());
    table.finish();
    Some(found)
}

/// A bound on a count: `3` or `"<=3"`.
pub(super) fn count(key: &str, value: &Value<'_>, context: &Context<'_>) -> Option<Bound> {
    let bound = match value.get_ref() {
        DeValue::String(text) => Bound::of_count(text),
        DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(Bound::exactly),
        _ => None,
    };
    checked(bound, key, value, context, "write 3, \">0\" or \"<=200\"")
}

fn outage(value: &Value<'_>, context: &Context<'_>) -> Option<Bound> {
    let text = string_of(value, "outage", context.findings)?;
    checked(
        Bound::of_span(text),
        "outage",
        value,
        context,
        "write \"0s\", \"<2s\" or \">0s\"",
    )
}

fn checked(
    bound: Option<Bound>,
    key: &str,
    value: &Value<'_>,
    context: &Context<'_>,
    remedy: &str,
) -> Option<Bound> {
    let complain = |what: String, remedy: &str| {
        context.findings.at(value.span(), "here", what, remedy);
    };
    match bound {
        None => complain(format!("`{key}` is a bound"), remedy),
        Some(bound) if !bound.can_fail() => {
            complain(
                "every number is at least 0, so this asks nothing".to_owned(),
                remedy,
            );
        }
        _ => {}
    }
    bound
}

fn text(key: &str, value: &Value<'_>, context: &Context<'_>) -> Option<String> {
    string_of(value, key, context.findings).map(str::to_owned)
}

fn word<T: Copy>(
    key: &str,
    value: &Value<'_>,
    context: &Context<'_>,
    words: &[(&'static str, T)],
) -> Option<T> {
    let text = string_of(value, key, context.findings)?;
    word_of(text, value.span(), key, words, context.findings)
}

fn banks(
    _: &str,
    value: &Value<'_>,
    context: &Context<'_>,
) -> Option<BTreeMap<(u8, BankLetter), BankState>> {
    let table = Reader::of(value, "the banks of a board", context.findings)?;
    let mut found = BTreeMap::new();
    for (name, _, value) in table.entries() {
        let bank = bank_name(name, value, context.findings)?;
        let state = match string_of(value, name, context.findings)? {
            "invalid" => BankState::Invalid,
            "empty" => BankState::Empty,
            version => BankState::Version(version.to_owned()),
        };
        found.insert(bank, state);
    }
    not_empty("banks", &table, found.is_empty());
    Some(found)
}

fn again(_: &str, value: &Value<'_>, context: &Context<'_>) -> Option<Again> {
    let table = Reader::of(value, "`again` of a board", context.findings)?;
    let remedy = "say both first words: { said = \"stored\", says = \"found\" }";
    let word = |key| {
        let word = table.required(key, 32, remedy)?;
        if word.is_empty() || word.contains(char::is_whitespace) {
            table.complain(key, "lines are told by their first word", remedy);
        }
        Some(word.to_owned())
    };
    let (said, says) = (word("said"), word("says"));
    table.finish();
    Some(Again {
        said: said?,
        says: says?,
    })
}

fn owner(value: &Value<'_>, context: &Context<'_>) -> Option<Option<Slot>> {
    let text = string_of(value, "owner", context.findings)?;
    if text == "none" {
        return Some(None);
    }
    let slot = known(text, context);
    if slot.is_none() {
        let remedy = format!("{}; or \"none\"", slots_remedy(context));
        let what = format!("this rig has no slot \"{text}\"");
        context.findings.at(value.span(), "here", what, remedy);
    }
    slot.map(Some)
}

fn preferred(table: &Reader<'_>, context: &Context<'_>) -> Option<Preferred> {
    let value = table.value("preferred")?;
    if let DeValue::String(text) = value.get_ref() {
        return Some(match text.as_ref() {
            "absent" => Preferred::Absent,
            "invalid" => Preferred::Invalid,
            version => Preferred::Versions {
                l2: version.to_owned(),
                l3: version.to_owned(),
            },
        });
    }
    let table = Reader::of(value, "`preferred`", context.findings)?;
    let remedy = "say both: preferred = { l2 = \"1.0\", l3 = \"2.0\" }";
    let (l2, l3) = (
        table.required("l2", 32, remedy),
        table.required("l3", 32, remedy),
    );
    table.finish();
    Some(Preferred::Versions {
        l2: l2?.to_owned(),
        l3: l3?.to_owned(),
    })
}

fn patterns(
    table: &Reader<'_>,
    key: &'static str,
    context: &Context<'_>,
) -> Option<Vec<EventPattern>> {
    if !table.has(key) {
        return None;
    }
    let texts = table.strings(key);
    if texts.is_empty() || texts.len() > PATTERNS_MAX {
        table.complain(
            key,
            format!("`{key}` names 1 to {PATTERNS_MAX} events"),
            "say at least one",
        );
    }
    let found = texts
        .into_iter()
        .filter_map(|(text, span)| pattern(text, span, context));
    Some(found.collect())
}

fn event_counts(table: &Reader<'_>, context: &Context<'_>) -> Option<Vec<(EventPattern, Bound)>> {
    let table = table.table("event_count")?;
    let mut found = Vec::new();
    for (name, span, value) in table.entries() {
        let event = pattern(name, span, context);
        let bound = count(name, value, context);
        found.extend(event.zip(bound));
    }
    not_empty("event_count", &table, found.is_empty());
    Some(found)
}
