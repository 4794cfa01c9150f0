//! What the panel shows: slot, version, role, state.

use core::fmt::Write;

use cluster::Role;
use embedded_graphics::mono_font::MonoTextStyleBuilder;
use embedded_graphics::mono_font::ascii::{FONT_9X15_BOLD, FONT_10X20};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};
use runtime::panel::Panel;

use crate::Running;
use crate::hardware::Hardware;

/// How the panel looks; one build differs from another in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Four lines of text.
    Lines,
    /// A bar in the colour of the state, then slot and version large.
    Banner,
}

/// What the controller is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// On its way up.
    Booting,
    /// Storing an image in a bank.
    Reflashing,
    /// Serving, or ready to.
    Operational,
    /// Up, but the application must not run.
    Service,
}

impl Phase {
    fn text(self) -> &'static str {
        match self {
            Phase::Booting => "BOOTING",
            Phase::Reflashing => "RE-FLASHING",
            Phase::Operational => "OPERATIONAL",
            Phase::Service => "SERVICE",
        }
    }

    /// The colours of the status light on arrays of the time: green, amber.
    fn color(self) -> Rgb888 {
        match self {
            Phase::Operational => Rgb888::new(0x20, 0xc0, 0x40),
            Phase::Booting | Phase::Reflashing => Rgb888::new(0xff, 0xb0, 0x00),
            Phase::Service => Rgb888::new(0xe0, 0x30, 0x20),
        }
    }
}

/// Everything the picture depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contents {
    phase: Phase,
    role: Option<Role>,
}

/// The panel and what is on it.
#[derive(Debug)]
pub(crate) struct Picture {
    panel: Panel,
    layout: Layout,
    shown: Option<Contents>,
}

impl Picture {
    pub(crate) fn new(panel: Panel, layout: Layout) -> Picture {
        Picture {
            panel,
            layout,
            shown: None,
        }
    }

    fn show(&mut self, slot: u8, version: &str, contents: Contents) {
        if self.shown == Some(contents) {
            return;
        }
        let words = Words {
            letter: char::from(b'A'.saturating_add(slot)),
            version,
            contents,
        };
        // Drawing into memory cannot fail, and a panel that refuses a picture is not worth a boot.
        let Ok(()) = match self.layout {
            Layout::Lines => lines(&mut self.panel, &words),
            Layout::Banner => banner(&mut self.panel, &words),
        };
        // False: the picture before is still on its way; the next call tries again.
        if self.panel.present() == Ok(true) {
            self.shown = Some(contents);
        }
    }
}

impl Hardware {
    /// Shows what this controller is doing.
    pub(crate) fn show(&self, phase: Phase, running: &Running, role: Option<Role>) {
        if let Some(picture) = self.picture.borrow_mut().as_mut() {
            let version = running.version;
            picture.show(self.slot(), version.as_str(), Contents { phase, role });
        }
    }
}

struct Words<'a> {
    letter: char,
    version: &'a str,
    contents: Contents,
}

impl Words<'_> {
    fn role(&self) -> &'static str {
        match self.contents.role {
            Some(Role::Master) => "MASTER",
            Some(Role::Alternate) => "ALTERNATE",
            None => "",
        }
    }
}

const WHITE: Rgb888 = Rgb888::WHITE;
const BLACK: Rgb888 = Rgb888::BLACK;

fn lines<D: DrawTarget<Color = Rgb888>>(target: &mut D, words: &Words<'_>) -> Result<(), D::Error> {
    target.clear(BLACK)?;
    let style = MonoTextStyleBuilder::new()
        .font(&FONT_10X20)
        .text_color(WHITE)
        .build();
    let state = MonoTextStyleBuilder::from(&style)
        .text_color(words.contents.phase.color())
        .build();
    let mut line = Line::new();
    let _cut = write!(line, "CONTROLLER {}", words.letter);
    text(target, line.as_str(), Point::new(10, 8), style)?;
    let mut line = Line::new();
    let _cut = write!(line, "VERSION {}", words.version);
    text(target, line.as_str(), Point::new(10, 38), style)?;
    text(target, words.role(), Point::new(10, 68), style)?;
    text(
        target,
        words.contents.phase.text(),
        Point::new(10, 98),
        state,
    )
}

fn banner<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    words: &Words<'_>,
) -> Result<(), D::Error> {
    target.clear(BLACK)?;
    let color = words.contents.phase.color();
    Rectangle::new(Point::zero(), Size::new(256, 32))
        .into_styled(PrimitiveStyle::with_fill(color))
        .draw(target)?;
    let on_bar = MonoTextStyleBuilder::new()
        .font(&FONT_10X20)
        .text_color(BLACK)
        .build();
    let style = MonoTextStyleBuilder::from(&on_bar)
        .text_color(WHITE)
        .build();
    let small = MonoTextStyleBuilder::new()
        .font(&FONT_9X15_BOLD)
        .text_color(color)
        .build();
    text(
        target,
        words.contents.phase.text(),
        Point::new(8, 6),
        on_bar,
    )?;
    let mut line = Line::new();
    let _cut = write!(line, "{}  {}", words.letter, words.version);
    text(target, line.as_str(), Point::new(8, 52), style)?;
    text(target, words.role(), Point::new(8, 96), small)
}

fn text<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    words: &str,
    at: Point,
    style: embedded_graphics::mono_font::MonoTextStyle<'_, Rgb888>,
) -> Result<(), D::Error> {
    Text::with_baseline(words, at, style, Baseline::Top).draw(target)?;
    Ok(())
}

/// A short text in the making; what does not fit is cut.
struct Line {
    bytes: [u8; 32],
    length: usize,
}

impl Line {
    fn new() -> Line {
        Line {
            bytes: [0; 32],
            length: 0,
        }
    }

    fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            let place = self.bytes.get_mut(self.length).ok_or(core::fmt::Error)?;
            *place = byte;
            self.length += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use embedded_graphics::mock_display::MockDisplay;

    use super::*;

    /// Pixels that differ between two pictures, on a display that takes everything.
    fn drawn(layout: Layout, phase: Phase, role: Option<Role>) -> MockDisplay<Rgb888> {
        let mut display = MockDisplay::new();
        display.set_allow_overdraw(true);
        display.set_allow_out_of_bounds_drawing(true);
        let words = Words {
            letter: 'A',
            version: "2.0",
            contents: Contents { phase, role },
        };
        match layout {
            Layout::Lines => lines(&mut display, &words),
            Layout::Banner => banner(&mut display, &words),
        }
        .unwrap();
        display
    }

    #[test]
    fn the_two_layouts_differ_and_so_do_states() {
        let up = Phase::Operational;
        assert_ne!(
            drawn(Layout::Lines, up, None),
            drawn(Layout::Banner, up, None)
        );
        assert_ne!(
            drawn(Layout::Banner, up, None),
            drawn(Layout::Banner, Phase::Booting, None)
        );
    }
}
