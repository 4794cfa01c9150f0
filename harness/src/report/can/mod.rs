//! The frames of CAN buses as files: `candump -L` logs, and pcapng for Wireshark.

mod candump;
mod pcapng;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use devices::can::{BusError, Frame};
use devices::time::Nanos;

use self::pcapng::Pcapng;
use super::fan::{Sink, SinkError};
use super::record::{Line, Record};

/// SocketCAN's identifier flags (linux/can.h).
const CAN_EFF_FLAG: u32 = 0x8000_0000;
const CAN_RTR_FLAG: u32 = 0x4000_0000;
const CAN_ERR_FLAG: u32 = 0x2000_0000;
/// Error classes and places of error frames (linux/can/error.h).
const CAN_ERR_PROT: u32 = 0x8;
const CAN_ERR_ACK: u32 = 0x20;
const CAN_ERR_PROT_BIT: u8 = 0x1;
const CAN_ERR_PROT_FORM: u8 = 0x2;
const CAN_ERR_PROT_STUFF: u8 = 0x4;
const CAN_ERR_PROT_LOC_CRC_SEQ: u8 = 0x8;

/// One frame as it was on the bus.
struct Seen<'l> {
    time: Nanos,
    segment: &'l str,
    frame: &'l Frame,
    error: Option<BusError>,
}

/// Identifier and data of the error frame by which SocketCAN tells of an error.
fn error_frame(error: BusError) -> (u32, [u8; 8]) {
    let (class, kind, place) = match error {
        BusError::Bit => (CAN_ERR_PROT, CAN_ERR_PROT_BIT, 0),
        BusError::Stuff => (CAN_ERR_PROT, CAN_ERR_PROT_STUFF, 0),
        BusError::Crc => (CAN_ERR_PROT, 0, CAN_ERR_PROT_LOC_CRC_SEQ),
        BusError::Form => (CAN_ERR_PROT, CAN_ERR_PROT_FORM, 0),
        BusError::Acknowledgement => (CAN_ERR_ACK, 0, 0),
    };
    (CAN_ERR_FLAG | class, [0, 0, kind, place, 0, 0, 0, 0])
}

/// Writes `SCENARIO.log` and `SCENARIO.pcapng` of every scenario with a CAN bus into a folder.
#[derive(Debug)]
pub struct CanTraces {
    folder: PathBuf,
    open: BTreeMap<String, Files>,
}

#[derive(Debug)]
struct Files {
    log: BufWriter<File>,
    pcapng: Pcapng<BufWriter<File>>,
}

impl CanTraces {
    /// Writes into `folder`, which is made.
    ///
    /// # Errors
    /// It cannot be.
    pub fn create(folder: &Path) -> Result<CanTraces, SinkError> {
        let traces = CanTraces {
            folder: folder.to_path_buf(),
            open: BTreeMap::new(),
        };
        fs::create_dir_all(folder).map_err(|source| traces.failed(source))?;
        Ok(traces)
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError {
            name: self.folder.display().to_string(),
            source,
        }
    }

    fn write(&mut self, scenario: &str, seen: &Seen<'_>) -> io::Result<()> {
        if !self.open.contains_key(scenario) {
            let file = |end| {
                let name = format!("{scenario}.{end}");
                File::create(self.folder.join(name)).map(BufWriter::new)
            };
            let files = Files {
                log: file("log")?,
                pcapng: Pcapng::begin(file("pcapng")?)?,
            };
            self.open.insert(scenario.to_owned(), files);
        }
        let Some(files) = self.open.get_mut(scenario) else {
            return Ok(());
        };
        writeln!(files.log, "{}", candump::line(seen))?;
        files.pcapng.write(seen)
    }

    fn finish(&mut self, scenario: &str) -> io::Result<()> {
        match self.open.remove(scenario) {
            Some(mut files) => {
                files.log.flush()?;
                files.pcapng.flush()
            }
            None => Ok(()),
        }
    }
}

impl Sink for CanTraces {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        let Some(scenario) = &line.scenario else {
            return Ok(());
        };
        let result = match &line.record {
            Record::CanFrame {
                time,
                segment,
                frame,
                error,
                ..
            } => {
                let (time, error) = (*time, *error);
                let seen = Seen {
                    time,
                    segment,
                    frame,
                    error,
                };
                self.write(scenario, &seen)
            }
            Record::ScenarioFinished { .. } => self.finish(scenario),
            _ => Ok(()),
        };
        result.map_err(|source| self.failed(source))
    }

    fn wants_can_frames(&self) -> bool {
        true
    }
}
