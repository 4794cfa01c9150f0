//! Images, packages, keys and records.

use super::*;

/// Firmware files: what they are, and what is said of them.
fn firmware_files() -> Vec<(&'static str, Put, &'static str)> {
    let pack = |arguments: &[&str]| {
        let folder = folder();
        fs::write(folder.path().join("body"), vec![0x90; 3000]).unwrap();
        let (code, said) = run(folder.path(), arguments);
        assert_eq!(code, 0, "{said}");
        fs::read(folder.path().join("out")).unwrap()
    };
    let pack = |kind, version| {
        let build = ["image", "pack", "--kind", kind, "--version", version];
        pack(&[&build[..], &["body", "-o", "out"]].concat())
    };
    let image = pack("l3", "2.0");
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = image.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        Put::Bytes(bytes)
    };
    vec![
        ("pipe", Put::Pipe, "file"),
        ("link to itself", Put::Link("x.img"), "file"),
        ("device", Put::Link("/dev/zero"), "file"),
        ("empty", text(""), "ends within its header"),
        ("text", text(GOOD), "x.img"),
        ("zeros", Put::Bytes(vec![0; 4096]), "not a firmware image"),
        ("huge", Put::Bytes(vec![0; 33 << 20]), "larger than"),
        (
            "half",
            Put::Bytes(image[..image.len() / 2].to_vec()),
            "x.img",
        ),
        ("longer", Put::Bytes([&image[..], b"x"].concat()), "x.img"),
        ("header", changed(20, &[0xff; 4]), "x.img"),
    ]
}

#[test]
fn no_image_or_package_is_taken_on_trust() {
    for (case, what, wanted) in &firmware_files() {
        let folder = folder();
        put(folder.path(), "x.img", what);
        let story = |part: &str| GOOD.replace(part, &part.replace("1.0", "./x.img"));
        put(folder.path(), "flash.toml", &text(&story("A = \"1.0\"")));
        put(
            folder.path(),
            "array.toml",
            &text(&story("array = \"1.0\"")),
        );
        put(folder.path(), "key", &Put::Bytes(vec![7; 32]));
        let wanted = ["x.img", *wanted];
        let path = folder.path();
        refused(path, case, &["image", "verify", "x.img"], &wanted[..1]);
        refused(
            path,
            case,
            &["image", "sign", "x.img", "--key", "key"],
            &wanted[..1],
        );
        let pack = ["image", "pack", "--version", "2.0", "x.img", "-o", "out"];
        refused(path, case, &pack, &wanted[..1]);
        refused(
            path,
            case,
            &["boot", "single", "--firmware", "./x.img"],
            &wanted,
        );
        for story in ["flash.toml", "array.toml"] {
            let wanted = [story, wanted[0], wanted[1]];
            refused(path, case, &["run", story], &wanted);
            refused(path, case, &["sweep", story], &wanted);
        }
    }
}

#[test]
fn an_image_of_one_level_fills_no_banks_of_another() {
    let folder = folder();
    put(folder.path(), "body", &Put::Bytes(vec![0x90; 3000]));
    let pack = [
        "image",
        "pack",
        "--kind",
        "l3",
        "--version",
        "2.0",
        "body",
        "-o",
        "x.img",
    ];
    let (code, said) = run(folder.path(), &pack);
    assert_eq!(code, 0, "{said}");
    let story = GOOD.replace("A = \"1.0\"", "A = \"./x.img\"");
    put(folder.path(), "x.toml", &text(&story));
    let wanted = ["x.toml:3:", "x.img has no l2 image"];
    refused(folder.path(), "flash", &["run", "x.toml"], &wanted);
    let boot = ["boot", "single", "--firmware", "./x.img"];
    refused(folder.path(), "boot", &boot, &wanted[1..]);
}

#[test]
fn a_package_has_room_in_the_banks_and_on_the_array() {
    let folder = folder();
    put(folder.path(), "body", &Put::Bytes(vec![0x90; 800 << 10]));
    for kind in ["l2", "l3"] {
        let build = ["image", "pack", "--kind", kind, "--version", "2.0"];
        let (code, said) = run(folder.path(), &[&build[..], &["body", "-o", kind]].concat());
        assert_eq!(code, 0, "{said}");
    }
    let pack = [
        "image",
        "pack",
        "--version",
        "2.0",
        "l2",
        "l3",
        "-o",
        "x.abp",
    ];
    let (code, said) = run(folder.path(), &pack);
    assert_eq!(code, 0, "{said}");
    let rig = "name = \"x\"\n[shelf]\nlevel = 0\nmembers = 1\nmember_size = \"1MiB\"\n";
    put(folder.path(), "x.toml", &text(rig));
    let boot = ["boot", "./x.toml", "--firmware", "./x.abp"];
    let wanted = [
        "x.abp in L2A has 819456 bytes, the bank 131072",
        "no room for the system area",
    ];
    refused(folder.path(), "boot", &boot, &wanted);
}

#[test]
fn no_record_and_no_key_is_taken_on_trust() {
    let deep = "[".repeat(100_000);
    let cases = [
        ("pipe", Put::Pipe),
        ("folder", Put::Folder),
        ("device", Put::Link("/dev/zero")),
        ("link to itself", Put::Link("x")),
        ("text", text(GOOD)),
        ("deep", text(&deep)),
        ("one line", Put::Bytes(vec![b' '; 40 << 20])),
    ];
    for (case, what) in &cases {
        let folder = folder();
        put(folder.path(), "x", what);
        put(folder.path(), "body", &Put::Bytes(vec![0x90; 3000]));
        refused(folder.path(), case, &["coverage", "--from", "x"], &["x"]);
        let sign = ["image", "sign", "--key", "x", "--print-key"];
        refused(folder.path(), case, &sign, &["x"]);
        refused(
            folder.path(),
            case,
            &["image", "verify", "body", "--key", "x"],
            &["x"],
        );
    }
}
