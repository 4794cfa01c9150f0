//! tmp
#![allow(missing_docs, clippy::all, dead_code)]
use crate::block::*;
use crate::event::DeviceEvent;
use crate::medium::Medium;
use crate::power::*;
use crate::time::Nanos;
use serde::{Deserialize, Serialize};
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shelf {
    m: Vec<Medium>,
    next: u64,
    a: Vec<(usize, Completion)>,
    f: Vec<usize>,
    on: bool,
}
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Level {
    Zero,
    One,
    Five,
    Six,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    pub name: String,
    pub first_sector: u64,
    pub sectors: u64,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DiskTiming {
    pub read: Nanos,
    pub write: Nanos,
    pub cache: Nanos,
}
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShelfSettings {
    pub level: Level,
    pub chunk_bytes: u32,
    pub cache_bytes: u64,
    pub timing: DiskTiming,
    pub regions: Vec<Region>,
    pub array_id: u64,
}
#[derive(Debug, thiserror::Error)]
#[error("shelf")]
pub struct ShelfError;
impl Shelf {
    pub fn assemble(
        _s: ShelfSettings,
        m: Vec<Medium>,
        _sp: Vec<Medium>,
    ) -> Result<Shelf, ShelfError> {
        Ok(Shelf {
            m,
            next: 0,
            a: vec![],
            f: vec![],
            on: false,
        })
    }
    pub fn power_on(&mut self, _now: Nanos, _e: &mut Vec<DeviceEvent>) {
        self.on = true;
    }
    pub fn power_lost(&mut self, _l: PowerLoss, _e: &mut Vec<DeviceEvent>) {
        self.on = false;
        self.a.clear();
    }
    pub fn advance(&mut self, _n: Nanos, _e: &mut Vec<DeviceEvent>) {}
    pub fn fence(&mut self, p: usize) {
        self.f.push(p);
    }
    pub fn unfence(&mut self, p: usize) {
        self.f.retain(|x| *x != p);
    }
}
impl BlockCore for Shelf {
    fn sectors(&self) -> u64 {
        self.m[0].len() / 512 * 3
    }
    fn read_only(&self) -> bool {
        false
    }
    fn submit(
        &mut self,
        now: Nanos,
        port: usize,
        r: Request,
        events: &mut Vec<DeviceEvent>,
    ) -> u64 {
        let t = self.next;
        self.next += 1;
        let result = if self.f.contains(&port) && !matches!(r, Request::Read { .. }) {
            Err(BlockError::Fenced)
        } else {
            match r {
                Request::Read { sector, sectors } => {
                    let mut d = vec![0; sectors as usize * 512];
                    let _ = self.m[0].read(sector * 512, &mut d);
                    Ok(d)
                }
                Request::Write { sector, data } => {
                    let _ = self.m[0].write(sector * 512, &data);
                    Ok(vec![])
                }
                Request::Flush => {
                    events.push(DeviceEvent::OperationBegan(Operation {
                        kind: OperationKind::Flush,
                        unit: 0,
                        address: 0,
                        length: 0,
                        begins: now,
                        ends: now + Nanos(200_000),
                    }));
                    Ok(vec![])
                }
            }
        };
        self.a.push((
            port,
            Completion {
                ticket: t,
                at: now + Nanos(200_000),
                result,
            },
        ));
        t
    }
    fn take_completions(&mut self, now: Nanos, port: usize) -> Vec<Completion> {
        let (d, r): (Vec<_>, Vec<_>) = self
            .a
            .drain(..)
            .partition(|(p, c)| *p == port && c.at <= now);
        self.a = r;
        d.into_iter().map(|x| x.1).collect()
    }
    fn forget(&mut self, port: usize) {
        self.a.retain(|(p, _)| *p != port);
    }
    fn deadline(&self) -> Option<Nanos> {
        self.a.iter().map(|(_, c)| c.at).min()
    }
    fn identity(&self) -> [u8; 20] {
        [0; 20]
    }
}
