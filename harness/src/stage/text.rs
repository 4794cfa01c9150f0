use std::fmt::Write as _;

use devices::event::DeviceEvent;
use emulator::array::EventKind;

/// An event as a line of a timeline; `None` for what is only counted.
pub fn describe(kind: &EventKind) -> Option<String> {
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = match kind {
        EventKind::Device(event) => return describe_device(event),
        EventKind::PoweredOn => write!(line, "powered-on"),
        EventKind::PoweredOff => write!(line, "powered-off"),
        EventKind::PowerLost { during: None, .. } => write!(line, "power-cut"),
        EventKind::PowerLost {
            during: Some(operation),
            shape,
        } => {
            let shape = format!("{shape:?}").to_lowercase();
            write!(line, "power-cut during={} left={shape}", operation.as_str())
        }
        EventKind::CutFired { .. } => return None,
        EventKind::Booted { reason, boots } => {
            write!(
                line,
                "reset cause={} boots={boots}",
                kebab(&format!("{reason:?}"))
            )
        }
        EventKind::Crashed(report) => write!(line, "crashed cause={:?}", report.cause),
        EventKind::Hung(report) => write!(line, "hung cause={:?}", report.cause),
        EventKind::Halted => write!(line, "halted"),
        EventKind::LastWords(words) => write!(line, "last-words {words:?}"),
        EventKind::Held => write!(line, "held"),
        EventKind::Fenced => write!(line, "fenced"),
        EventKind::Inserted { serial } => write!(line, "inserted serial={serial}"),
        EventKind::Pulled { serial } => write!(line, "pulled serial={serial}"),
    };
    Some(line)
}

fn describe_device(event: &DeviceEvent) -> Option<String> {
    Some(match event {
        DeviceEvent::OperationBegan(_) => return None,
        DeviceEvent::Trace(text) | DeviceEvent::Notice(text) => text.clone(),
        DeviceEvent::ConsoleLine(line) => format!("| {line}"),
        DeviceEvent::DriverFault { queue, what } => {
            format!("driver-fault queue={queue} what={what:?}")
        }
        DeviceEvent::MediumFault(what) => format!("medium-fault {what}"),
    })
}

/// `PowerOn` as `power-on`.
fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_ascii_uppercase() && index > 0 {
            out.push('-');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}
