//! The command from outside: what it answers and its exit codes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Exit code, output, error output.
fn arraybench(words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_arraybench"))
        .args(words)
        // The project's own scenarios are found from its root.
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap();
    (code, text(output.stdout), text(output.stderr))
}

fn check(words: &[&str], code: i32, said: &str) {
    let (found, out, error) = arraybench(words);
    let both = format!("{out}{error}");
    assert_eq!(found, code, "{words:?}:\n{both}");
    assert!(
        both.contains(said),
        "{words:?} does not say `{said}`:\n{both}"
    );
    assert!(!both.contains("panicked"), "{words:?}:\n{both}");
}

#[test]
fn zero_everything_held() {
    check(&["--help"], 0, "First steps");
    check(&["--version"], 0, "arraybench");
    check(&["doctor"], 0, "ready to play");
    check(&["doctor"], 0, "engine qemu");
    check(&["run", "--list"], 0, "live-upgrade");
    check(&["boot", "--list"], 0, "partner-pair");
    check(&["run", "--all", "--check"], 0, "nothing wrong");
    check(&["run", "single-normal-boot"], 0, "1 passed");
    check(&["boot", "single"], 0, "operational");
    // Nothing shows that the two boards of a pair run on different engines.
    let mixed = "kvm,B=qemu";
    check(&["run", "live-upgrade", "--engine", mixed], 0, "1 passed");
    check(&["completions", "fish"], 0, "stop-on-failure");
    for shell in ["bash", "zsh"] {
        // Names are offered too.
        check(&["completions", shell], 0, "live-upgrade");
        check(&["completions", shell], 0, "same-chip-pair");
    }
}

/// Whatever this machine has, it has no such interface.
#[test]
fn a_bridge_is_refused_with_its_remedy() {
    let bridge = ["--can-bridge", "no-such-can"];
    let check = |words: &[&str], code, said| check(&[words, &bridge].concat(), code, said);
    check(&["run", "single-normal-boot"], 2, "arraybench boot RIG");
    check(&["boot", "single"], 2, "no CAN bus");
    check(&["boot", "nodes-alone"], 4, "modprobe");
    check(&["device", "can", "--socket", "s"], 4, "modprobe");
    let words = ["device", "can", "--socket", "s", "--data-bit-rate", "1000"];
    check(&words, 2, "below --bit-rate");
}

#[test]
fn one_something_did_not_hold() {
    let folder = tempfile::tempdir().unwrap();
    let story = folder.path().join("story.toml");
    fs::create_dir(folder.path().join("golden")).unwrap();
    let text = |boots: u32| {
        format!(
            "name = \"x\"\nrig = \"single\"\nfirmware = {{ A = \"1.0\", array = \"1.0\" }}\nsteps = [\n  \
             {{ power = \"on\" }},\n  {{ await = \"operational\", board = \"A\", within = \"9s\" }},\n  \
             {{ expect = {{ boots = {{ A = {boots} }} }} }},\n]\n"
        )
    };
    let path = story.to_str().unwrap();
    fs::write(&story, text(2)).unwrap();
    check(&["run", path], 1, "boots of A: 1, expected 2");
    check(&["run", path], 1, "repeat with: arraybench run");
    // Nothing is sealed that did not hold.
    check(&["run", path, "--bless"], 1, "boots");
    fs::write(&story, text(1)).unwrap();
    check(&["run", path], 1, "there is no golden yet");
    check(&["run", path, "--bless"], 0, "blessed");
    check(&["run", path], 0, "1 passed");
    let cut = "A.flash0:program:40:torn";
    check(&["sweep", path, "--case", cut], 1, "never fired");
    check(&["coverage", path], 1, "rows proven");
}

#[test]
fn two_the_command_line_is_wrong() {
    check(&[], 2, "Usage: arraybench <COMMAND>");
    check(&["rum"], 2, "run");
    check(&["run"], 2, "--list");
    check(&["run", "--al"], 2, "--all");
    check(&["run", "golden"], 2, "no scenario file (*.toml)");
    check(&["run", "live-upgrade", "--jobs", "0"], 2, "--jobs");
    check(
        &["run", "live-upgrade", "--seed", "1", "--bless"],
        2,
        "--bless",
    );
    check(&["boot"], 2, "<RIG>");
    check(&["boot", "single", "--seed", "x"], 2, "--seed");
    check(&["sweep"], 2, "<SCENARIO>");
    check(&["sweep", "harness/scenarios"], 2, "one scenario");
    check(&["sweep", "linux-board-cut"], 2, "real time does not");
    check(
        &["sweep", "live-upgrade", "--case", "x"],
        2,
        "e.g. A.flash0",
    );
    check(&["sweep", "live-upgrade", "--budget", "3"], 2, "a unit");
    check(&["sweep", "live-upgrade", "--shard", "9/8"], 2, "K/N");
    check(&["image"], 2, "verify");
    check(&["completions", "tcsh"], 2, "bash");
    check(&["doctor", "x"], 2, "unexpected argument");
    let engine = |engines, said| check(&["boot", "single", "--engine", engines], 2, said);
    engine("xen", "engines are auto, kvm, qemu, qemu-kvm");
    engine("kvm,B=xen", "engines are");
    engine("D=kvm", "slots are A, B and C");
    engine("kvm,qemu", "say it once");
    engine("B=kvm,B=qemu", "the engine of board B");
    check(
        &["boot", "single", "--gdb", "2900", "--engine", "kvm"],
        2,
        "lets no debugger in",
    );
}

#[test]
fn three_a_file_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let bad = folder.path().join("bad.toml");
    fs::write(&bad, "name = 7\n").unwrap();
    let bad = bad.to_str().unwrap();
    for command in ["run", "sweep", "coverage", "boot"] {
        check(&[command, bad], 3, "bad.toml");
        check(&[command, "./nowhere.toml"], 3, "cannot be read");
        check(&[command, "zebra"], 3, "./zebra.toml");
    }
    check(&["run", "live-upgarde"], 3, "did you mean `live-upgrade`?");
    check(&["boot", "partner-pear"], 3, "did you mean `partner-pair`?");
    check(
        &["boot", "single", "--firmware", "7.7"],
        3,
        "builds are 1.0",
    );
    check(
        &["boot", "single", "--state", "golden"],
        3,
        "it is no state directory",
    );
    check(&["coverage", "--from", bad], 3, "bad.toml");
    check(&["image", "verify", bad], 3, "bad.toml");
    check(&["image", "inspect", "./nowhere.img"], 3, "nowhere.img");
}

#[test]
fn four_the_bench_could_not_do_its_part() {
    let story = "single-normal-boot";
    for report in ["--json", "--junit", "--html"] {
        check(
            &["run", story, report, "/nowhere/x"],
            4,
            "/nowhere/x cannot be written",
        );
    }
    check(
        &["boot", "single", "--state", "/proc/x"],
        4,
        "/proc/x cannot be made",
    );
}

#[test]
fn a_qemu_that_is_too_old_is_refused_before_any_board_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let (text, old) = (folder.path().join("text"), folder.path().join("old-qemu"));
    fs::write(&text, "#!/bin/sh\necho QEMU emulator version 7.2.22\n").unwrap();
    // Written by another process: nobody whom another test starts has it open then.
    let mut install = Command::new("install");
    install.args(["-m", "755"]).args([&text, &old]);
    assert!(install.status().unwrap().success());
    let output = Command::new(env!("CARGO_BIN_EXE_arraybench"))
        .args(["run", "single-normal-boot", "--engine", "qemu"])
        .env("ARRAYBENCH_QEMU", &old)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{told}");
    // As one line, however it was wrapped.
    let told = told.split_whitespace().collect::<String>();
    for part in ["7.2.22", "old-qemu", "10.2.0ornewer", "scripts/setup--qemu"] {
        assert!(told.contains(part), "{part}: {told}");
    }
}
