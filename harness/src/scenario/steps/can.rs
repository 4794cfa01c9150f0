use devices::can::{BitRates, Effect, Fault, NodeId, Place};

use super::super::action::{Action, CanPart};
use super::super::load::Context;
use super::Verb;
use super::boards::{required_sockets, sockets};
use super::media::one;
use crate::files::Reader;

pub(super) const CAN_FAULT: Verb = Verb {
    key: "can_fault",
    help: "breaks something on the CAN bus. A frame, the `nth` from now on of all or of those `from` a board, for all or \
           `at` some boards: lost, overrun, bit, stuff, crc, form or acknowledgement. Until it is mended: \
           disconnected, babbling, bit-rate (bit_rate, data_bit_rate) of a `board`, short of a `segment`. mended: that of \
           `board` or `segment`, or all. One that has no effect fails the run",
    example: "{ can_fault = \"crc\", from = \"drive\", nth = 40, at = [\"xy\", \"set-1\"] }",
    read: read_can_fault,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum CanVerb {
    Frame(Effect),
    Disconnected,
    Babbling,
    BitRate,
    Short,
    Mended,
}

const NTH_MAX: u64 = 10_000_000;
/// What a controller can be set to.
const BIT_RATE: (u64, u64) = (1_000, 8_000_000);

fn read_can_fault(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    if context.rig.can.segments.is_empty() {
        let remedy = "name a rig with segments in its [can]";
        reader.complain("can_fault", "this rig has no CAN bus", remedy);
    }
    let frames = Effect::WORDS.map(|(word, effect)| (word, CanVerb::Frame(effect)));
    let others = [
        ("disconnected", CanVerb::Disconnected),
        ("babbling", CanVerb::Babbling),
        ("bit-rate", CanVerb::BitRate),
        ("short", CanVerb::Short),
        ("mended", CanVerb::Mended),
    ];
    let words: Vec<(&str, CanVerb)> = frames.into_iter().chain(others).collect();
    let verb = reader.word("can_fault", &words)?;
    if verb == CanVerb::Mended {
        return read_mended(reader, context);
    }
    let fault = match verb {
        CanVerb::Frame(effect) => read_frame(reader, context, effect)?,
        CanVerb::Disconnected => Fault::Disconnected(board(reader, context)?),
        CanVerb::Babbling => Fault::Babbling(board(reader, context)?),
        CanVerb::BitRate => {
            let board = board(reader, context);
            let can = &context.rig.can;
            if !reader.has("bit_rate") && !reader.has("data_bit_rate") {
                let remedy = "add e.g. bit_rate = 250000, or data_bit_rate";
                reader.complain("can_fault", "nothing is said about the wrong rate", remedy);
                return None;
            }
            let rate = |key, right: u32| {
                let rate = reader.integer(key, BIT_RATE.0..=BIT_RATE.1);
                rate.map_or(right, |rate| u32::try_from(rate).unwrap_or(u32::MAX))
            };
            let rates = BitRates {
                nominal: rate("bit_rate", can.bit_rate),
                data: rate("data_bit_rate", can.data_bit_rate),
            };
            if (rates.nominal, rates.data) == (can.bit_rate, can.data_bit_rate) {
                let remedy = "choose another, or remove the step";
                reader.complain("can_fault", "these are the rates of the bus", remedy);
            }
            Fault::BitRate(board?, rates)
        }
        CanVerb::Short | CanVerb::Mended => {
            let remedy = "add e.g. segment = \"base\"";
            if !reader.has("segment") {
                reader.complain("can_fault", "a short is somewhere", remedy);
            }
            Fault::Short(segment(reader, context)?)
        }
    };
    Some(Action::CanFault(fault))
}

fn read_frame(reader: &Reader<'_>, context: &Context<'_>, effect: Effect) -> Option<Fault> {
    let from = match reader.has("from") {
        true => Some(one(reader, &sockets(reader, "from", context)?)?.can_node(context.rig)),
        false => None,
    };
    let place = match reader.has("at") {
        true => {
            let boards = sockets(reader, "at", context)?;
            let boards = boards.into_iter().map(|board| board.can_node(context.rig));
            Place::At(boards.collect())
        }
        false => Place::Everywhere,
    };
    let nth = reader.integer("nth", 1..=NTH_MAX).unwrap_or(1);
    Some(Fault::Frame {
        from,
        nth,
        effect,
        place,
    })
}

fn read_mended(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let part = match (reader.has("board"), reader.has("segment")) {
        (true, true) => {
            let remedy = "use a step for each";
            reader.complain("segment", "`board` and `segment` both say what", remedy);
            return None;
        }
        (true, false) => CanPart::Node(board(reader, context)?),
        (false, true) => CanPart::Segment(segment(reader, context)?),
        (false, false) => CanPart::Bus,
    };
    Some(Action::CanMend(part))
}

fn board(reader: &Reader<'_>, context: &Context<'_>) -> Option<NodeId> {
    let board = one(reader, &required_sockets(reader, context)?)?;
    Some(board.can_node(context.rig))
}

fn segment(reader: &Reader<'_>, context: &Context<'_>) -> Option<u16> {
    let segments = (0..).zip(&context.rig.can.segments);
    let words: Vec<(&str, u16)> = segments.map(|(at, name)| (name.as_str(), at)).collect();
    reader.word("segment", &words)
}
