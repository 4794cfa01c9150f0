//! The array's system area: whatever is on the disk, it is a store or has a condition; a package is
//! installed or refused; and what was installed is what is preferred, wherever the disk failed.
#![no_main]

use arbitrary::Arbitrary;
use arraybench_firmware_fuzz::{Change, MANIFEST, change, good_package, seal};
use libfuzzer_sys::fuzz_target;
use system_area::{
    BlockDevice, Catalogue, Condition, ExtentReader, HOST_VOLUME_START, Install, IoError,
    LOAD_SIZE, SECTOR_SIZE, check_package, load,
};

/// Sectors of one copy of the catalogue, and where the other begins.
const COPY_BYTES: usize = 8 * SECTOR_SIZE;
const ODD_COPY: usize = 32 * SECTOR_SIZE;
/// Its checksum, which stands at the end of its first sector.
const SEAL_AT: usize = SECTOR_SIZE - 4;
const SEAL: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

#[derive(Debug, Arbitrary)]
struct Input {
    /// Packages installed before.
    packages: Vec<Package>,
    changes: Vec<Change>,
    sealed: [bool; 2],
    manifests_sealed: bool,
    sectors: Option<u16>,
    then: Package,
    /// Disk requests that are answered before the disk fails.
    patience: Option<u8>,
}

#[derive(Debug, Arbitrary)]
struct Package {
    changes: Vec<Change>,
    sealed: bool,
    name: u8,
}

impl Package {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = good_package();
        change(&mut bytes, &self.changes);
        if self.sealed {
            seal(&mut bytes, MANIFEST);
        }
        bytes
    }
}

struct Disk {
    bytes: Vec<u8>,
    sectors: u64,
    patience: Option<u32>,
}

impl Disk {
    fn place(&mut self, sector: u64, length: usize) -> Result<&mut [u8], IoError> {
        if let Some(left) = &mut self.patience {
            *left = left.checked_sub(1).ok_or(IoError)?;
        }
        let end = sector.checked_add((length / SECTOR_SIZE) as u64);
        if length % SECTOR_SIZE != 0 || end.is_none_or(|end| end > self.sectors) {
            return Err(IoError);
        }
        let at = usize::try_from(sector).map_err(|_| IoError)? * SECTOR_SIZE;
        self.bytes.get_mut(at..at + length).ok_or(IoError)
    }
}

impl BlockDevice for Disk {
    fn sectors(&self) -> u64 {
        self.sectors
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), IoError> {
        into.copy_from_slice(self.place(sector, into.len())?);
        Ok(())
    }

    fn write(&mut self, sector: u64, from: &[u8]) -> Result<(), IoError> {
        self.place(sector, from.len())?.copy_from_slice(from);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.place(0, 0).map(drop)
    }
}

fn install(disk: &mut Disk, catalogue: Catalogue, package: &Package) -> bool {
    let mut install = Install::new(catalogue, [package.name; 16], 7);
    let bytes = package.bytes();
    let done = install.run(disk, &mut bytes.as_slice(), &[], &mut [0; 512]);
    done.is_ok()
}

fn seal_copy(bytes: &mut [u8]) {
    let mut digest = SEAL.digest();
    digest.update(&bytes[..SEAL_AT]);
    digest.update(&bytes[SECTOR_SIZE..COPY_BYTES]);
    let crc = digest.finalize();
    bytes[SEAL_AT..SECTOR_SIZE].copy_from_slice(&crc.to_le_bytes());
}

fuzz_target!(|input: Input| {
    let mut disk = Disk {
        // As much as seven packages of the size here can take.
        bytes: vec![0; 128 * SECTOR_SIZE],
        sectors: HOST_VOLUME_START,
        patience: None,
    };
    let mut buffer = Box::new([0; LOAD_SIZE]);
    for package in input.packages.iter().take(8) {
        let catalogue = match load(&mut disk, &mut buffer) {
            Condition::Present(catalogue) => catalogue,
            _ => Catalogue::new(9),
        };
        install(&mut disk, catalogue, package);
    }
    change(&mut disk.bytes[..ODD_COPY + COPY_BYTES], &input.changes);
    for (copy, sealed) in [0, ODD_COPY].into_iter().zip(input.sealed) {
        let copy = &mut disk.bytes[copy..copy + COPY_BYTES];
        if input.manifests_sealed {
            for manifest in copy[SECTOR_SIZE..].chunks_mut(SECTOR_SIZE) {
                if manifest.starts_with(b"ABpackg") {
                    seal(manifest, MANIFEST);
                }
            }
        }
        if sealed {
            seal_copy(copy);
        }
    }
    if let Some(sectors) = input.sectors {
        disk.sectors = sectors.into();
    }
    disk.patience = input.patience.map(u32::from);

    let condition = load(&mut disk, &mut buffer);
    let Some(catalogue) = condition.catalogue() else {
        return;
    };
    for entry in catalogue.entries() {
        assert!(entry.extent.end() <= HOST_VOLUME_START, "outside the store");
        let mut stored = ExtentReader::new(&mut disk, entry.extent);
        let _ = check_package(&mut stored, &[], &mut [0; 512]);
    }
    let before = catalogue.preferred().map(|entry| entry.package);
    let whole = |disk: &mut Disk, catalogue: &Catalogue| {
        let entry = catalogue.preferred()?;
        let mut stored = ExtentReader::new(disk, entry.extent);
        check_package(&mut stored, &[], &mut [0; 512]).ok()
    };
    disk.patience = None;
    let was_whole = whole(&mut disk, catalogue);
    disk.patience = input.patience.map(u32::from);
    let installed = install(&mut disk, *catalogue, &input.then);
    disk.patience = None;
    let Condition::Present(after) = load(&mut disk, &mut buffer) else {
        panic!("an installation broke the store");
    };
    let preferred = after.preferred().map(|entry| entry.package);
    if installed {
        let wanted = image::Package::parse(&input.then.bytes()).expect("it was installed");
        assert_eq!(preferred, Some(wanted));
    } else if preferred == before && was_whole.is_some() {
        let still = whole(&mut disk, &after);
        assert_eq!(
            still, was_whole,
            "a failed installation hurt the preferred package"
        );
    }
});
