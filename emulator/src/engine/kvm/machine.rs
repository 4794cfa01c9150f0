use std::fmt;
use std::time::Duration;

use devices::virtio::GuestMemory;
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::{IoEventAddress, Kvm, VcpuExit, VcpuFd, VmFd};
use serde::{Deserialize, Serialize};

use super::cpu::{CpuState, crash_report};
use super::hang;
use super::virtio_mmio::{SavedWindow, WINDOW_BASE, Window, Written};
use crate::engine::ram::{HOLE_START, Ram};
use crate::engine::{Counters, Engine, EngineError, Reset, SavedEngine, Stop};
use crate::slot::Slot;

/// Bytes of the boot ROM.
const ROM_BYTES: usize = 64 << 10;
/// Where the ROM ends: the top of 4 GiB.
const ROM_TOP: u64 = 1 << 32;

/// The UART's transmit register and its line status register.
const UART_TRANSMIT: u16 = 0x3f8;
const UART_LINE_STATUS: u16 = 0x3fd;
/// Transmitter empty and idle.
const UART_READY: u8 = 0x60;

/// Device accesses between two stops after which a board counts as hung: a guest that writes
/// registers for ever must not stop the array. A boot of the reference firmware needs about 100.
const MAX_ACCESSES_PER_RUN: u32 = 20_000;

/// One board's VM. Fields drop in order: CPU, VM, then the memory they use.
pub struct KvmEngine {
    cpu: VcpuFd,
    vm: VmFd,
    window: Window,
    rom: Rom,
    ram: Ram,
    at_reset: CpuState,
    hang_limit: Duration,
    /// Whether KVM was told which register writes to collect.
    collects: bool,
    counters: Counters,
}

impl fmt::Debug for KvmEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KvmEngine")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct SavedMachine {
    cpu: CpuState,
    window: SavedWindow,
    counters: Counters,
}

const NAME: &str = "kvm";

fn cannot(what: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> EngineError {
    move |source| EngineError::Kvm { what, source }
}

/// Whether this machine can run boards: lets a guest run its one instruction.
///
/// # Errors
/// Says what cannot be done.
pub fn probe() -> Result<(), EngineError> {
    /// HLT, at the reset vector and everywhere before it.
    const ROM: [u8; 16] = [0xf4; 16];
    let mut engine = KvmEngine::new(16, &ROM, Duration::from_secs(1))?;
    engine.reset(Reset::Cold, &mut [])?;
    match engine.run(&mut [])? {
        Stop::Halted => Ok(()),
        _ => Err(EngineError::Probe),
    }
}

impl KvmEngine {
    /// A board with `ram_mib` MiB of RAM and `rom` at the top of 4 GiB and below 1 MiB. It counts as
    /// hung after `hang_limit` of CPU time without a device access.
    ///
    /// # Errors
    /// The ROM is too large, or the host has no usable KVM or no memory.
    pub fn new(ram_mib: u32, rom: &[u8], hang_limit: Duration) -> Result<KvmEngine, EngineError> {
        let kvm = Kvm::new().map_err(cannot("be opened (/dev/kvm)"))?;
        let vm = kvm.create_vm().map_err(cannot("create a VM"))?;
        let ram = Ram::new(ram_mib)?;
        let rom = Rom::new(rom)?;
        let window = Window::new().map_err(|source| EngineError::Memory {
            mib: ram_mib,
            why: source.to_string(),
        })?;
        let mut regions: Vec<(u64, u64, u64, u32)> = ram
            .regions()
            .map(|(start, bytes, host)| (start, bytes, host, 0))
            .collect();
        let rom_bytes = ROM_BYTES as u64;
        regions.push((HOLE_START, rom_bytes, rom.host_address(), KVM_MEM_READONLY));
        regions.push((
            ROM_TOP - rom_bytes,
            rom_bytes,
            rom.host_address(),
            KVM_MEM_READONLY,
        ));
        let (host, bytes) = window.host_range();
        regions.push((WINDOW_BASE, bytes, host, KVM_MEM_READONLY));
        for (slot, (start, bytes, host, flags)) in regions.into_iter().enumerate() {
            let region = kvm_userspace_memory_region {
                slot: u32::try_from(slot).unwrap_or(u32::MAX),
                flags,
                guest_phys_addr: start,
                memory_size: bytes,
                userspace_addr: host,
            };
            // SAFETY: each range is a mapping owned by this engine that outlives the VM (fields drop
            // in order), and no two ranges overlap in guest-physical space.
            unsafe { vm.set_user_memory_region(region) }.map_err(cannot("map memory"))?;
        }
        let mut cpu = vm.create_vcpu(0).map_err(cannot("create a CPU"))?;
        cpu.map_coalesced_mmio_ring()
            .map_err(cannot("map the ring of collected register writes"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(cannot("tell its CPU features"))?;
        cpu.set_cpuid2(&cpuid).map_err(cannot("set CPU features"))?;
        let at_reset = CpuState::read(&cpu)?;
        Ok(KvmEngine {
            cpu,
            vm,
            window,
            rom,
            ram,
            at_reset,
            hang_limit,
            collects: false,
            counters: Counters::default(),
        })
    }

    /// Completes the register access that the last exit left half done, so that CPU state can be
    /// read or replaced (KVM API §5: state is consistent only after re-entry).
    fn settle(&mut self) {
        self.cpu.set_kvm_immediate_exit(1);
        // Returns EINTR without running a guest instruction; anything else would be seen by the
        // next run as well.
        let _ = self.cpu.run();
        self.cpu.set_kvm_immediate_exit(0);
    }

    /// Has KVM collect the register writes that show the driver nothing new, in slots that hold a
    /// device. Once is enough: slots keep their kind of device, and one that breaks away costs nothing.
    fn collect_quiet_writes(&mut self, slots: &[Slot]) -> Result<(), EngineError> {
        if self.collects {
            return Ok(());
        }
        self.collects = true;
        for (index, _) in slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.face.device_id != 0)
        {
            for (start, bytes) in Window::quiet(index) {
                self.vm
                    .register_coalesced_mmio(IoEventAddress::Mmio(start), bytes)
                    .map_err(cannot("collect register writes"))?;
            }
        }
        Ok(())
    }

    /// Runs the CPU to its next exit and hands the writes collected on the way to the window, so
    /// that between exits there are none.
    fn run_to_exit(&mut self, slots: &mut [Slot]) -> Result<Exit, EngineError> {
        let exit = self.next_exit()?;
        let collected = |cpu: &mut VcpuFd| {
            let next = cpu.coalesced_mmio_read();
            next.map_err(cannot("hand over collected register writes"))
        };
        while let Some(entry) = collected(&mut self.cpu)? {
            let length = usize::try_from(entry.len).unwrap_or(usize::MAX);
            let data = &entry.data[..length.min(entry.data.len())];
            if let Some(offset) = Window::offset_of(entry.phys_addr) {
                self.counters.collected_writes += 1;
                self.window.write(offset, data, slots, self.ram.memory());
            }
        }
        Ok(exit)
    }

    fn next_exit(&mut self) -> Result<Exit, EngineError> {
        let exit = match self.cpu.run() {
            Ok(VcpuExit::MmioWrite(address, data)) => match Window::offset_of(address) {
                Some(offset) => {
                    let mut bytes = [0; 8];
                    let length = data.len().min(bytes.len());
                    bytes[..length].copy_from_slice(&data[..length]);
                    Exit::RegisterWrite {
                        offset,
                        bytes,
                        length,
                    }
                }
                None => Exit::WriteElsewhere(address),
            },
            // The window itself is memory to the guest's reads: this is where nothing is.
            Ok(VcpuExit::MmioRead(_, data)) => {
                data.fill(0xff);
                Exit::Continue
            }
            Ok(VcpuExit::IoOut(UART_TRANSMIT, data)) => Exit::Stop(Stop::Printed(data.to_vec())),
            Ok(VcpuExit::IoIn(port, data)) => {
                data.fill(if port == UART_LINE_STATUS {
                    UART_READY
                } else {
                    0xff
                });
                Exit::Continue
            }
            Ok(VcpuExit::IoOut(..)) => Exit::Continue,
            Ok(VcpuExit::Hlt) => Exit::Stop(Stop::Halted),
            Ok(VcpuExit::Shutdown) => Exit::Crash("triple fault"),
            Ok(VcpuExit::InternalError) => Exit::Crash("an instruction this KVM cannot run"),
            Ok(VcpuExit::FailEntry(..)) => Exit::Crash("CPU state that cannot be entered"),
            Ok(VcpuExit::Intr) => Exit::Interrupted,
            Ok(_) => Exit::Crash("an exit this board does not have"),
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Exit::Interrupted,
            // The software KVM answers EFAULT where it has no translation for an access.
            Err(error) if error.errno() == libc::EFAULT => {
                Exit::Crash("an access this KVM cannot translate")
            }
            Err(source) => {
                return Err(EngineError::Kvm {
                    what: "run the CPU",
                    source,
                });
            }
        };
        Ok(exit)
    }
}

/// What one exit was, after the borrow of the CPU ended.
enum Exit {
    Continue,
    Interrupted,
    RegisterWrite {
        offset: usize,
        bytes: [u8; 8],
        length: usize,
    },
    WriteElsewhere(u64),
    Stop(Stop),
    Crash(&'static str),
}

impl Engine for KvmEngine {
    fn run(&mut self, slots: &mut [Slot]) -> Result<Stop, EngineError> {
        // Not at reset: a board that was restored into an engine has its reset behind it.
        self.collect_quiet_writes(slots)?;
        hang::arm_this_thread();
        let running_since = hang::cpu_time();
        let mut accesses = 0;
        loop {
            let exit = self.run_to_exit(slots)?;
            if !matches!(exit, Exit::Interrupted) {
                self.counters.exits += 1;
            }
            match exit {
                Exit::Continue => {}
                Exit::WriteElsewhere(address) => report_rom_write(address, slots),
                Exit::RegisterWrite {
                    offset,
                    bytes,
                    length,
                } => {
                    let data = &bytes[..length];
                    match self.window.write(offset, data, slots, self.ram.memory()) {
                        Written::Register => self.counters.register_writes += 1,
                        Written::Notify { slot, queue } => {
                            self.counters.notifications += 1;
                            return Ok(Stop::Notified { slot, queue });
                        }
                    }
                }
                Exit::Interrupted => {
                    if hang::cpu_time().saturating_sub(running_since) > self.hang_limit {
                        let cause = "no device access within the hang limit";
                        return Ok(Stop::Hung(crash_report(&self.cpu, cause)));
                    }
                    continue;
                }
                Exit::Stop(stop) => return Ok(stop),
                Exit::Crash(cause) => return Ok(Stop::Crashed(crash_report(&self.cpu, cause))),
            }
            accesses += 1;
            if accesses > MAX_ACCESSES_PER_RUN {
                let cause = "device accesses without end";
                return Ok(Stop::Hung(crash_report(&self.cpu, cause)));
            }
        }
    }

    /// The own VMM is no PC: every board in it waits.
    fn run_freely(&mut self, slots: &mut [Slot], _patience: Duration) -> Result<Stop, EngineError> {
        self.run(slots)
    }

    fn interrupt(&mut self, _slot: usize, _queue: usize) {}

    fn type_bytes(&mut self, bytes: &[u8]) -> usize {
        bytes.len()
    }

    fn reset(&mut self, reset: Reset, slots: &mut [Slot]) -> Result<(), EngineError> {
        self.settle();
        self.at_reset.write(&self.cpu)?;
        if reset == Reset::Cold {
            self.ram.clear();
        }
        self.window.reset(slots);
        self.counters.resets += 1;
        Ok(())
    }

    /// The CPU runs within [`Engine::run`] only.
    fn rest(&mut self) {}

    fn attend(&mut self, _slots: &mut [Slot]) -> Result<(), EngineError> {
        Ok(())
    }

    fn power_off(&mut self) {}

    fn refresh(&mut self, index: usize, slot: &mut Slot) {
        self.window.show(index, slot);
    }

    fn memory(&self) -> &GuestMemory {
        self.ram.memory()
    }

    fn save(&mut self, base: Option<&SavedEngine>) -> Result<SavedEngine, EngineError> {
        self.settle();
        let machine = SavedMachine {
            cpu: CpuState::read(&self.cpu)?,
            window: self.window.save(),
            counters: self.counters,
        };
        let machine = postcard::to_stdvec(&machine)
            .map_err(|_| EngineError::Checkpoint("its CPU state cannot be written"))?;
        let ram = self.ram.save(base.map(|base| &base.ram));
        Ok(SavedEngine {
            engine: NAME.to_owned(),
            machine,
            ram,
        })
    }

    fn restore(&mut self, saved: &SavedEngine) -> Result<(), EngineError> {
        if saved.engine != NAME {
            return Err(EngineError::Checkpoint("it was made by another engine"));
        }
        let machine: SavedMachine = postcard::from_bytes(&saved.machine)
            .map_err(|_| EngineError::Checkpoint("its CPU state cannot be read"))?;
        self.settle();
        self.ram.restore(&saved.ram)?;
        machine.cpu.write(&self.cpu)?;
        self.window
            .restore(&machine.window)
            .ok_or(EngineError::Checkpoint("it has another number of slots"))?;
        self.counters = machine.counters;
        Ok(())
    }

    fn rom(&self) -> Vec<u8> {
        self.rom.bytes.iter().flat_map(|page| page.0).collect()
    }

    fn break_rom(&mut self, at: Option<u16>) {
        let before = std::mem::replace(&mut self.rom.broken, at);
        for at in before.into_iter().chain(at).map(usize::from) {
            // An odd number of flips is one.
            if let Some(page) = self.rom.bytes.get_mut(at / 4096) {
                page.0[at % 4096] ^= 1;
            }
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

/// A write to the ROM changes nothing; one that happens is worth seeing, for firmware that does so believes
/// that it can update its first level.
fn report_rom_write(address: u64, slots: &mut [Slot]) {
    /// Reports that are kept until board control is served.
    const REPORTS: usize = 16;
    let rom_bytes = ROM_BYTES as u64;
    let is_rom = |start: u64| (start..start + rom_bytes).contains(&address);
    if !is_rom(HOLE_START) && !is_rom(ROM_TOP - rom_bytes) {
        return;
    }
    if let Some(slot) = slots
        .first_mut()
        .filter(|s| s.driver_faults.len() < REPORTS)
    {
        let what = format!("a write to the boot ROM at {address:#x}");
        slot.driver_faults.push(what);
    }
}

/// The boot ROM: page-aligned, exactly [`ROM_BYTES`], the image at its end.
struct Rom {
    bytes: Box<[RomPage]>,
    broken: Option<u16>,
}

#[repr(align(4096))]
#[derive(Clone, Copy)]
struct RomPage([u8; 4096]);

impl Rom {
    fn new(image: &[u8]) -> Result<Rom, EngineError> {
        let empty = ROM_BYTES
            .checked_sub(image.len())
            .ok_or(EngineError::RomSize(image.len()))?;
        let mut bytes = vec![RomPage([0xff; 4096]); ROM_BYTES / 4096].into_boxed_slice();
        for (nth, byte) in image.iter().enumerate() {
            let at = empty + nth;
            bytes[at / 4096].0[at % 4096] = *byte;
        }
        Ok(Rom {
            bytes,
            broken: None,
        })
    }

    fn host_address(&self) -> u64 {
        self.bytes.as_ptr() as u64
    }
}
