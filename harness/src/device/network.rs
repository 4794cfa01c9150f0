//! Two ports on one Ethernet segment, one a socket.

use devices::event::DeviceEvent;
use devices::network::{PortSettings, PortVirtio, Segment};
use devices::time::Nanos;
use emulator::serve::Hardware;
use emulator::service::Visit;

use super::{line, unknown};

/// The segment and its ports.
#[derive(Debug)]
pub struct Network {
    ports: [PortVirtio; 2],
    segment: Segment,
}

impl Network {
    /// What the commands are.
    pub const HELP: &str = "\
link up|down PORT        plugs or pulls the cable of port 0 (--socket) or 1 (--peer-socket)
drop PORT N              the Nth frame from now on that this port sends is lost";

    /// Two ports with cables.
    pub fn new() -> Network {
        let mut segment = Segment::new(2, PortSettings::default());
        for port in 0..2 {
            segment.set_powered(port, true);
        }
        Network {
            // Addresses of a kind that nobody else gives out (board manual §8).
            ports: [0, 1].map(|port: u8| {
                let address = [0x02, 0xab, 0x02, 0, 0, port];
                PortVirtio::new(usize::from(port), address)
            }),
            segment,
        }
    }
}

impl Default for Network {
    fn default() -> Network {
        Network::new()
    }
}

fn port(word: &str) -> Result<usize, String> {
    match word {
        "0" => Ok(0),
        "1" => Ok(1),
        _ => Err(format!("there is no port {word:?}; they are 0 and 1")),
    }
}

impl Hardware for Network {
    fn with<V: Visit>(&mut self, port: usize, visit: V) -> V::Answer {
        let [first, second] = &mut self.ports;
        let port = if port == 0 { first } else { second };
        visit.visit(port, &mut &mut self.segment)
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
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["link", word @ ("up" | "down"), number] => {
                self.segment.set_cable(port(number)?, *word == "up");
                news.push(format!("link-{word} port={number}"));
                Ok(String::new())
            }
            ["drop", number, nth] => {
                let nth = nth.parse().ok().filter(|nth| *nth > 0);
                let nth = nth.ok_or("N is a whole number from 1 on")?;
                self.segment.drop_frame(port(number)?, nth);
                Ok(String::new())
            }
            ["status"] => {
                let told = [0, 1].map(|port| {
                    let counters = self.segment.counters(port);
                    let (sent, received) = (counters.sent, counters.received);
                    let lost = counters.lost_to_link + counters.lost_to_fault + counters.overrun;
                    format!("port {port} sent {sent} received {received} lost {lost}")
                });
                Ok(format!("network; {}", told.join("; ")))
            }
            _ => unknown(command),
        }
    }

    fn put_away(&mut self, _now: Nanos) {}
}
