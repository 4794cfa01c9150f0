use super::bits::{Field, WireBit, WireLength, duration, encode};
use super::event::BusError;
use super::fault::{Effect, Place};
use super::island::{Island, Plan, Transmission};
use super::node::{Node, NodeId};
use crate::time::Nanos;

/// An error flag, active or passive (ISO 11898-1:2015 §10.4.4.2).
const FLAG_BITS: u32 = 6;
/// Flags of nodes that see the first flag as six equal bits come right after it.
const SUPERPOSED_FLAG_BITS: u32 = 2 * FLAG_BITS;
/// Where all see the first bit of the first flag as an error: in fields that are always recessive.
const FLAG_IN_TAIL_BITS: u32 = FLAG_BITS + 1;
/// The error delimiter (§10.4.4.3).
pub(super) const ERROR_DELIMITER_BITS: u32 = 8;

/// How a frame that has won arbitration will end, and when.
pub(super) fn plan(island: &Island, nodes: &[Node], sent: &Transmission) -> (Plan, Nanos) {
    let receivers = || {
        island
            .participants
            .iter()
            .copied()
            .filter(|it| !sent.is_sender(*it))
    };
    let passive = |id: &NodeId| nodes[usize::from(*id)].errors.is_passive();
    if let Some(bit) = sent.collision {
        let at = usize::try_from(bit).unwrap_or(usize::MAX);
        let after = after_flag(sent, at, SUPERPOSED_FLAG_BITS);
        return (destroyed(BusError::Bit, Vec::new(), false), after);
    }
    let mut missed = Vec::new();
    if !island.uniform {
        let garbled = receivers().filter(|id| !understands(&nodes[usize::from(*id)], sent));
        missed = garbled.collect();
        if missed.iter().any(|id| !passive(id)) {
            missed.retain(|id| !passive(id));
            // Where all see it at once nobody is the first.
            if receivers().all(|id| missed.contains(&id)) {
                missed.clear();
            }
            let control = first_of(&encode(&sent.frame), Field::Control);
            let after = after_flag(sent, control, SUPERPOSED_FLAG_BITS);
            return (destroyed(BusError::Stuff, missed, false), after);
        }
    }
    let (mut overrun, mut erred, mut deaf) = (Vec::new(), missed.clone(), missed.clone());
    let mut lost = false;
    for (effect, place) in &sent.effects {
        let those: Vec<NodeId> = match place {
            Place::Everywhere => receivers().collect(),
            Place::At(those) => receivers().filter(|it| those.contains(it)).collect(),
        };
        match (effect, place) {
            (Effect::Lost, Place::Everywhere) => lost = true,
            (Effect::Lost, _) => missed.extend(those),
            (Effect::Overrun, _) => {
                overrun.extend(&those);
                missed.extend(those);
            }
            (Effect::Acknowledgement, _) => deaf.extend(those),
            (effect, Place::Everywhere) => {
                let error = effect.error().unwrap_or(BusError::Bit);
                let after = error_frame(sent, error, false);
                return (destroyed(error, Vec::new(), false), after);
            }
            (effect, Place::At(_)) if those.iter().any(|id| !passive(id)) => {
                let error = effect.error().unwrap_or(BusError::Bit);
                let first = those.into_iter().filter(|id| !passive(id)).collect();
                let after = error_frame(sent, error, true);
                return (destroyed(error, first, false), after);
            }
            (_, Place::At(_)) => {
                missed.extend(&those);
                deaf.extend(&those);
                erred.extend(those);
            }
        }
    }
    let silent = |id: &NodeId| deaf.contains(id);
    let mut hearing = receivers();
    if deaf.is_empty() && hearing.next().is_none()
        || !deaf.is_empty() && receivers().all(|id| silent(&id))
    {
        let alone = receivers().next().is_none();
        let bits = if alone { FLAG_BITS } else { FLAG_IN_TAIL_BITS };
        let delimiter = first_of(&encode(&sent.frame), Field::AckDelimiter);
        let after = after_flag(sent, delimiter, bits);
        return (
            destroyed(BusError::Acknowledgement, Vec::new(), alone),
            after,
        );
    }
    let after = sent.begins + WireLength::of(&sent.frame).duration(sent.rates);
    let good = Plan::Good {
        missed,
        overrun,
        erred,
        lost,
    };
    (good, after)
}

/// The first bit in which two frames that won arbitration together differ on the wire.
pub(super) fn first_difference(a: &[WireBit], b: &[WireBit]) -> Option<u32> {
    let differ = a
        .iter()
        .zip(b)
        .position(|(a, b)| a.recessive != b.recessive);
    differ.and_then(|it| u32::try_from(it).ok())
}

fn destroyed(error: BusError, first: Vec<NodeId>, alone: bool) -> Plan {
    Plan::Destroyed {
        error,
        first,
        alone,
    }
}

/// Whether a receiver samples the frame where its bits are.
fn understands(node: &Node, sent: &Transmission) -> bool {
    let rates = node.rates();
    let switches = WireLength::of(&sent.frame).data > 0;
    rates.nominal == sent.rates.nominal && (!switches || rates.data == sent.rates.data)
}

/// The end of the error frame that an error of this kind leads to.
fn error_frame(sent: &Transmission, error: BusError, local: bool) -> Nanos {
    let bits = encode(&sent.frame);
    let body = bits.iter().position(|it| it.field >= Field::Data);
    let body = body.unwrap_or(bits.len());
    let end_of_frame = first_of(&bits, Field::EndOfFrame);
    let (begins, flag) = match error {
        BusError::Bit => (body + 1, SUPERPOSED_FLAG_BITS),
        BusError::Stuff if local => (body + 6, SUPERPOSED_FLAG_BITS),
        BusError::Stuff => (body + 6, FLAG_BITS),
        // Not before the ACK delimiter is over (§10.11).
        BusError::Crc => (end_of_frame, FLAG_IN_TAIL_BITS),
        BusError::Form if local => (end_of_frame + 1, FLAG_IN_TAIL_BITS),
        BusError::Form => (end_of_frame + 1, FLAG_BITS),
        BusError::Acknowledgement => (end_of_frame - 1, FLAG_IN_TAIL_BITS),
    };
    after_flag(sent, begins, flag)
}

/// The end of the error delimiter after flags that begin at a bit of the frame. Flags go at the nominal
/// bit rate (§10.4.4.1).
fn after_flag(sent: &Transmission, begins: usize, flag: u32) -> Nanos {
    let bits = encode(&sent.frame);
    let before = bits.get(..begins).unwrap_or(&bits);
    let error_frame = sent.rates.nominal_bits(flag + ERROR_DELIMITER_BITS);
    sent.begins + duration(before, sent.rates) + error_frame
}

fn first_of(bits: &[WireBit], field: Field) -> usize {
    let found = bits.iter().position(|it| it.field == field);
    found.unwrap_or(bits.len())
}

/// The end of the error frame when all transmitters fell silent in the middle: six recessive bits are a
/// stuff error.
pub(super) fn after_cut(sent: &Transmission, now: Nanos) -> Nanos {
    now + sent
        .rates
        .nominal_bits(6 + FLAG_BITS + ERROR_DELIMITER_BITS)
}
