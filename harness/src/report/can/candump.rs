//! Lines of `candump -L`, which `canplayer` and many others read.

use super::{Seen, error_frame};

/// `(seconds.microseconds) interface frame`.
pub(super) fn line(seen: &Seen<'_>) -> String {
    let micros = seen.time.0 / 1000;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let frame = match seen.error {
        None => seen.frame.to_string(),
        Some(error) => {
            let (identifier, data) = error_frame(error);
            let data = data.map(|byte| format!("{byte:02X}")).concat();
            format!("{identifier:08X}#{data}")
        }
    };
    format!("({seconds:010}.{micros:06}) {} {frame}", seen.segment)
}

#[cfg(test)]
mod tests {
    use devices::can::{BusError, Frame, Identifier};
    use devices::time::Nanos;

    use super::*;

    #[test]
    fn a_line_is_as_candump_writes_it() {
        let check = |frame: Frame, error, wanted: &str| {
            let seen = Seen {
                time: Nanos(1_234_567_891_000),
                segment: "base",
                frame: &frame,
                error,
            };
            assert_eq!(line(&seen), format!("(0000001234.567891) base {wanted}"));
        };
        let standard = Identifier::Standard(0x44);
        let data = Frame::data(standard, &[0x2a, 0x36]).unwrap();
        check(data, None, "044#2A36");
        check(Frame::remote(standard, 3).unwrap(), None, "044#R3");
        let fd = Frame::fd_padded(Identifier::Extended(5), true, &[1; 12]).unwrap();
        check(fd, None, "00000005##1010101010101010101010101");
        check(data, Some(BusError::Stuff), "20000008#0000040000000000");
        let unheard = Some(BusError::Acknowledgement);
        check(data, unheard, "20000020#0000000000000000");
    }
}
