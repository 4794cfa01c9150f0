//! What an operator panel shows: the state of the library.

use core::fmt::Write;

use distribution::{Identity, Module, VersionTag};
use embedded_graphics::mono_font::MonoTextStyleBuilder;
use embedded_graphics::mono_font::ascii::{FONT_6X10, FONT_10X20};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyle, Rectangle};
use embedded_graphics::text::{Baseline, Text};
use heapless::String;
use node::Handover;
use runtime::board_control::BoardControl;
use runtime::panel::Panel;
use runtime::{can, number};

use crate::Duty;
use crate::library::{Census, LOOK_NS, Library};

/// How the panel looks; one build differs from another in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Lines of text.
    Lines,
    /// A bar in the colour of the state, then the types one by one.
    Banner,
}

/// A panel, what is on it, and what there is to be shown.
#[derive(Debug)]
pub(crate) struct Show {
    panel: Option<Panel>,
    layout: Layout,
    identity: Identity,
    version: VersionTag,
    library: Library,
    shown: Option<Census>,
    look_ns: u64,
}

impl Show {
    /// Opens the panel. A node whose panel does not work is still a node.
    pub(crate) fn open(control: &BoardControl, layout: Layout, handover: &Handover) -> Show {
        let panel = match Panel::open(number::PANEL) {
            Ok(panel) => Some(panel),
            Err(error) => {
                control.trace(format_args!("panel-failed cause={error}"));
                None
            }
        };
        Show {
            panel,
            layout,
            identity: handover.identity,
            version: handover.version,
            library: Library::new(control.now_ns(), &handover.identity),
            shown: None,
            look_ns: 0,
        }
    }
}

impl Duty for Show {
    fn frame(&mut self, now_ns: u64, frame: &can::Frame) {
        self.library.frame(now_ns, frame.id(), frame.data());
    }

    fn deadline_ns(&self) -> u64 {
        match self.panel {
            Some(_) => self.look_ns,
            None => u64::MAX,
        }
    }

    fn tick(&mut self, control: &BoardControl) {
        let now_ns = control.now_ns();
        let Some(panel) = self.panel.as_mut().filter(|_| now_ns >= self.look_ns) else {
            return;
        };
        self.look_ns = now_ns.saturating_add(LOOK_NS);
        let census = self.library.census(now_ns, self.identity.node);
        if self.shown == Some(census) {
            return;
        }
        // Drawing into memory cannot fail.
        let Ok(()) = draw(panel, self.layout, self.version, &census);
        match panel.present() {
            Ok(true) => self.shown = Some(census),
            // The picture before is still on its way: with the next look.
            Ok(false) => {}
            Err(error) => {
                control.trace(format_args!("panel-failed cause={error}"));
                self.panel = None;
            }
        }
    }
}

/// The colours of the status light: green, amber, red.
fn color(census: &Census) -> Rgb888 {
    if census.failed + census.silent > 0 {
        Rgb888::new(0xe0, 0x30, 0x20)
    } else if census.booting > 0 {
        Rgb888::new(0xff, 0xb0, 0x00)
    } else {
        Rgb888::new(0x20, 0xc0, 0x40)
    }
}

type Line = String<40>;

fn draw<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    layout: Layout,
    version: VersionTag,
    census: &Census,
) -> Result<(), D::Error> {
    target.clear(Rgb888::BLACK)?;
    match layout {
        Layout::Lines => lines(target, version, census),
        Layout::Banner => banner(target, version, census),
    }
}

fn lines<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    version: VersionTag,
    census: &Census,
) -> Result<(), D::Error> {
    let large = MonoTextStyleBuilder::new().font(&FONT_10X20);
    let style = large.text_color(Rgb888::WHITE).build();
    let state = large.text_color(color(census)).build();
    // What does not fit a line is cut.
    let mut line = Line::new();
    let _cut = write!(line, "LIBRARY  {version}");
    text(target, &line, Point::new(10, 8), style)?;
    line.clear();
    let _cut = write!(line, "UP {}  BOOTING {}", census.up, census.booting);
    text(target, &line, Point::new(10, 48), state)?;
    line.clear();
    let _cut = write!(line, "FAILED {}  SILENT {}", census.failed, census.silent);
    text(target, &line, Point::new(10, 78), state)
}

fn banner<D: DrawTarget<Color = Rgb888>>(
    target: &mut D,
    version: VersionTag,
    census: &Census,
) -> Result<(), D::Error> {
    Rectangle::new(Point::zero(), Size::new(256, 32))
        .into_styled(PrimitiveStyle::with_fill(color(census)))
        .draw(target)?;
    let large = MonoTextStyleBuilder::new().font(&FONT_10X20);
    let small = MonoTextStyleBuilder::new().font(&FONT_6X10);
    let style = small.text_color(Rgb888::WHITE).build();
    let mut line = Line::new();
    let _cut = write!(line, "LIBRARY {version}");
    if let Some(master) = census.master {
        let _cut = write!(line, "  MASTER {master}");
    }
    text(
        target,
        &line,
        Point::new(8, 6),
        large.text_color(Rgb888::BLACK).build(),
    )?;
    line.clear();
    let Census {
        up,
        booting,
        failed,
        silent,
        ..
    } = census;
    let _cut = write!(
        line,
        "up {up} booting {booting} failed {failed} silent {silent}"
    );
    text(target, &line, Point::new(8, 38), style)?;
    let mut at = Point::new(8, 56);
    for (module, up) in Module::ALL.iter().zip(census.up_by_module) {
        line.clear();
        let _cut = write!(line, "{:<16}{up:>4}", module.as_str());
        text(target, &line, at, style)?;
        at.y += 11;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use embedded_graphics::mock_display::MockDisplay;

    use super::*;

    fn drawn(layout: Layout, version: [u8; 4], census: &Census) -> MockDisplay<Rgb888> {
        let mut display = MockDisplay::new();
        display.set_allow_overdraw(true);
        display.set_allow_out_of_bounds_drawing(true);
        draw(
            &mut display,
            layout,
            VersionTag::from_bytes(version),
            census,
        )
        .unwrap();
        display
    }

    #[test]
    fn layouts_and_states_look_different() {
        let well = Census::default();
        let booting = Census { booting: 1, ..well };
        let failed = Census {
            failed: 1,
            ..booting
        };
        let one = [1, 0, 0, 0];
        assert_ne!(
            drawn(Layout::Lines, one, &well),
            drawn(Layout::Banner, one, &well)
        );
        for layout in [Layout::Lines, Layout::Banner] {
            assert_ne!(drawn(layout, one, &well), drawn(layout, one, &booting));
            assert_ne!(drawn(layout, one, &booting), drawn(layout, one, &failed));
        }
        assert_eq!(color(&failed), Rgb888::new(0xe0, 0x30, 0x20));
    }
}
