//! The media of a failed case, as files.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use devices::shelf::Shelf;
use emulator::array::slot_letter;

use crate::play::Player;
use crate::runner::PlannedCut;

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// Where below `folder` the media of a case are left.
pub fn case_folder(folder: &Path, cuts: &[PlannedCut]) -> PathBuf {
    let name: Vec<String> = cuts
        .iter()
        .map(|cut| cut.to_string().replace(':', "-"))
        .collect();
    folder.join(name.join("+"))
}

/// Leaves every flash chip and the volume of `player` under `folder`. A disk that is full costs
/// only these files.
pub(super) fn keep_media(player: &Player<'_>, folder: &Path, cuts: &[PlannedCut]) {
    let folder = case_folder(folder, cuts);
    if fs::create_dir_all(&folder).is_err() {
        return;
    }
    let array = &player.stage().array;
    for (slot, board) in array.boards().iter().enumerate() {
        let Some(controller) = board.controller() else {
            continue;
        };
        for (index, chip) in controller.flash.chips().iter().enumerate() {
            let mut bytes = vec![0; usize::try_from(chip.medium().len()).unwrap_or(0)];
            if chip.medium().read(0, &mut bytes).is_ok() {
                let file = format!("{}-flash{index}.bin", slot_letter(slot));
                // Best effort, as above.
                let _ = fs::write(folder.join(file), bytes);
            }
        }
    }
    let shelf = &array.shared().shelf;
    // Best effort, as above.
    let _ = keep_volume(shelf, &folder.join("volume.bin"));
}

/// Writes the volume; what is blank in it stays a hole, because most of it is.
fn keep_volume(shelf: &Shelf, file: &Path) -> io::Result<()> {
    let file = fs::File::create(file)?;
    let length = shelf.sectors().saturating_mul(512);
    file.set_len(length)?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < length {
        let bytes = PIECE.min(usize::try_from(length - at).unwrap_or(PIECE));
        let piece = piece.get_mut(..bytes).unwrap_or_default();
        shelf.peek(at / 512, piece);
        if piece.iter().any(|byte| *byte != 0) {
            file.write_all_at(piece, at)?;
        }
        at += PIECE as u64;
    }
    Ok(())
}
