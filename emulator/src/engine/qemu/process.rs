//! The child process: how a board becomes a command line, and how the child is stopped and killed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, kill_process};

use super::cannot;
use super::installation::Installation;
use crate::engine::{EngineError, Hardware};
use crate::rig::Machine;
use crate::slot::Face;

/// What QEMU executes guest code with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// Translation: works everywhere, and shows every guest the same CPU.
    #[default]
    Tcg,
    /// /dev/kvm.
    Kvm,
}

impl Accelerator {
    fn name(self) -> &'static str {
        match self {
            Accelerator::Tcg => "tcg",
            Accelerator::Kvm => "kvm",
        }
    }
}

/// What a board is made of, as far as QEMU must know.
#[derive(Debug)]
pub(super) struct Board<'a> {
    pub(super) accelerator: Accelerator,
    pub(super) debug_port: Option<u16>,
    pub(super) hardware: &'a Hardware,
    pub(super) ram: &'a File,
    pub(super) rom: &'a File,
    /// By slot; an empty slot has device id 0.
    pub(super) faces: Vec<&'a Face>,
}

/// Our ends of everything a child is connected with.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) monitor: UnixStream,
    pub(super) serial: UnixStream,
    /// By slot.
    pub(super) devices: Vec<Option<UnixStream>>,
}

/// A running QEMU. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pid: Pid,
    stopped: bool,
    messages: File,
}

/// Descriptor numbers in the child, behind those of its standard streams.
const RAM: i32 = 10;
const ROM: i32 = 11;
const MONITOR: i32 = 12;
const SERIAL: i32 = 13;
const FIRST_DEVICE: i32 = 20;

/// Virtio id of block devices.
const BLOCK: u32 = devices::block::DEVICE_ID;

/// Slots that microvm has without ACPI.
pub(super) const SLOTS: usize = 24;
/// Those that there are without ACPI.
const SLOTS_WITHOUT_ACPI: usize = 8;

impl Process {
    /// Starts a board at its reset vector.
    pub(super) fn start(
        installation: &Installation,
        board: &Board<'_>,
    ) -> Result<(Process, Ends), EngineError> {
        let mut command = installation.command();
        let mut passed = Vec::new();
        let mut pass = |file: std::io::Result<OwnedFd>, number: i32| {
            let parent_fd = file.map_err(cannot("be handed what it needs"))?;
            passed.push(FdMapping {
                parent_fd,
                child_fd: number,
            });
            Ok::<(), EngineError>(())
        };
        let connect = || UnixStream::pair().map_err(cannot("be connected with"));
        pass(board.ram.try_clone().map(OwnedFd::from), RAM)?;
        pass(board.rom.try_clone().map(OwnedFd::from), ROM)?;
        let (monitor, theirs) = connect()?;
        pass(Ok(theirs.into()), MONITOR)?;
        let (serial, theirs) = connect()?;
        pass(Ok(theirs.into()), SERIAL)?;
        machine_arguments(&mut command, board);
        let mut devices = Vec::new();
        for (slot, face) in board.faces.iter().enumerate() {
            if face.device_id == 0 || slot >= SLOTS {
                devices.push(None);
                continue;
            }
            let number = FIRST_DEVICE + i32::try_from(slot).unwrap_or(0);
            let (ours, theirs) = connect()?;
            pass(Ok(theirs.into()), number)?;
            device_arguments(&mut command, board.hardware.machine, slot, number, face);
            devices.push(Some(ours));
        }
        let messages = rustix::fs::memfd_create("qemu-messages", MemfdFlags::CLOEXEC)
            .map(File::from)
            .map_err(|error| cannot("be given a place for its messages")(error.into()))?;
        let standard_error = messages
            .try_clone()
            .map_err(cannot("be given a place for its messages"))?;
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(standard_error)
            .fd_mappings(passed)
            .map_err(|_| EngineError::Qemu {
                what: "be handed what it needs",
                why: "two descriptors with one number".to_owned(),
            })?;
        die_with_us(&mut command);
        let child = command.spawn().map_err(cannot("be started"))?;
        let pid = Pid::from_child(&child);
        let process = Process {
            child,
            pid,
            stopped: false,
            messages,
        };
        let ends = Ends {
            monitor,
            serial,
            devices,
        };
        Ok((process, ends))
    }

    /// Lets it run.
    pub(super) fn resume(&mut self) {
        if std::mem::take(&mut self.stopped) {
            // A child that is gone is found by its monitor's silence.
            let _ = kill_process(self.pid, Signal::CONT);
        }
    }

    /// Takes the CPU from it until [`Process::resume`].
    pub(super) fn pause(&mut self) {
        if !std::mem::replace(&mut self.stopped, true) {
            let _ = kill_process(self.pid, Signal::STOP);
        }
    }

    /// CPU time that the guest's CPU has used, in the steps of 10 ms in which the kernel tells it.
    pub(super) fn cpu_time(&self) -> Duration {
        /// Clock ticks a second in /proc (USER_HZ), the same on every x86-64 Linux.
        const TICK: Duration = Duration::from_millis(10);
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let stats = threads
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|thread| {
                let text = std::fs::read_to_string(thread.path().join("stat")).ok()?;
                // The name is in parentheses; QEMU calls the thread of a CPU after it.
                let (name, fields) = text.rsplit_once(')')?;
                name.contains("(CPU 0/").then(|| fields.to_owned())
            });
        // Behind the name: fields 3 and on; user and system time are 14 and 15.
        let ticks =
            |fields: &str, at: usize| fields.split_whitespace().nth(at)?.parse::<u32>().ok();
        stats
            .map(|stat| ticks(&stat, 11).unwrap_or(0) + ticks(&stat, 12).unwrap_or(0))
            .map(|ticks| TICK * ticks)
            .sum()
    }

    /// What it wrote to its error stream, in one line.
    pub(super) fn last_message(&mut self) -> String {
        /// More than QEMU ever says before it ends.
        const MOST: u64 = 4096;
        let mut text = Vec::new();
        let read = self.messages.seek(SeekFrom::Start(0));
        let _ = read.and_then(|_| (&self.messages).take(MOST).read_to_end(&mut text));
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().map(str::trim);
        let telling: Vec<&str> = lines
            .filter(|line| !line.is_empty() && !line.contains("warning:"))
            .collect();
        telling.join("; ")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL ends a stopped process, too. There is nothing to do about a child that cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn machine_arguments(command: &mut Command, board: &Board<'_>) {
    let Hardware {
        machine,
        boot,
        ram_mib,
        ..
    } = board.hardware;
    let name = machine.as_str();
    command
        .args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-accel", board.accelerator.name(), "-smp", "1"])
        .arg("-object")
        .arg(format!(
            "memory-backend-file,id=ram,size={ram_mib}M,mem-path=/proc/self/fd/{RAM},share=on"
        ))
        .args(["-m", &format!("{ram_mib}M")])
        // A triple fault leaves the machine standing, so that its registers can be read.
        .args(["-action", "reboot=shutdown,shutdown=pause"])
        .args(["-chardev", &format!("socket,id=monitor,fd={MONITOR}")])
        .args(["-mon", "chardev=monitor,mode=control"])
        .args(["-chardev", &format!("socket,id=serial,fd={SERIAL}")])
        .args(["-serial", "chardev:serial"])
        .args(["-global", "virtio-mmio.force-legacy=false"]);
    if let Some(port) = board.debug_port {
        command.args(["-gdb", &format!("tcp:127.0.0.1:{port}")]);
    }
    if *machine == Machine::Ab1 {
        // Without ACPI there are eight slots where the board manual has them, with it all 24.
        let beyond = board.faces.iter().skip(SLOTS_WITHOUT_ACPI);
        let acpi = match beyond.clone().any(|face| face.device_id != 0) {
            true => "on",
            false => "off",
        };
        let options = format!("acpi={acpi},pit=off,pic=off,rtc=off");
        command
            .args(["-M", &format!("microvm,memory-backend=ram,{options}")])
            .args(["-bios", &format!("/proc/self/fd/{ROM}")]);
        if board.accelerator == Accelerator::Tcg {
            command.args(["-cpu", "max"]);
        }
        return;
    }
    command.args(["-M", &format!("{name},memory-backend=ram")]);
    for (option, value) in [
        ("-bios", &boot.firmware),
        ("-kernel", &boot.kernel),
        ("-initrd", &boot.initramfs),
        ("-append", &boot.command_line),
        ("-cpu", &boot.cpu),
    ] {
        if !value.is_empty() {
            command.args([option, value]);
        }
    }
}

fn device_arguments(
    command: &mut Command,
    machine: Machine,
    slot: usize,
    number: i32,
    face: &Face,
) {
    let queues = face.queue_sizes.len();
    let size = face.queue_sizes.iter().copied().max().unwrap_or(0);
    let config = face.config.len();
    let id = face.device_id;
    // Slots of PCI from 0x10 on: below are what the machines have themselves.
    let on_pci = format!("chardev=slot{slot},addr={:#x}", 0x10 + slot);
    let any = format!("virtio-id={id},num_vqs={queues},vq_size={size},config_size={config}");
    let device = match machine {
        Machine::Ab1 | Machine::Microvm => {
            format!("vhost-user-test-device,chardev=slot{slot},bus=virtio-mmio-bus.{slot},{any}")
        }
        // With the legacy interface a driver may choose it, which no vhost-user device speaks.
        Machine::Q35 | Machine::Pc if id == BLOCK => {
            format!("vhost-user-blk-pci-non-transitional,{on_pci},num-queues=1,queue-size={size}")
        }
        Machine::Q35 | Machine::Pc => format!("vhost-user-test-device-pci,{on_pci},{any}"),
    };
    command
        .args(["-chardev", &format!("socket,id=slot{slot},fd={number}")])
        .args(["-device", &device]);
}

/// Has the kernel kill the child when this process ends, however it ends.
fn die_with_us(command: &mut Command) {
    // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl is one system call.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            Ok(())
        });
    }
}
