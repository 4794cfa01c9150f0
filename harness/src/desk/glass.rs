//! A panel's picture as text: one braille letter for two by four pixels.

/// Where the dots of a braille letter are, row by row, as bits of its code.
const DOTS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// Brightness of red, green and blue together from which a pixel counts as lit.
const LIT: u32 = 200;

/// Draws an RGBA picture of `width` pixels a row.
pub(super) fn draw(pixels: &[u8], width: usize) -> String {
    let height = pixels.len() / 4 / width.max(1);
    let lit = |x: usize, y: usize| {
        let at = 4 * (y * width + x);
        pixels
            .get(at..at + 3)
            .is_some_and(|rgb| rgb.iter().map(|c| u32::from(*c)).sum::<u32>() > LIT)
    };
    let mut text = String::new();
    for top in (0..height).step_by(4) {
        let mut row = String::new();
        for left in (0..width).step_by(2) {
            let mut code = 0x2800;
            for (y, dots) in DOTS.iter().enumerate() {
                for (x, dot) in dots.iter().enumerate() {
                    if lit(left + x, top + y) {
                        code |= dot;
                    }
                }
            }
            row.push(char::from_u32(code).unwrap_or(' '));
        }
        text.push_str(row.trim_end_matches('\u{2800}'));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lit_pixels_are_dots() {
        let mut pixels = vec![0; 4 * 4 * 4];
        pixels[..3].fill(255);
        pixels[4 * (3 * 4 + 1)..][..3].fill(255);
        assert_eq!(draw(&pixels, 4), "\u{2881}\n");
    }
}
