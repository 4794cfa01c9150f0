//! Rigs that ask for too much.

use super::*;

#[test]
fn no_rig_is_too_large() {
    let bank = "[[board.flash.banks]]\nlevel = 2\nbank = \"A\"\nchip = 0\n";
    let far = "offset = \"18446744073709551615B\"\nsize = \"18446744073709551615B\"\n";
    let many = |what: &str, n: usize| what.repeat(n);
    let cases = [
        ("boards", "slots = 5000".to_owned(), "x.toml:2:9"),
        (
            "more boards",
            "slots = 1000000000000".to_owned(),
            "x.toml:2:9",
        ),
        ("no board", "slots = 0".to_owned(), "x.toml:2:9"),
        (
            "patience",
            "hang_limit = \"99999999s\"".to_owned(),
            "x.toml:2:14",
        ),
        (
            "disks",
            "[shelf]\nmembers = 1000000000000".to_owned(),
            "x.toml:3:11",
        ),
        (
            "fewer disks",
            "[shelf]\nmembers = 4294967295".to_owned(),
            "x.toml:3:11",
        ),
        (
            "spares",
            "[shelf]\nspares = 4294967295".to_owned(),
            "x.toml:3:10",
        ),
        (
            "disk",
            "[shelf]\nmember_size = \"99999999999GiB\"".to_owned(),
            "x.toml:3:15",
        ),
        (
            "no disk",
            "[shelf]\nmember_size = 0".to_owned(),
            "x.toml:3:15",
        ),
        (
            "cache",
            "[shelf]\ncache = \"1024GiB\"".to_owned(),
            "x.toml:3:9",
        ),
        ("chunk", "[shelf]\nchunk = 1".to_owned(), "x.toml:3:9"),
        (
            "not one chunk",
            "[shelf]\nmember_size = \"1MiB\"\nchunk = \"1MiB\"".to_owned(),
            "x.toml:4:9",
        ),
        ("level", "[shelf]\nlevel = 7".to_owned(), "x.toml:3:9"),
        (
            "chips",
            "[board.flash]\nchips = 1000000000".to_owned(),
            "x.toml:3:9",
        ),
        (
            "chip",
            "[board.flash]\nchip_size = \"8589934592GiB\"".to_owned(),
            "x.toml:3:13",
        ),
        (
            "memory",
            "[board]\nram_mib = 4294967295".to_owned(),
            "x.toml:3:11",
        ),
        (
            "more memory",
            "[board]\nram_mib = 99999999999999999999".to_owned(),
            "x.toml:3:11",
        ),
        (
            "banks",
            many(&format!("{bank}offset = 0\nsize = 1\n"), 6_000),
            "at most 8",
        ),
        ("far banks", format!("{bank}{far}"), "ends outside its chip"),
        (
            "small banks",
            format!(
                "{bank}offset = 0\nsize = \"4KiB\"\n{}offset = \"4KiB\"\nsize = \"4KiB\"\n",
                bank.replace("level = 2", "level = 3"),
            ),
            "the bank 4096",
        ),
        (
            "domains",
            format!(
                "[domains]\n{}",
                (0..30_000)
                    .map(|n| format!("d{n} = [\"A\"]\n"))
                    .collect::<String>()
            ),
            "at most 32 domains",
        ),
        (
            "units",
            format!("[domains]\nd = [{}]", many("\"Q\",", 80_000)),
            "x.toml:3:",
        ),
        (
            "serials",
            format!("serials = [{}]", many("\"Q\",", 80_000)),
            "x.toml:2:",
        ),
        (
            "cables",
            format!("[links]\nuncabled = [{}]", many("\"Q\",", 80_000)),
            "x.toml:3:",
        ),
        (
            "no time",
            "[timings]\npage_program = \"0s\"".to_owned(),
            "x.toml:3:16",
        ),
        (
            "unknown ROM",
            "[board]\nrom = \"x\"".to_owned(),
            "x.toml:3:7",
        ),
        (
            "ROM from a pipe",
            "[board]\nrom = \"./pipe\"".to_owned(),
            "x.toml:3:7",
        ),
        (
            "ROM without end",
            "[board]\nrom = \"/dev/zero\"".to_owned(),
            "x.toml:3:7",
        ),
        (
            "short ROM",
            "[board]\nrom = \"./x.toml\"".to_owned(),
            "x.toml:3:7",
        ),
        (
            "no ROM",
            "[board]\nrom = \"./nothing\"".to_owned(),
            "x.toml:3:7",
        ),
    ];
    for (case, what, wanted) in &cases {
        let folder = folder();
        put(
            folder.path(),
            "x.toml",
            &text(&format!("name = \"x\"\n{what}\n")),
        );
        put(folder.path(), "pipe", &Put::Pipe);
        refused(folder.path(), case, &["boot", "./x.toml"], &[*wanted]);
    }
}
