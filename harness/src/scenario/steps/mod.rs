//! The verbs. A step is a table with exactly one verb key; the verb says which other keys it knows.

mod boards;
mod can;
mod dialogue;
mod expect;
mod media;
mod nodes;
mod power;

use toml::de::DeValue;

use super::action::Action;
use super::load::{Context, read_rows};
use super::{Scenario, Step};
use crate::files::{Reader, Value, nearest};

/// One verb of the language.
#[derive(Clone, Copy, Debug)]
pub struct Verb {
    /// The key that makes a table a step of this kind.
    pub key: &'static str,
    /// What it does, in one line.
    pub help: &'static str,
    /// A step as one would write it.
    pub example: &'static str,
    read: fn(&Reader<'_>, &Context<'_>) -> Option<Action>,
}

/// Every verb, in the order of the manual.
pub const VERBS: &[Verb] = &[
    power::POWER,
    power::CUT,
    power::AWAIT_CUTS,
    power::RESET,
    boards::PULL,
    boards::INSERT,
    boards::SWAP,
    media::MEDIA,
    dialogue::CONSOLE,
    dialogue::AWAIT,
    dialogue::AWAIT_EVENT,
    dialogue::AWAIT_TEXT,
    dialogue::WAIT,
    dialogue::HOST,
    expect::EXPECT,
    media::DISK,
    media::FLASH_FAULT,
    media::BOARD_FAULT,
    media::LINK,
    can::CAN_FAULT,
    dialogue::CHECKPOINT,
    dialogue::RESTORE,
    dialogue::NOTE,
];

/// A file within the size limit could hold this many and more; a story does not.
const STEPS_MAX: usize = 2_000;

pub(super) fn read_steps(top: &Reader<'_>, context: &Context<'_>) -> Vec<Step> {
    let items = match top.has("steps") {
        true => match top.array("steps") {
            Some(items) => items,
            None => return Vec::new(),
        },
        false => Vec::new(),
    };
    if items.len() > STEPS_MAX {
        top.complain(
            "steps",
            format!("a scenario has at most {STEPS_MAX} steps"),
            "split it; one story per file",
        );
        return Vec::new();
    }
    let steps: Vec<Step> = items
        .iter()
        .filter_map(|item| read_step(item, context))
        .collect();
    // With a step that could not be read it is not yet known what the scenario asserts.
    if steps.len() == items.len() && !steps.iter().any(|step| !step.parts().is_empty()) {
        top.complain(
            "steps",
            "this scenario asserts nothing: no step in it can fail",
            "add a step such as { expect = { state = { A = \"operational\" } } }",
        );
    }
    steps
}

fn read_step(value: &Value<'_>, context: &Context<'_>) -> Option<Step> {
    let findings = context.findings;
    let DeValue::Table(table) = value.get_ref() else {
        findings.at(
            value.span(),
            "here",
            "a step is a table",
            "write e.g. { power = \"on\" }",
        );
        return None;
    };
    let verb = verb_of(value, context)?;
    let reader = Reader::new(
        table,
        value.span(),
        format!("a `{}` step", verb.key),
        findings,
    );
    let action = (verb.read)(&reader, context);
    let proves = read_rows(&reader, "proves", context);
    let proves_span = reader.span_of("proves");
    reader.finish();
    let step = Step {
        line: context.file.line(value.span().start),
        verb: verb.key,
        text: context.file.one_line(value.span()),
        action: action?,
        proves: proves.into_iter().map(|(row, _)| row).collect(),
    };
    if !step.proves.is_empty() && step.parts().is_empty() {
        findings.at(
            proves_span,
            "here",
            format!("this `{}` step cannot fail, so it proves nothing", verb.key),
            "move `proves` to an expectation, or give this step one",
        );
    }
    Some(step)
}

/// The one verb of a step, noting where there is none or more than one.
fn verb_of(value: &Value<'_>, context: &Context<'_>) -> Option<&'static Verb> {
    let reader = Reader::of(value, "a step", context.findings)?;
    let keys: Vec<&str> = reader.keys().map(|(key, _)| key).collect();
    // `expect` is a verb of its own and what a console should answer.
    let is_verb = |verb: &&Verb| {
        keys.contains(&verb.key) && (verb.key != "expect" || !keys.contains(&"console"))
    };
    let mut verbs = VERBS.iter().filter(is_verb);
    match (verbs.next(), verbs.next()) {
        (Some(verb), None) => Some(verb),
        (Some(first), Some(second)) => {
            context.findings.at(
                value.span(),
                "here",
                format!(
                    "a step does one thing; this one has `{}` and `{}`",
                    first.key, second.key
                ),
                "make it two steps",
            );
            None
        }
        (None, _) => {
            let known = || VERBS.iter().map(|verb| verb.key);
            let remedy = match keys.iter().find_map(|key| nearest(key, known())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the verbs are: {}", known().collect::<Vec<_>>().join(", ")),
            };
            context
                .findings
                .at(value.span(), "here", "this step has no verb", remedy);
            None
        }
    }
}

impl Scenario {
    /// The verbs as `--help` shows them.
    pub fn verbs_help() -> String {
        let mut out = String::new();
        for verb in VERBS {
            out.push_str(&format!(
                "  {:<12} {}\n{:15}{}\n",
                verb.key, verb.help, "", verb.example
            ));
        }
        out
    }
}
