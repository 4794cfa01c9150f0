use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use emulator::engine::qemu::installation::Installation;
use tempfile::NamedTempFile;

use super::{Finding, Missing};

/// How long the probe guest may take; 60 ms is what it needs.
const LIMIT: Duration = Duration::from_secs(10);

/// What QEMU ends with after the probe guest wrote 42 to the exit device: 42 × 2 + 1.
const GUEST_RAN: i32 = 85;

/// The QEMU there is, and whether a guest runs in it, with each of its accelerators. The engine
/// works if there is one, and a guest runs in any way.
pub(super) fn qemu() -> (Vec<Finding>, bool) {
    let installation = match Installation::find() {
        Ok(installation) => installation,
        Err(missing) => {
            let missing = Missing {
                what: missing.what(),
                remedy: missing.remedy(),
            };
            return (vec![Finding::optional("engine qemu", Err(missing))], false);
        }
    };
    let engine = engine(&installation);
    let accelerators = [
        ("qemu tcg", "tcg", "rm -r .setup/qemu; scripts/setup --qemu"),
        ("qemu kvm", "kvm", "see `engine kvm`"),
    ]
    .map(|(name, accelerator, remedy)| {
        let result = probe(&installation, accelerator).map_err(|what| Missing {
            what,
            remedy: remedy.to_owned(),
        });
        Finding::optional(name, result)
    });
    let works = engine.result.is_ok() && accelerators.iter().any(|one| one.result.is_ok());
    let mut findings = vec![engine];
    findings.extend(accelerators);
    (findings, works)
}

fn engine(installation: &Installation) -> Finding {
    let found = format!("{} at {}", installation.version(), installation.origin());
    let result = match installation.fit_for_boards() {
        Ok(()) => Ok(format!("{found}; every device attaches")),
        Err(missing) => Err(Missing {
            what: missing.what(),
            remedy: missing.remedy(),
        }),
    };
    Finding::optional("engine qemu", result)
}

/// Runs a guest whose first and only act is to write to the exit device.
fn probe(installation: &Installation, accelerator: &str) -> Result<String, String> {
    let rom =
        probe_rom().map_err(|error| format!("the ROM of a guest cannot be written: {error}"))?;
    let mut command = installation.command();
    command
        .args(["-M", "microvm,acpi=off", "-m", "16", "-accel", accelerator])
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-bios"])
        .arg(rom.path());
    let begin = Instant::now();
    guest_runs(command, LIMIT)?;
    Ok(format!(
        "a guest ran, in {} ms",
        begin.elapsed().as_millis()
    ))
}

/// 64 KiB, the least QEMU takes, with the reset vector 16 bytes before the end. There it says, in
/// 16 bit code: `mov al, 42; out 0xf4, al; cli; hlt; jmp $`.
fn probe_rom() -> io::Result<NamedTempFile> {
    const CODE: [u8; 8] = [0xb0, 0x2a, 0xe6, 0xf4, 0xfa, 0xf4, 0xeb, 0xfe];
    let mut rom = vec![0; 0xfff0];
    rom.extend(CODE);
    rom.resize(0x1_0000, 0);
    let mut file = NamedTempFile::new()?;
    file.write_all(&rom)?;
    Ok(file)
}

fn guest_runs(mut command: Command, limit: Duration) -> Result<(), String> {
    let mut qemu = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("it does not start: {error}"))?;
    // Its errors end when it does, which is waited for with a limit.
    let (tell, told) = mpsc::channel();
    if let Some(mut errors) = qemu.stderr.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = errors.read_to_end(&mut bytes);
            // Nobody listens any more if that took too long.
            let _ = tell.send(read.map(|_| bytes));
        });
    }
    let errors = told.recv_timeout(limit);
    if errors.is_err() {
        qemu.kill()
            .map_err(|error| format!("it hangs, and cannot be ended: {error}"))?;
    }
    let status = qemu
        .wait()
        .map_err(|error| format!("it cannot be waited for: {error}"))?;
    match errors {
        Err(_) => Err(format!(
            "a guest that should end at once did not in {} s",
            limit.as_secs()
        )),
        Ok(_) if status.code() == Some(GUEST_RAN) => Ok(()),
        Ok(errors) => {
            let errors = errors.unwrap_or_default();
            let errors = String::from_utf8_lossy(&errors);
            let last = errors.lines().last().unwrap_or("it gave no reason");
            Err(format!("no guest runs, {status}: {last}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Result<(), String> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        guest_runs(command, limit)
    }

    #[test]
    fn only_the_word_of_the_guest_counts() {
        assert_eq!(shell("exit 85", LIMIT), Ok(()));
        for (script, why) in [
            ("exit 0", "no guest runs, exit status: 0: it gave no reason"),
            (
                "echo warning >&2; echo no kvm >&2; exit 1",
                "exit status: 1: no kvm",
            ),
            ("kill -ABRT $$", "signal: 6"),
        ] {
            let error = shell(script, LIMIT).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_guest_that_hangs_is_ended() {
        let error = shell("exec tail -f /dev/null", Duration::from_millis(50)).unwrap_err();
        assert!(error.contains("did not in"), "{error}");
    }
}
