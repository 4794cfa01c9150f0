use std::fs;
use std::io;
use std::thread;
use std::time::Instant;

use clap::Args;
use kvm_ioctls::Kvm;

use super::exit::{CliError, Exit};
use super::output::print;
use crate::files::{built_in_rig_names, load_rig};
use crate::runner::Engine;

/// QEMU, and whether a guest runs in it.
mod qemu;

/// Say what this machine can do, and what mends what it cannot.
///
/// Changes nothing. Exits with 0 if scenarios can be played here, with any engine, and with 4 if not.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {}

const EXAMPLES: &str = "\
Examples:
  arraybench doctor
  arraybench doctor && arraybench run --all";

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    /// What was found, or what is missing and the command that mends it.
    result: Result<String, Missing>,
    /// Nothing can be played without it.
    needed: bool,
}

impl Finding {
    fn needed(name: &'static str, result: Result<String, Missing>) -> Finding {
        Finding {
            name,
            result,
            needed: true,
        }
    }

    fn optional(name: &'static str, result: Result<String, Missing>) -> Finding {
        Finding {
            name,
            result,
            needed: false,
        }
    }

    fn bars(&self) -> bool {
        self.needed && self.result.is_err()
    }
}

struct Missing {
    what: String,
    remedy: String,
}

impl Doctor {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let (qemu, qemu_works) = qemu::qemu();
        // One engine is enough.
        let kvm = Finding {
            needed: !qemu_works,
            ..kvm()
        };
        let rest = [processors(), memory(), build(), rigs(), player()];
        let findings: Vec<Finding> = [kvm].into_iter().chain(qemu).chain(rest).collect();
        print(&render(&findings))?;
        let bars = findings.iter().any(Finding::bars);
        Ok(if bars { Exit::Broken } else { Exit::Good })
    }
}

fn render(findings: &[Finding]) -> String {
    let mut out = String::new();
    for Finding {
        name,
        result,
        needed,
    } in findings
    {
        match result {
            Ok(found) => out.push_str(&format!("ok       {name:<11} {found}\n")),
            Err(missing) => {
                let (word, remedy) = match needed {
                    true => ("MISSING", "mend it with"),
                    false => ("without", "to have it"),
                };
                out.push_str(&format!("{word}  {name:<11} {}\n", missing.what));
                out.push_str(&format!("{:21}{remedy}: {}\n", "", missing.remedy));
            }
        }
    }
    out
}

/// Opens /dev/kvm and makes a VM, which is more than looking whether the file is there.
fn kvm() -> Finding {
    let check = || {
        let kvm = Kvm::new().map_err(|error| kvm_missing(&io::Error::from(error)))?;
        let begin = Instant::now();
        kvm.create_vm().map_err(|error| Missing {
            what: format!("/dev/kvm opens, but makes no VM: {error}"),
            remedy: "free memory, or stop other VMs; see `dmesg | grep -i kvm`".to_owned(),
        })?;
        Ok(format!(
            "/dev/kvm version {}, a VM made in {} µs",
            kvm.get_api_version(),
            begin.elapsed().as_micros()
        ))
    };
    Finding::needed("engine kvm", check())
}

fn kvm_missing(error: &io::Error) -> Missing {
    let remedy = match error.kind() {
        io::ErrorKind::NotFound => {
            "sudo modprobe kvm_intel || sudo modprobe kvm_amd (in a VM: turn nested virtualisation on)"
        }
        io::ErrorKind::PermissionDenied => "sudo usermod -aG kvm $USER, then log in again",
        _ => "see `dmesg | grep -i kvm`",
    };
    Missing {
        what: format!("/dev/kvm cannot be opened: {error}"),
        remedy: remedy.to_owned(),
    }
}

fn processors() -> Finding {
    let count = thread::available_parallelism().map_or(1, usize::from);
    let model = fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|text| field(&text, "model name"))
        .unwrap_or_else(|| "unknown model".to_owned());
    Finding::needed("CPUs", Ok(format!("{count} × {model}")))
}

/// Memory for one job: RAM of three boards and what they write to flash and disks.
const NEEDED_MIB: u64 = 256;

fn memory() -> Finding {
    let available = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| field(&text, "MemAvailable"))
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    let result = match available.map(|kib| kib >> 10) {
        Some(mib) if mib >= NEEDED_MIB => Ok(format!("{mib} MiB available")),
        Some(mib) => Err(Missing {
            what: format!("{mib} MiB available, {NEEDED_MIB} MiB needed"),
            remedy: "close something, or run with --jobs 1".to_owned(),
        }),
        None => Ok("unknown".to_owned()),
    };
    Finding::needed("memory", result)
}

/// The value of `name` in text of `name : value` lines.
fn field(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn build() -> Finding {
    let profile = if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    };
    let found = format!(
        "arraybench {} {profile} for {} {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::ARCH,
        std::env::consts::OS
    );
    Finding::needed("build", Ok(found))
}

fn rigs() -> Finding {
    let names: Vec<&str> = built_in_rig_names().collect();
    let bad = names
        .iter()
        .find_map(|name| load_rig(name, "".as_ref()).err());
    let result = match bad {
        None => Ok(names.join(", ")),
        Some(error) => Err(Missing {
            what: error.to_string(),
            remedy: "build arraybench anew: cargo build --release".to_owned(),
        }),
    };
    Finding::needed("rigs", result)
}

fn player() -> Finding {
    let result = match Engine::default().choose() {
        Ok(engine) => Ok(format!("ready to play on {engine}")),
        Err(error) => Err(Missing {
            what: error.chain(),
            remedy: "scripts/setup --qemu".to_owned(),
        }),
    };
    Finding::needed("bench", result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_comes_with_its_remedy() {
        let findings = [
            Finding::needed("CPUs", Ok("2 × a model".to_owned())),
            Finding::needed(
                "engine kvm",
                Err(kvm_missing(&io::ErrorKind::PermissionDenied.into())),
            ),
            Finding::optional(
                "engine qemu",
                Err(Missing {
                    what: "no QEMU".to_owned(),
                    remedy: "scripts/setup --qemu".to_owned(),
                }),
            ),
        ];
        insta::assert_snapshot!(render(&findings));
        assert!(findings[1].bars());
        assert!(!findings[2].bars());
    }

    #[test]
    fn fields_are_found() {
        let text = "processor\t: 0\nmodel name\t: A: B\n";
        assert_eq!(field(text, "model name"), Some("A: B".to_owned()));
        assert_eq!(field(text, "bogomips"), None);
    }
}
