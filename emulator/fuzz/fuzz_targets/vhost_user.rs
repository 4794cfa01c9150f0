//! Front-ends that say anything, with any descriptors, before a device that is served.
#![no_main]

use std::cell::Cell;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use arraybench_emulator_fuzz::{Device, Front, Served, Step};
use devices::time::Nanos;
use emulator::serve::{Pace, Place, Port, Server, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|script: (Device, bool, Vec<Step>)| {
    let (device, leaps, steps) = script;
    let path = std::env::temp_dir().join(format!("arraybench-fuzz-{}", std::process::id()));
    let place = Place::take(&path).expect("a socket can be made there");
    let (stop, stopped) = UnixStream::pair().expect("a pair of sockets can be had");
    let served = Served::new(device, Front::new(&path), steps, stop);
    // Every look at the clock is a while: what is waited for in vain is given up soon.
    let looks = Cell::new(0);
    let clock = || {
        looks.set(looks.get() + 1);
        Nanos::from_millis(50 * looks.get())
    };
    let settings = Settings {
        pace: if leaps { Pace::Leap } else { Pace::Real },
        poll: Nanos::ZERO,
    };
    let ports = vec![Port::new(place, 0)];
    let mut tell = |_line: &str| {};
    let mut server = Server::new(served, "", ports, None, settings, &clock, &mut tell);
    server.run(stopped.as_fd()).expect("the host can wait");
});
