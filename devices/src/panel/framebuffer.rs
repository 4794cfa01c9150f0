use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{HEIGHT, WIDTH};

const BYTES: usize = WIDTH as usize * HEIGHT as usize * 4;

/// The core: what the glass shows. It keeps the last picture over resets and loses it with power.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Framebuffer {
    /// Shared between a panel and its checkpoints.
    pixels: Arc<Vec<u8>>,
    flushes: u64,
}

impl Default for Framebuffer {
    fn default() -> Self {
        Framebuffer {
            pixels: Arc::new(black()),
            flushes: 0,
        }
    }
}

impl Framebuffer {
    /// [`HEIGHT`] rows of [`WIDTH`] pixels of red, green, blue, alpha; all opaque.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// How often a picture, or a part of it, was put on the glass.
    pub fn flushes(&self) -> u64 {
        self.flushes
    }

    /// Power is gone: the glass is black.
    pub fn power_lost(&mut self) {
        self.blank();
    }

    pub(super) fn blank(&mut self) {
        *Arc::make_mut(&mut self.pixels) = black();
    }

    pub(super) fn flushed(&mut self) {
        self.flushes = self.flushes.saturating_add(1);
    }

    /// Puts pixels into row `y` from column `x` on; what lies outside the glass is not shown.
    pub(super) fn put_row(&mut self, x: u32, y: u32, row: impl Iterator<Item = [u8; 3]>) {
        if x >= WIDTH || y >= HEIGHT {
            return;
        }
        let (x, y) = (x as usize, y as usize);
        let width = WIDTH as usize;
        let pixels = Arc::make_mut(&mut self.pixels);
        // The glass is of full size unless a checkpoint file was tampered with.
        let Some(line) = pixels.get_mut((y * width + x) * 4..(y + 1) * width * 4) else {
            return;
        };
        for (pixel, [red, green, blue]) in line.chunks_exact_mut(4).zip(row) {
            pixel.copy_from_slice(&[red, green, blue, 0xff]);
        }
    }
}

fn black() -> Vec<u8> {
    [0, 0, 0, 0xff].repeat(BYTES / 4)
}
