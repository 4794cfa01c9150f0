//! The store as a whole: what it is taken for, and that no loss of power takes it.

use boot::{PackageSink, Publication};
use image::{Kind, ReadAt, Requirements, Trust, Version};
use image_pack::{self as pack, Recipe};

use crate::simulated_disk::{SimulatedDisk, mix};
use crate::*;

const NAME: [u8; NAME_SIZE] = *b"controller\0\0\0\0\0\0";

fn image(kind: Kind, version: &str, bytes: usize) -> Vec<u8> {
    let recipe = Recipe {
        kind,
        version: version.parse().unwrap(),
        load_address: 0x10_0000,
        entry_offset: 0,
        components: &[],
    };
    let seed = u64::from(version.as_bytes()[0]);
    let body: Vec<u8> = (0..bytes as u64)
        .map(|n| mix(seed, n).to_le_bytes()[0])
        .collect();
    pack::image(&recipe, &body).unwrap()
}

fn package(version: &str) -> Vec<u8> {
    let version_number: Version = version.parse().unwrap();
    let l2 = image(Kind::L2, version, 700);
    let l3 = image(Kind::L3, version, 3000);
    pack::package(version_number, &[&l2, &l3]).unwrap()
}

fn requirements() -> [Requirements<'static>; 2] {
    [Kind::L2, Kind::L3].map(|kind| Requirements {
        kind,
        capacity: 0x8_0000,
        load_window: 0x10_0000..0x80_0000,
        trust: Trust::Anyone,
    })
}

fn look(disk: &mut SimulatedDisk) -> Condition {
    load(disk, &mut [0; LOAD_SIZE])
}

fn install(disk: &mut SimulatedDisk, version: &str) -> Result<(), InstallError> {
    let catalogue = match look(disk) {
        Condition::Present(catalogue) => catalogue,
        Condition::Absent => Catalogue::new(0xa44a),
        other => panic!("{other:?}"),
    };
    // The version stands for the calendar.
    let now_s = u64::from(version.as_bytes()[0]);
    let file = package(version);
    let mut install = Install::new(catalogue, NAME, now_s);
    let mut buffer = [0; 1024];
    let mut source = &file[..];
    let done = install.run(disk, &mut source, &requirements(), &mut buffer);
    done.map(|_| ())
}

/// The preferred version, after its images were checked in full.
fn preferred(disk: &mut SimulatedDisk) -> Option<String> {
    let condition = look(disk);
    let entry = match &condition {
        Condition::Absent => return None,
        Condition::Present(catalogue) => catalogue.preferred()?,
        other => panic!("{other:?}"),
    };
    let mut stored = ExtentReader::new(disk, entry.extent);
    let found = check_package(&mut stored, &requirements(), &mut [0; 4096]);
    assert_eq!(found, Ok(entry.package));
    Some(entry.package.version.to_string())
}

#[test]
fn a_package_becomes_preferred_and_the_one_before_stays_beside_it() {
    let mut disk = SimulatedDisk::new();
    assert_eq!(look(&mut disk), Condition::Absent);
    install(&mut disk, "1.0").unwrap();
    install(&mut disk, "2.0").unwrap();
    assert_eq!(preferred(&mut disk).as_deref(), Some("2.0"));
    let condition = look(&mut disk);
    let catalogue = condition.catalogue().unwrap();
    let previous = catalogue.previous().unwrap().package.version;
    assert_eq!(previous.as_str(), "1.0");
    assert_eq!(catalogue.array_identity, 0xa44a);
}

#[test]
fn vc37_version_information_is_one_read_and_no_image_byte() {
    let mut disk = SimulatedDisk::new();
    install(&mut disk, "1.0").unwrap();
    (disk.reads, disk.bytes_read) = (0, 0);
    assert!(look(&mut disk).catalogue().is_some());
    assert_eq!((disk.reads, disk.bytes_read), (1, LOAD_SIZE as u64));
    const { assert!(LOAD_SIZE < 64 * SECTOR_SIZE) };
}

#[test]
fn installing_what_is_there_already_moves_only_the_reference() {
    let mut disk = SimulatedDisk::new();
    for version in ["1.0", "2.0", "1.0"] {
        install(&mut disk, version).unwrap();
    }
    let condition = look(&mut disk);
    assert_eq!(condition.catalogue().unwrap().entries().count(), 2);
    assert_eq!(preferred(&mut disk).as_deref(), Some("1.0"));
    let before = disk.operations;
    install(&mut disk, "1.0").unwrap();
    assert_eq!(disk.operations, before);
}

#[test]
fn when_entries_run_out_the_oldest_goes() {
    let mut disk = SimulatedDisk::new();
    for number in 1..=8 {
        install(&mut disk, &format!("{number}.0")).unwrap();
    }
    let condition = look(&mut disk);
    let mut versions: Vec<String> = condition
        .catalogue()
        .unwrap()
        .entries()
        .map(|entry| entry.package.version.to_string())
        .collect();
    versions.sort();
    assert_eq!(versions, ["3.0", "4.0", "5.0", "6.0", "7.0", "8.0"]);
}

#[test]
fn k23_foreign_damaged_and_unreachable_are_not_empty() {
    let check = |alter: &dyn Fn(&mut SimulatedDisk), expected: Condition| {
        let mut disk = SimulatedDisk::new();
        install(&mut disk, "1.0").unwrap();
        alter(&mut disk);
        assert_eq!(look(&mut disk), expected);
    };
    let blank = |disk: &mut SimulatedDisk| {
        for sector in 0..64 {
            for byte in 0..SECTOR_SIZE {
                disk.set(sector, byte, 0);
            }
        }
    };
    check(&|disk| disk.reachable = false, Condition::Unreachable);
    check(&|disk| blank(disk), Condition::Absent);
    let foreign = Condition::Invalid(Damage::Foreign);
    for (sector, byte) in [(0, 0), (0, 510), (2, 56), (7, 0), (10, 3), (32, 1), (39, 0)] {
        let alter = |disk: &mut SimulatedDisk| {
            blank(disk);
            disk.set(sector, byte, 0x55);
        };
        check(&alter, foreign);
    }
    let damaged = Condition::Invalid(Damage::Damaged);
    let both = |disk: &mut SimulatedDisk| {
        disk.set(0, 100, 0x55);
        disk.set(32, 100, 0x55);
    };
    check(&both, damaged);
}

#[test]
fn one_damaged_copy_does_no_harm() {
    for sector in [0, 32] {
        let mut disk = SimulatedDisk::new();
        install(&mut disk, "1.0").unwrap();
        disk.set(sector, 64, 0xee);
        assert_eq!(preferred(&mut disk).as_deref(), Some("1.0"));
        install(&mut disk, "2.0").unwrap();
        assert_eq!(preferred(&mut disk).as_deref(), Some("2.0"));
    }
}

#[test]
fn a_package_that_is_not_right_is_refused_before_anything_is_written() {
    let check = |alter: &dyn Fn(&mut Vec<u8>), cause: &str| {
        let mut disk = SimulatedDisk::new();
        install(&mut disk, "1.0").unwrap();
        let before = disk.operations;
        let mut file = package("2.0");
        alter(&mut file);
        let catalogue = *look(&mut disk).catalogue().unwrap();
        let mut install = Install::new(catalogue, NAME, 2);
        let mut source = &file[..];
        let mut buffer = [0; 1024];
        let refused = install.run(&mut disk, &mut source, &requirements(), &mut buffer);
        assert_eq!(refused.unwrap_err().as_str(), cause);
        assert_eq!(disk.operations, before);
    };
    check(&|file| file[2000] ^= 1, "part-digest");
    check(&|file| file[0] ^= 1, "wrong-magic");
    check(&|file| file.truncate(600), "unreadable");
    check(
        &|file| {
            let l3 = image(Kind::L3, "2.0", 300);
            *file = pack::package("2.0".parse().unwrap(), &[&l3]).unwrap();
        },
        "no-l2-part",
    );
}

/// Writes what a controller runs, as a boot with an empty disk does.
fn publish(disk: &mut SimulatedDisk, version: &str) -> Result<(), InstallError> {
    let mut install = Install::new(Catalogue::new(5), NAME, 1);
    let banks = [
        image(Kind::L2, version, 700),
        image(Kind::L3, version, 3000),
    ];
    let place = install.reserve(disk, 8192)?;
    let mut buffer = [0; 1024];
    let writer = ExtentWriter::new(&mut *disk, place.extent());
    let number = version.parse().unwrap();
    let mut publication = Publication::new(writer, number, &mut buffer);
    for bank in &banks {
        let header = image::ImageHeader::parse(bank).unwrap();
        let added = publication.add(&header, &bank[..]);
        added.map_err(|_| InstallError::Disk)?;
    }
    let package = publication.finish().map_err(|_| InstallError::Disk)?;
    let done = install.enter(disk, place, &package, &requirements(), &mut buffer);
    done.map(|_| ())
}

#[test]
fn vc67_a_controller_publishes_what_it_runs() {
    let mut disk = SimulatedDisk::new();
    publish(&mut disk, "1.1").unwrap();
    assert_eq!(preferred(&mut disk).as_deref(), Some("1.1"));
}

/// Cuts the power during every write and flush of `story`, several outcomes each, then repeats it.
fn sweep(
    start: &SimulatedDisk,
    before: Option<&str>,
    after: &str,
    story: impl Fn(&mut SimulatedDisk) -> Result<(), InstallError>,
) {
    let mut whole = start.clone();
    whole.operations = 0;
    story(&mut whole).unwrap();
    assert_eq!(preferred(&mut whole).as_deref(), Some(after));
    let mut seen = [false; 2];
    for cut in 1..=whole.operations {
        for seed in 0..24 {
            let mut disk = start.clone();
            disk.operations_left = cut;
            assert!(story(&mut disk).is_err(), "the power went");
            disk.power_cycle(seed);
            let found = preferred(&mut disk);
            let found = found.as_deref();
            assert!(
                found == before || found == Some(after),
                "cut {cut}, seed {seed}: {found:?}"
            );
            seen[usize::from(found == Some(after))] = true;
            story(&mut disk).unwrap();
            disk.power_cycle(seed + 100);
            assert_eq!(
                preferred(&mut disk).as_deref(),
                Some(after),
                "cut {cut}, seed {seed}: what was acknowledged stays"
            );
        }
    }
    assert_eq!(seen, [true, true], "both outcomes occur");
}

#[test]
fn no_loss_of_power_takes_the_preferred_version() {
    let mut disk = SimulatedDisk::new();
    install(&mut disk, "1.0").unwrap();
    sweep(&disk, Some("1.0"), "2.0", |disk| install(disk, "2.0"));
}

#[test]
fn a_first_installation_cut_short_leaves_an_empty_store() {
    sweep(&SimulatedDisk::new(), None, "1.0", |disk| {
        install(disk, "1.0")
    });
    sweep(&SimulatedDisk::new(), None, "1.0", |disk| {
        match look(disk) {
            Condition::Absent => publish(disk, "1.0"),
            _ => install(disk, "1.0"),
        }
    });
}

#[test]
fn no_loss_of_power_hurts_while_old_packages_make_room() {
    let mut disk = SimulatedDisk::new();
    for number in 1..=6 {
        install(&mut disk, &format!("{number}.0")).unwrap();
    }
    sweep(&disk, Some("6.0"), "7.0", |disk| install(disk, "7.0"));
}

#[test]
fn an_extent_reads_at_any_byte_and_not_beyond() {
    let mut disk = SimulatedDisk::new();
    let bytes: Vec<u8> = (0..2048_u32).map(|n| n.to_le_bytes()[0] ^ 0x5a).collect();
    let extent = Extent {
        first: 100,
        sectors: 4,
    };
    let mut writer = ExtentWriter::new(&mut disk, extent);
    writer.write_at(0, &bytes).unwrap();
    assert!(writer.write_at(512, &bytes).is_err());
    assert!(writer.write_at(100, &bytes[..512]).is_err());
    let mut reader = ExtentReader::new(&mut disk, extent);
    for (offset, length) in [
        (0, 2048),
        (256, 1024),
        (511, 2),
        (512, 512),
        (1, 0),
        (700, 1348),
    ] {
        let mut out = vec![0; length];
        reader
            .read_at(u32::try_from(offset).unwrap(), &mut out)
            .unwrap();
        assert_eq!(out, bytes[offset..offset + length], "{length} at {offset}");
    }
    assert!(reader.read_at(2000, &mut [0; 49]).is_err());
    assert!(reader.read_at(u32::MAX, &mut [0; 2]).is_err());
}
