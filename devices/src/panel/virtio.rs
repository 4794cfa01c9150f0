use serde::{Deserialize, Serialize};

use super::framebuffer::Framebuffer;
use super::resource::Resources;
use super::wire::{Command, GpuError, Success, command};
use crate::time::Nanos;
use crate::virtio::{Chain, DeviceIo, F_VERSION_1, GuestMemory, VirtioDevice};

/// GPU (virtio 1.4 §5.7).
pub const DEVICE_ID: u32 = 16;

const CONTROL: usize = 0;
const CURSOR: usize = 1;
const QUEUE_SIZE: u16 = 64;

/// The virtio side: the resources of the driver. It knows no 3D, EDID, blobs or capability sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PanelVirtio {
    resources: Resources,
}

impl VirtioDevice for PanelVirtio {
    type Core<'a> = &'a mut Framebuffer;

    fn device_id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self, _core: &&mut Framebuffer) -> u64 {
        F_VERSION_1
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    /// `events_read`, `events_clear`, `num_scanouts`, `num_capsets` (virtio 1.4 §5.7.4).
    fn config(&self, _core: &&mut Framebuffer) -> Vec<u8> {
        [0, 0, 1, 0]
            .into_iter()
            .flat_map(u32::to_le_bytes)
            .collect()
    }

    /// The resources go; the glass keeps its picture until somebody draws a new one.
    fn reset(&mut self, _core: &mut &mut Framebuffer) {
        *self = PanelVirtio::default();
    }

    fn service(&mut self, core: &mut &mut Framebuffer, io: &mut DeviceIo<'_>) {
        for queue in [CONTROL, CURSOR] {
            for _ in 0..QUEUE_SIZE {
                let Some(chain) = io.take(queue) else { break };
                self.answer(core, io, queue, &chain);
            }
        }
    }

    fn deadline(&self, _core: &&mut Framebuffer) -> Option<Nanos> {
        None
    }

    /// Everything is answered in the call that takes it.
    fn in_flight(&self, _queue: usize) -> usize {
        0
    }
}

impl PanelVirtio {
    fn answer(
        &mut self,
        core: &mut Framebuffer,
        io: &mut DeviceIo<'_>,
        queue: usize,
        chain: &Chain,
    ) {
        let command = Command::read(io.memory, chain);
        let outcome = match command.kind() {
            None => Err(GpuError::Unspecified),
            Some(kind) if queue == CURSOR => cursor(kind),
            Some(kind) => self.control(core, io.memory, kind, &command),
        };
        if let Err(error) = outcome {
            let kind = command.kind().unwrap_or(0);
            let answer = error as u32;
            io.fault(
                queue,
                &format!("command {kind:#06x} answered {answer:#06x}"),
            );
        }
        let written = chain.write(io.memory, 0, &command.response(outcome));
        io.finish(queue, chain, u32::try_from(written).unwrap_or(0));
    }

    fn control(
        &mut self,
        glass: &mut Framebuffer,
        memory: &GuestMemory,
        kind: u32,
        command: &Command,
    ) -> Result<Success, GpuError> {
        let resources = &mut self.resources;
        match kind {
            command::GET_DISPLAY_INFO => return Ok(Success::DisplayInfo),
            command::RESOURCE_CREATE_2D => resources.create(command),
            command::RESOURCE_UNREF => resources.unref(command, glass),
            command::SET_SCANOUT => resources.set_scanout(command, glass),
            command::RESOURCE_FLUSH => resources.flush(command, glass),
            command::TRANSFER_TO_HOST_2D => resources.transfer(command, memory),
            command::RESOURCE_ATTACH_BACKING => resources.attach(command, memory),
            command::RESOURCE_DETACH_BACKING => resources.detach(command),
            _ => Err(GpuError::Unspecified),
        }?;
        Ok(Success::NoData)
    }
}

/// The glass has no cursor; a driver that moves one is told that all is well.
fn cursor(kind: u32) -> Result<Success, GpuError> {
    match kind {
        command::UPDATE_CURSOR | command::MOVE_CURSOR => Ok(Success::NoData),
        _ => Err(GpuError::Unspecified),
    }
}
