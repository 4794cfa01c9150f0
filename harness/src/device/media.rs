//! A package in the service media slot, as a read-only disk.

use std::path::Path;

use devices::block::BlockVirtio;
use devices::event::DeviceEvent;
use devices::service_media::ServiceMedia;
use devices::time::Nanos;
use emulator::serve::Hardware;
use emulator::service::Visit;

use super::{DeviceError, line, unknown};
use crate::files::{LARGEST_FIRMWARE_BYTES, read_binary};

/// The slot and its port.
#[derive(Debug)]
pub struct Media {
    port: BlockVirtio<ServiceMedia>,
    slot: ServiceMedia,
}

impl Media {
    /// What the commands are.
    pub const HELP: &str = "\
insert FILE              puts a medium in
eject                    takes it out";

    /// A slot with this file in it, or empty.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn new(file: Option<&Path>) -> Result<Media, DeviceError> {
        let mut media = Media {
            port: BlockVirtio::new(0),
            slot: ServiceMedia::default(),
        };
        if let Some(file) = file {
            media.insert(file).map_err(DeviceError::File)?;
        }
        Ok(media)
    }

    fn insert(&mut self, file: &Path) -> Result<(), String> {
        let bytes = read_binary(file, LARGEST_FIRMWARE_BYTES)
            .map_err(|it| format!("{}: {}; {}", file.display(), it.what, it.remedy))?;
        let label = file.file_name().unwrap_or_default().to_string_lossy();
        self.slot.insert(&label, bytes.into());
        Ok(())
    }
}

impl Hardware for Media {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        visit.visit(&mut self.port, &mut &mut self.slot)
    }

    fn heard(&mut self, _now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>) {
        news.extend(events.drain(..).filter_map(line));
    }

    fn command(
        &mut self,
        _now: Nanos,
        command: &str,
        news: &mut Vec<String>,
    ) -> Result<String, String> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("insert", file) if !file.is_empty() => {
                self.insert(Path::new(file.trim()))?;
                news.push(format!("media-inserted file={:?}", file.trim()));
                Ok(String::new())
            }
            ("eject", "") => {
                self.slot.eject();
                news.push("media-ejected".to_owned());
                Ok(String::new())
            }
            ("status", "") => Ok(format!("media {}", self.slot.label().unwrap_or("none"))),
            _ => unknown(command),
        }
    }

    fn put_away(&mut self, _now: Nanos) {}
}
