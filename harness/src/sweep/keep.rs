//! The media of a failed case, as files.

use std::fs;
use std::path::Path;

use emulator::array::slot_letter;

use crate::play::Player;
use crate::runner::PlannedCut;

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// Leaves every flash chip and the volume of `player` under `folder`. A disk that is full costs
/// only these files.
pub(super) fn keep_media(player: &Player<'_>, folder: &Path, cuts: &[PlannedCut]) {
    let name: Vec<String> = cuts
        .iter()
        .map(|cut| cut.to_string().replace(':', "-"))
        .collect();
    let folder = folder.join(name.join("+"));
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
    let length = usize::try_from(shelf.sectors().saturating_mul(512)).unwrap_or(0);
    let mut volume = vec![0; length];
    for (nth, piece) in volume.chunks_mut(PIECE).enumerate() {
        shelf.peek((nth * PIECE / 512) as u64, piece);
    }
    let _ = fs::write(folder.join("volume.bin"), volume);
}
