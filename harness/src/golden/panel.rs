use std::fs;
use std::io::Cursor;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Encoder, Limits, Transformations};

/// What a panel showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panel {
    /// Whose: `A` …
    pub slot: String,
    /// Pixels a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green, blue for each pixel, row by row.
    pub rgb: Vec<u8>,
}

/// Memory that decoding a picture may take; a panel of 256 × 128 needs a thousandth.
const DECODED_MAX: usize = 32 << 20;
/// Largest picture file worth reading.
const FILE_MAX: u64 = 4 << 20;

impl Panel {
    /// The picture as PNG.
    ///
    /// # Errors
    /// `rgb` is not as long as width and height say.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, self.width, self.height);
        encoder.set_color(ColorType::Rgb);
        encoder.set_depth(BitDepth::Eight);
        let mut writer = encoder.write_header().map_err(|error| error.to_string())?;
        writer
            .write_image_data(&self.rgb)
            .map_err(|error| error.to_string())?;
        writer.finish().map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Reads a picture; only its pixels count, however they are stored.
    ///
    /// # Errors
    /// It is no picture, or too large to be one of a panel.
    pub fn decode(slot: &str, bytes: &[u8]) -> Result<Panel, String> {
        let limits = Limits { bytes: DECODED_MAX };
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_transformations(Transformations::normalize_to_color8());
        let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
        let size = reader
            .output_buffer_size()
            .filter(|size| *size <= DECODED_MAX)
            .ok_or("too large for a panel")?;
        let mut pixels = vec![0; size];
        let info = reader
            .next_frame(&mut pixels)
            .map_err(|error| error.to_string())?;
        let used = pixels.get(..info.buffer_size()).unwrap_or_default();
        let rgb: Vec<u8> = match info.color_type {
            ColorType::Rgb => used.to_vec(),
            ColorType::Rgba => used
                .chunks_exact(4)
                .flat_map(|p| p.iter().copied().take(3))
                .collect(),
            ColorType::Grayscale => used.iter().flat_map(|grey| [*grey; 3]).collect(),
            ColorType::GrayscaleAlpha => used
                .chunks_exact(2)
                .flat_map(|p| p.iter().take(1).flat_map(|grey| [*grey; 3]))
                .collect(),
            ColorType::Indexed => return Err("its palette was not resolved".to_owned()),
        };
        Ok(Panel {
            slot: slot.to_owned(),
            width: info.width,
            height: info.height,
            rgb,
        })
    }

    /// How this picture differs from the accepted one at `path`; nothing: not at all.
    pub(super) fn difference(&self, path: &Path) -> Option<String> {
        let name = path.display();
        let read = || {
            let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
            if length > FILE_MAX {
                return Err("too large for a panel".to_owned());
            }
            fs::read(path).map_err(|error| error.to_string())
        };
        let accepted = match read().and_then(|bytes| Panel::decode(&self.slot, &bytes)) {
            Ok(accepted) => accepted,
            Err(error) => return Some(format!("panel of {}: {name}: {error}\n", self.slot)),
        };
        if (accepted.width, accepted.height) != (self.width, self.height) {
            return Some(format!(
                "panel of {}: {name} has {} × {} pixels, the panel {} × {}\n",
                self.slot, accepted.width, accepted.height, self.width, self.height
            ));
        }
        let pairs = accepted.rgb.chunks(3).zip(self.rgb.chunks(3));
        let different: Vec<usize> = pairs
            .enumerate()
            .filter(|(_, (accepted, found))| accepted != found)
            .map(|(index, _)| index)
            .collect();
        let first = different.first()?;
        let width = usize::try_from(self.width).unwrap_or(1).max(1);
        Some(format!(
            "panel of {}: {} pixels differ from {name}, the first at column {} row {}\n",
            self.slot,
            different.len(),
            first % width,
            first / width
        ))
    }
}
