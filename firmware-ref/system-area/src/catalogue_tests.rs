use image::MAX_PARTS;
use proptest::prelude::*;

use super::*;

fn package(length: u32) -> Package {
    Package {
        version: "1.0".parse().unwrap(),
        length,
        parts: [None; MAX_PARTS].map(|_: Option<image::Part>| None),
    }
}

fn entry(first: u64, sectors: u64, installed_s: u64) -> Entry {
    let length = u32::try_from(sectors).unwrap() * 512;
    let part = image::Part {
        kind: image::Kind::L3,
        version: "1.0".parse().unwrap(),
        offset: 512,
        length: 512,
        digest: [7; 32],
    };
    let mut package = package(length);
    package.parts[0] = Some(part);
    Entry {
        name: *b"controller\0\0\0\0\0\0",
        extent: Extent { first, sectors },
        installed_s,
        package,
    }
}

fn filled() -> Catalogue {
    let mut catalogue = Catalogue::new(0x1122);
    catalogue.enter(0, entry(64, 100, 1));
    catalogue.enter(1, entry(164, 200, 2));
    catalogue.enter(2, entry(400, 100, 3));
    catalogue.sequence = 9;
    catalogue
}

#[test]
fn a_copy_reads_back() {
    let mut copy = [0; COPY_SIZE];
    filled().encode(&mut copy);
    assert_eq!(Catalogue::decode(&copy), Ok(filled()));
    assert_eq!(copy[SECTOR_SIZE..][..8], PACKAGE_MAGIC);
    assert_eq!(filled().preferred().unwrap().extent.first, 400);
    assert_eq!(filled().previous().unwrap().extent.first, 164);
}

fn with_images(mut entry: Entry) -> Entry {
    entry.package.parts[1] = Some(image::Part {
        kind: image::Kind::Node,
        version: "1.0".parse().unwrap(),
        offset: 1024,
        length: 512,
        digest: [8; 32],
    });
    entry
}

#[test]
fn cd50_nodes_go_on_with_what_they_run_until_they_are_updated() {
    let first = |entry: Option<&Entry>| entry.map(|entry| entry.extent.first);
    let served = |it: &Catalogue| (first(it.node_base()), first(it.node_update()));
    let mut catalogue = Catalogue::new(1);
    assert_eq!(served(&catalogue), (None, None));
    catalogue.enter(0, with_images(entry(64, 100, 1)));
    assert_eq!(served(&catalogue), (Some(64), None));
    catalogue.enter(1, with_images(entry(164, 100, 2)));
    assert_eq!(served(&catalogue), (Some(64), Some(164)));
    catalogue.set_node_turn(3);
    catalogue.set_node_settings([5; 16]);
    let mut copy = [0; COPY_SIZE];
    catalogue.encode(&mut copy);
    assert_eq!(Catalogue::decode(&copy), Ok(catalogue));
    // Back to what they run: nothing to be updated, nothing begun.
    catalogue.prefer(0);
    assert_eq!(
        (served(&catalogue), catalogue.node_turn()),
        ((Some(64), None), 0)
    );
    catalogue.prefer(1);
    catalogue.finish_node_update();
    assert_eq!(served(&catalogue), (Some(164), None));
    // What nodes run is not given up, however many packages come.
    catalogue.enter(2, with_images(entry(264, 100, 3)));
    catalogue.enter(3, with_images(entry(364, 100, 4)));
    while catalogue.evict() {}
    assert_eq!(served(&catalogue), (Some(164), Some(364)));
}

#[test]
fn packages_without_images_for_nodes_are_no_base() {
    let mut catalogue = Catalogue::new(1);
    catalogue.enter(0, entry(64, 100, 1));
    catalogue.enter(1, with_images(entry(164, 100, 2)));
    assert_eq!(catalogue.node_base().map(|it| it.extent.first), Some(164));
    assert_eq!(catalogue.node_update(), None);
}

#[test]
fn any_altered_byte_of_a_copy_is_noticed() {
    let mut whole = [0; COPY_SIZE];
    filled().encode(&mut whole);
    for at in 0..COPY_SIZE {
        let mut copy = whole;
        copy[at] ^= 0x10;
        assert!(Catalogue::decode(&copy).is_err(), "byte {at}");
    }
}

#[test]
fn a_manifest_of_another_commit_is_noticed() {
    let mut copy = [0; COPY_SIZE];
    filled().encode(&mut copy);
    let mut other = filled();
    other.enter(0, entry(64, 99, 1));
    let mut torn = [0; COPY_SIZE];
    other.encode(&mut torn);
    torn[SECTOR_SIZE..].copy_from_slice(&copy[SECTOR_SIZE..]);
    assert!(Catalogue::decode(&torn).is_err());
}

#[test]
fn room_is_the_lowest_gap_that_is_large_enough() {
    let first = |bytes| filled().room_for(bytes).map(|(index, e)| (index, e.first));
    assert_eq!(first(36 * 512), Some((3, 364)));
    assert_eq!(first(36 * 512 + 1), Some((3, 500)));
    let free = u32::try_from(HOST_VOLUME_START - 500).unwrap();
    assert_eq!(first(free * 512), Some((3, 500)));
    assert_eq!(first(free * 512 + 1), None);
}

#[test]
fn the_oldest_that_nobody_needs_goes_first_and_the_preferred_one_never() {
    let mut catalogue = filled();
    let firsts = |c: &Catalogue| c.entries().map(|e| e.extent.first).collect::<Vec<_>>();
    assert!(catalogue.evict());
    assert_eq!(firsts(&catalogue), [164, 400]);
    assert!(catalogue.evict());
    assert_eq!(firsts(&catalogue), [400]);
    assert_eq!(catalogue.previous(), None);
    assert!(!catalogue.evict());
}

proptest! {
    #[test]
    fn strange_bytes_never_panic(
        noise in proptest::collection::vec((0..COPY_SIZE, any::<u8>()), 0..8),
        mend in any::<bool>(),
    ) {
        let mut copy = [0; COPY_SIZE];
        filled().encode(&mut copy);
        for (at, value) in noise {
            copy[at] = value;
        }
        if mend {
            let crc = crc_of(&copy).to_le_bytes();
            copy[CRC_AT..SECTOR_SIZE].copy_from_slice(&crc);
        }
        if let Ok(catalogue) = Catalogue::decode(&copy) {
            for entry in catalogue.entries() {
                prop_assert!(entry.extent.first >= PACKAGE_AREA_START);
                prop_assert!(entry.extent.end() <= HOST_VOLUME_START);
            }
        }
    }
}
