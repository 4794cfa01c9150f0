use std::fs;
use std::path::PathBuf;

use clap::Parser;
use tempfile::TempDir;

use super::*;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    image: Image,
}

/// Runs a command in words; `@name` stands for a file in `folder`.
fn run(folder: &TempDir, words: &str) -> Result<Exit, CliError> {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let words = words
        .split_whitespace()
        .map(|word| match word.strip_prefix('@') {
            Some(name) => path(name),
            None => word.to_owned(),
        });
    let words: Vec<String> = std::iter::once("image".to_owned()).chain(words).collect();
    let arguments = Arguments::try_parse_from(&words).unwrap_or_else(|error| panic!("{error}"));
    arguments.image.run()
}

fn good(folder: &TempDir, words: &str) {
    if let Err(error) = run(folder, words) {
        panic!("{words}: {error}");
    }
}

/// The complaint about a file, without the path of the folder.
fn complaint_of(folder: &TempDir, words: &str) -> String {
    match run(folder, words) {
        Err(CliError::Files(errors)) => errors[0].problems()[0].what.clone(),
        other => panic!("{words}: {other:?}"),
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("body"), vec![0x90; 3000]).unwrap();
    fs::write(folder.path().join("key"), [7; 32]).unwrap();
    good(&folder, "pack --kind l2 --version 2.0 @body -o @l2");
    good(
        &folder,
        "pack --kind l3 --version 2.0 --entry 0x10 --component application:0x0:100 @body -o @l3",
    );
    good(&folder, "pack --version 2.0 @l2 @l3 -o @package");
    folder
}

#[test]
fn packed_signed_and_verified() {
    let folder = folder();
    for file in ["@l2", "@l3", "@package"] {
        good(&folder, &format!("inspect {file}"));
        good(&folder, &format!("verify {file}"));
    }
    let public = key::hex(&image_pack::public_key(&[7; 32]).unwrap());
    let verify = format!("verify @package --key {public}");
    assert!(complaint_of(&folder, &verify).contains("signature: missing"));
    good(&folder, "sign @package --key @key");
    good(&folder, &verify);
    let other = "ab".repeat(32);
    assert!(complaint_of(&folder, &format!("verify @package --key {other}")).contains("signature"));
}

#[test]
fn any_changed_byte_is_noticed() {
    let folder = folder();
    let whole = fs::read(folder.path().join("package")).unwrap();
    let damaged: PathBuf = folder.path().join("damaged");
    for at in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&damaged, &bytes).unwrap();
        // Bytes between the images belong to nobody.
        if run(&folder, "verify @damaged").is_ok() {
            assert_eq!(whole[at], 0, "{at}");
        }
    }
    for length in [0, 1, 255, 511, 512, 700, whole.len() - 1] {
        fs::write(&damaged, &whole[..length]).unwrap();
        complaint_of(&folder, "verify @damaged");
    }
}

#[test]
fn trouble_leaves_files_as_they_were() {
    let folder = folder();
    let path = folder.path().join("l2");
    let mut bytes = fs::read(&path).unwrap();
    bytes[2000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(complaint_of(&folder, "sign @l2 --key @key").contains("body digest"));
    assert!(complaint_of(&folder, "sign @l3 --key @body").contains("a key is 32 bytes"));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(
        complaint_of(&folder, "pack --version 2.0 @l2 @l3 -o @package").contains("body digest")
    );
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 5);
}

#[test]
fn nonsense_on_the_command_line_is_a_usage_error() {
    let folder = folder();
    for words in [
        "pack --kind l4 --version 2.0 @body -o @x",
        "pack --kind l3 --version two @body -o @x",
        "pack --kind node --version 2.0 @body -o @x",
        "pack --version 2.0 @l2 @l2 -o @x",
    ] {
        assert!(
            matches!(run(&folder, words), Err(CliError::Usage(_))),
            "{words}"
        );
    }
}
