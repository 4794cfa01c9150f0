//! Sockets, signals and the clock.

use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Instant;

use devices::block;
use devices::network;
use devices::time::Nanos;
use emulator::serve::{Control, Hardware, Pace, Place, PlaceError, Port, Server, Settings};
use emulator::service::Show;
use emulator::slot::Face;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::DeviceError;

/// How a device is served.
#[derive(Clone, Debug)]
pub struct Serving {
    /// One socket a port.
    pub sockets: Vec<PathBuf>,
    /// Where commands come from.
    pub control: Option<PathBuf>,
    /// How long to look for requests before waiting for them.
    pub poll: Nanos,
    /// How the device's time goes.
    pub pace: Pace,
}

/// The options that attach a virtual machine to the device with this face at `socket`.
fn attachment(face: &Face, socket: &str) -> String {
    if face.device_id == block::DEVICE_ID {
        return format!(
            "qemu:             -object memory-backend-memfd,id=m,size=512M,share=on \
             -machine q35,memory-backend=m -m 512M \
             -chardev socket,id=c0,path={socket} \
             -device vhost-user-blk-pci,chardev=c0,num-queues=1\n\
             cloud-hypervisor: --memory size=512M,shared=on \
             --disk vhost_user=true,socket={socket},num_queues=1,queue_size=128\n"
        );
    }
    let mut own = String::new();
    if face.device_id == network::DEVICE_ID {
        // QEMU's card has an address of its own, and the port hears no other than its own.
        let address = face.config.iter().take(6).map(|byte| format!("{byte:02x}"));
        let address = address.collect::<Vec<_>>().join(":");
        own = format!(
            "qemu, its card:   -object memory-backend-memfd,id=m,size=512M,share=on \
             -machine q35,memory-backend=m -m 512M \
             -chardev socket,id=c0,path={socket} -netdev vhost-user,id=n0,chardev=c0 \
             -device virtio-net-pci,netdev=n0,mac={address}\n"
        );
    }
    // Most devices have no front-end of their own in QEMU, and are the same through the general one.
    own + &format!(
        "qemu:             -object memory-backend-memfd,id=m,size=512M,share=on \
         -machine microvm,memory-backend=m -m 512M -global virtio-mmio.force-legacy=false \
         -chardev socket,id=c0,path={socket} \
         -device vhost-user-test-device,chardev=c0,virtio-id={},num_vqs={},vq_size={},config_size={}\n",
        face.device_id,
        face.queue_sizes.len(),
        face.queue_sizes.iter().min().unwrap_or(&0),
        face.config.len(),
    )
}

/// Seconds since 1970-01-01, for a device that has a calendar.
pub(super) fn calendar_s() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    u64::try_from(now.tv_sec).unwrap_or(0)
}

/// Serves `hardware` until a signal ends it. `about` tells what it is, `help` which commands it knows.
///
/// # Errors
/// A socket cannot be made, or the host cannot wait.
pub fn serve(
    mut hardware: impl Hardware,
    serving: &Serving,
    about: &str,
    help: &str,
) -> Result<(), DeviceError> {
    let host = |what: &'static str| {
        move |source| DeviceError::Host {
            what: what.to_owned(),
            source,
        }
    };
    let (stop, stopper) = UnixStream::pair().map_err(host("a signal cannot be waited for"))?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let stopper = stopper
            .try_clone()
            .map_err(host("a signal cannot be waited for"))?;
        signal_hook::low_level::pipe::register(signal, stopper)
            .map_err(host("a signal cannot be waited for"))?;
    }
    let mut ports = Vec::new();
    let mut text = format!("{about}\n");
    for (number, socket) in serving.sockets.iter().enumerate() {
        ports.push(Port::new(
            Place::take(socket).map_err(|it| place(&it))?,
            number,
        ));
        let face = hardware.with(number, Show { wants_notify: true });
        text.push_str(&attachment(&face, &socket.display().to_string()));
    }
    let control = serving.control.as_ref().map(|path| Place::take(path));
    let control = control
        .transpose()
        .map_err(|it| place(&it))?
        .map(Control::new);
    if let Some(path) = &serving.control {
        text.push_str(&format!(
            "control:          arraybench control {} help\n",
            path.display()
        ));
    }
    // Whoever waits for this line may connect. A reader that left is no reason to stop.
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
    let began = Instant::now();
    let clock = || Nanos(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut tell = |line: &str| {
        // What a console prints is on the output, with the prompts between its lines.
        if !line.starts_with("| ") {
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    };
    let settings = Settings {
        pace: serving.pace,
        poll: serving.poll,
    };
    Server::new(hardware, help, ports, control, settings, &clock, &mut tell)
        .run(stop.as_fd())
        .map_err(host("the sockets cannot be waited for"))
}

fn place(error: &PlaceError) -> DeviceError {
    match error {
        PlaceError::InUse(_) => DeviceError::Busy(error.to_string()),
        PlaceError::NoSocket(_) => DeviceError::File(error.to_string()),
        PlaceError::Host { .. } => DeviceError::Usage(error.to_string()),
    }
}
