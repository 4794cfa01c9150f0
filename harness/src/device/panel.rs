//! The panel, as a picture file.

use std::fs;
use std::path::{Path, PathBuf};

use devices::event::DeviceEvent;
use devices::panel::{Framebuffer, HEIGHT, PanelVirtio, WIDTH};
use devices::time::Nanos;
use emulator::serve::Hardware;
use emulator::service::Visit;

use super::{line, unknown};
use crate::golden::Panel as Picture;

/// The panel, its port, and where its picture goes.
#[derive(Debug)]
pub struct Panel {
    port: PanelVirtio,
    glass: Framebuffer,
    file: PathBuf,
    /// Flushes of which the file knows.
    drawn: u64,
}

impl Panel {
    /// What the commands are.
    pub const HELP: &str = "draw                     writes the picture again";

    /// A panel whose picture goes to `file` whenever the driver flushes it.
    pub fn new(file: &Path) -> Panel {
        Panel {
            port: PanelVirtio::default(),
            glass: Framebuffer::default(),
            file: file.to_path_buf(),
            drawn: 0,
        }
    }

    /// Writes the picture, whole or not at all.
    fn draw(&self) -> Result<(), String> {
        let pixels = self.glass.pixels().chunks_exact(4);
        let picture = Picture {
            slot: String::new(),
            width: WIDTH,
            height: HEIGHT,
            rgb: pixels
                .flat_map(|pixel| pixel.iter().take(3))
                .copied()
                .collect(),
        };
        let bytes = picture.encode()?;
        let mut new = self.file.clone().into_os_string();
        new.push(".new");
        fs::write(&new, bytes)
            .and_then(|()| fs::rename(&new, &self.file))
            .map_err(|error| format!("{} cannot be written: {error}", self.file.display()))
    }
}

impl Hardware for Panel {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        visit.visit(&mut self.port, &mut &mut self.glass)
    }

    fn heard(&mut self, _now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>) {
        news.extend(events.drain(..).filter_map(line));
        if self.glass.flushes() != self.drawn {
            self.drawn = self.glass.flushes();
            match self.draw() {
                Ok(()) => news.push(format!("panel-drawn flushes={}", self.drawn)),
                Err(problem) => news.push(format!("panel-not-drawn cause={problem:?}")),
            }
        }
    }

    fn command(
        &mut self,
        _now: Nanos,
        command: &str,
        _news: &mut Vec<String>,
    ) -> Result<String, String> {
        match command {
            "draw" => self.draw().map(|()| String::new()),
            "status" => Ok(format!("panel; flushed {} times", self.glass.flushes())),
            _ => unknown(command),
        }
    }

    fn put_away(&mut self, _now: Nanos) {}
}
