//! What an operator is told about nodes.

use distribution::master::Known;
use distribution::{Edition, Module, Timing};

use super::command::state;
use super::master::CanMaster;
use super::settings::OFFERS;
use crate::hardware::Hardware;

const MS: u64 = 1_000_000;

impl CanMaster {
    /// How nodes are served.
    pub(super) fn show(&self, hardware: &Hardware) {
        let role = if self.master.is_active() {
            "active"
        } else {
            "standby"
        };
        let epoch = self.master.epoch();
        hardware.say(format_args!("distribution {role} epoch {epoch}"));
        self.show_settings(hardware);
        for (edition, word) in [(Edition::Base, "base"), (Edition::Update, "update")] {
            match self.images.version(edition) {
                Some(version) => hardware.say(format_args!("{word} images {version}")),
                None => hardware.say(format_args!("{word} images none")),
            }
        }
        match self.master.turn() {
            0 => {}
            turn => hardware.say(format_args!("sets below {turn} are served the update")),
        }
    }

    /// How long it waits, and what it broadcasts.
    pub(super) fn show_settings(&self, hardware: &Hardware) {
        let wait = self.settings.wait;
        let (period_ms, cap_ms) = (wait.period_ns / MS, wait.cap_ns / MS);
        match wait.timing {
            Timing::FromFirst => {
                hardware.say(format_args!("wait {period_ms} ms from the first request"));
            }
            Timing::FromLatest => hardware.say(format_args!(
                "wait {period_ms} ms from the latest request, at most {cap_ms} ms"
            )),
            Timing::Shrinking { by_ns } => hardware.say(format_args!(
                "wait {period_ms} ms, {} ms less with each request, at most {cap_ms} ms",
                by_ns / MS
            )),
            Timing::Halving => hardware.say(format_args!(
                "wait {period_ms} ms, half of it with each request, at most {cap_ms} ms"
            )),
        }
        let offer = OFFERS
            .iter()
            .find(|(_, offer)| *offer == self.settings.offer);
        hardware.say(format_args!("offer {}", offer.map_or("", |(word, _)| word)));
    }

    /// How many nodes of a kind and set are how far.
    pub(super) fn list(&self, hardware: &Hardware) {
        let same = |a: &Known, b: &Known| Known { node: a.node, ..*b } == *a;
        for first in self.master.nodes() {
            let mut alike = self.master.nodes().filter(|other| same(&first, other));
            if alike.next().map(|other| other.node) == Some(first.node) {
                let count = alike.count() + 1;
                line(hardware, format_args!("{count} x"), &first);
            }
        }
    }

    /// Every node.
    pub(super) fn list_all(&self, hardware: &Hardware) {
        for known in self.master.nodes() {
            line(hardware, format_args!("node {}", known.node), &known);
        }
    }
}

fn line(hardware: &Hardware, head: core::fmt::Arguments<'_>, known: &Known) {
    let module = known.module.map_or("unknown", Module::as_str);
    let (set, state) = (known.set, state(known.state));
    match known.version {
        Some(version) => hardware.say(format_args!("{head} {module} set {set} {state} {version}")),
        None => hardware.say(format_args!("{head} {module} set {set} {state}")),
    }
}
