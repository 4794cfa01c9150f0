//! State directories of `boot`.

use super::*;

#[test]
fn no_state_is_taken_on_trust() {
    let whole = folder();
    let boot = ["boot", "single", "--state", "state"];
    let (code, said) = run(whole.path(), &boot);
    assert_eq!(code, 0, "{said}");
    let state = |name: &str, what: Option<&Put>| {
        let folder = folder();
        let copy = folder.path().join("state");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(whole.path().join("state")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != name {
                fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
        }
        if let Some(what) = what {
            put(&copy, name, what);
        }
        folder
    };
    let kept = [
        ("empty", text("")),
        ("zeros", Put::Bytes(vec![0; 100])),
        ("half", text("{")),
        ("deep", text(&"[".repeat(60_000))),
        ("deeper", text(&"{\"rig\":".repeat(9_000))),
        ("huge", Put::Bytes(vec![b' '; 70_000])),
        ("not UTF-8", Put::Bytes(vec![0xff])),
        ("number", text("1e999999")),
        ("of nothing", text("{\"rig\":{},\"boards\":[]}")),
        ("folder", Put::Folder),
        ("pipe", Put::Pipe),
        ("device", Put::Link("/dev/zero")),
        ("link to itself", Put::Link("array.json")),
    ];
    for (case, what) in &kept {
        let folder = state("array.json", Some(what));
        refused(folder.path(), case, &boot, &["array.json"]);
    }
    let media = [
        ("empty", text("")),
        ("short", Put::Bytes(vec![0; 4096])),
        ("pipe", Put::Pipe),
        ("folder", Put::Folder),
        ("link to itself", Put::Link("loop")),
        ("device", Put::Link("/dev/zero")),
    ];
    for medium in ["disk-0", "disk-3", "flash-AB1-000A-1"] {
        for (case, what) in &media {
            let folder = state(medium, Some(what));
            symlink("loop", folder.path().join("state/loop")).unwrap();
            refused(folder.path(), case, &boot, &[medium]);
        }
    }
}
