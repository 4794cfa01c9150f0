//! Scenarios, and what rigs have in common with them.

use super::*;

#[test]
fn what_is_no_text_is_no_scenario_and_no_rig() {
    let cases: [(&str, Put, &str); 12] = [
        ("pipe", Put::Pipe, "not a file"),
        ("link to itself", Put::Link("x.toml"), "symbolic links"),
        ("link to nothing", Put::Link("nothing"), "No such file"),
        ("device", Put::Link("/dev/zero"), "not a file"),
        ("memory", Put::Link("/proc/self/mem"), "cannot be read"),
        ("empty", text(""), "name"),
        ("zeros", Put::Bytes(vec![0; 1000]), "x.toml:1:"),
        ("binary", Put::Bytes((0..=255).collect()), "not UTF-8"),
        (
            "UTF-16",
            Put::Bytes(b"\xff\xfen\0a\0m\0e\0".to_vec()),
            "not UTF-8",
        ),
        (
            "bad end",
            Put::Bytes([GOOD.as_bytes(), b"# \xff"].concat()),
            "x.toml:8:3",
        ),
        ("half", text(&GOOD[..60]), "x.toml:3:"),
        (
            "huge",
            Put::Bytes(vec![b'#'; 600 << 10]),
            "larger than 512 KiB",
        ),
    ];
    for (case, what, wanted) in &cases {
        let folder = folder();
        put(folder.path(), "x.toml", what);
        put(
            folder.path(),
            "names-it.toml",
            &text(&GOOD.replace("\"single\"", "\"./x.toml\"")),
        );
        let wanted = [*wanted, "x.toml"];
        refused(folder.path(), case, &["run", "x.toml", "--check"], &wanted);
        refused(folder.path(), case, &["sweep", "x.toml"], &wanted);
        refused(folder.path(), case, &["boot", "./x.toml"], &["x.toml"]);
        let through = ["run", "names-it.toml", "--check"];
        refused(folder.path(), case, &through, &["toml"]);
    }
    let folder = folder();
    fs::create_dir(folder.path().join("x.toml")).unwrap();
    refused(
        folder.path(),
        "folder",
        &["boot", "./x.toml"],
        &["not a file"],
    );
    refused(
        folder.path(),
        "missing",
        &["run", "y.toml"],
        &["y.toml", "No such file"],
    );
}

#[test]
fn no_scenario_is_too_deep_too_long_or_too_much() {
    let many = |what: &str, n: usize| what.repeat(n);
    let steps = |steps: &str| format!("{}steps = [{steps}]\n", GOOD.split("steps").next().unwrap());
    let after = |line: &str| format!("{GOOD}{line}\n");
    let cases = [
        (
            "brackets",
            format!("steps = {}", many("[", 200_000)),
            "x.toml:1:",
        ),
        (
            "closed",
            format!("steps = {}{}", many("[", 90_000), many("]", 90_000)),
            "x.toml:1:",
        ),
        (
            "braces",
            format!("a = {}1{}", many("{a=", 90_000), many("}", 90_000)),
            "x.toml:1:",
        ),
        ("dots", format!("a{} = 1", many(".a", 200_000)), "x.toml:1:"),
        ("header", format!("[a{}]", many(".a", 200_000)), "x.toml:1:"),
        (
            "one long line",
            format!("name = \"{}\"", many("a", 500_000)),
            "1 to 120 bytes",
        ),
        (
            "no verb, often",
            steps(&many("{ powr = \"on\" },", 2_000)),
            "did you mean `power`?",
        ),
        ("no table, often", steps(&many("0,", 2_000)), "is a table"),
        (
            "asks nothing",
            steps(&many("{ power = \"on\" },", 20_000)),
            "x.toml",
        ),
        (
            "too large",
            after("seed = 99999999999999999999"),
            "x.toml:8:8",
        ),
        ("negative", after("seed = -1"), "x.toml:8:8"),
        ("a fraction", after("seed = 1e999"), "x.toml:8:8"),
        (
            "a long number",
            after(&format!("seed = 0x{}", many("f", 9_000))),
            "x.toml:8:8",
        ),
        (
            "for ever",
            after("limit = \"99999999999999999999s\""),
            "x.toml:8:9",
        ),
        ("never", after("limit = \"0s\""), "x.toml:8:9"),
        ("twice", after("name = \"y\""), "x.toml:8:1"),
        ("unknown", after("colour = \"red\""), "x.toml:8:1"),
        (
            "rows",
            after(&format!("covers = [{}]", many("\"VC1\",", 20_000))),
            "x.toml:8:",
        ),
        (
            "itself as rig",
            GOOD.replace("\"single\"", "\"./x.toml\""),
            "x.toml",
        ),
        (
            "a zero in a path",
            GOOD.replace("\"single\"", "\"a\\u0000/b\""),
            "x.toml:2:7",
        ),
    ];
    for (case, story, wanted) in &cases {
        let folder = folder();
        put(folder.path(), "x.toml", &text(story));
        refused(
            folder.path(),
            case,
            &["run", "x.toml", "--check"],
            &[*wanted, "x.toml"],
        );
    }
    let folder = folder();
    let keys: String = (0..40_000).map(|n| format!("k{n} = 1\n")).collect();
    put(folder.path(), "x.toml", &text(&keys));
    refused(
        folder.path(),
        "keys",
        &["run", "x.toml", "--check"],
        &["x.toml:1:"],
    );
}
