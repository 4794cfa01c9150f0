//! Images in banks and files, and packages on media: whatever is in them, they are good or have a defect,
//! and what is taken for good says the same when it is written again.
#![no_main]

use arbitrary::Arbitrary;
use arraybench_firmware_fuzz::{Change, MANIFEST, change, good_image, good_package, seal};
use image::{HEADER_SIZE, ImageHeader, Kind, Package, Record, Requirements, Trust};
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
struct Input {
    package: bool,
    changes: Vec<Change>,
    sealed: bool,
    changes_after: Vec<Change>,
    length: Option<u16>,
    key: Option<[u8; 32]>,
    sign: bool,
}

fuzz_target!(|input: Input| {
    let (mut bytes, head) = match input.package {
        true => (good_package(), MANIFEST),
        false => (good_image(Kind::L3), HEADER_SIZE),
    };
    change(&mut bytes, &input.changes);
    if input.sealed {
        seal(&mut bytes, head);
    }
    change(&mut bytes, &input.changes_after);
    if let Some(length) = input.length {
        bytes.resize(usize::from(length), 0);
    }
    let seed = [7; 32];
    let public = image_pack::public_key(&seed).expect("a good seed");
    if input.sign && image_pack::sign(&mut bytes, &seed).is_ok() {
        let header = ImageHeader::parse(&bytes).expect("what was signed is an image");
        assert_eq!(Trust::SignedBy(&public).check(&header), Ok(()));
    }

    if let Ok(header) = ImageHeader::parse(&bytes) {
        assert_eq!(
            header.encode()[..],
            bytes[..HEADER_SIZE],
            "another spelling"
        );
        let record = Record {
            sequence: 5,
            programmed_s: 6,
        };
        let stamped = header.with_record(record);
        assert_eq!(ImageHeader::parse(&stamped.encode()), Ok(stamped));
    }
    let trust = match &input.key {
        Some(key) => Trust::SignedBy(key),
        None => Trust::Anyone,
    };
    for kind in Kind::ALL {
        let requirements = Requirements {
            kind,
            capacity: 4096,
            load_window: 0x10_0000..0x80_0000,
            trust,
        };
        let in_file = requirements.check_file(&mut &bytes[..], &mut [0; 64]);
        let in_bank = requirements.check_bank(&mut &bytes[..], &mut [0; 4096]);
        if let Ok(header) = in_file {
            assert_eq!(in_bank, Ok(header), "good in a file, not in a bank");
            assert!(header.body_matches(&bytes[HEADER_SIZE..]));
        }
        if let Ok(package) = Package::parse(&bytes) {
            assert_eq!(package.encode()[..], bytes[..MANIFEST], "another spelling");
            for part in package.parts() {
                let _ = package.check_part(part, &mut &bytes[..], &requirements, &mut [0; 64]);
            }
        }
    }
});
