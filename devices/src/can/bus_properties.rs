use proptest::prelude::*;

use super::bus_tests::{bus, frame, outcomes, read, run, settle, start, tec_rec};
use super::*;
use crate::time::Nanos;

#[derive(Clone, Debug)]
enum Act {
    Send(NodeId, Frame),
    Wait(u64),
    Power(NodeId, bool),
    Start(NodeId),
    Stop(NodeId),
    Cable(bool),
    Inject(Fault),
    Clear(u32),
    Read(NodeId),
    Cancel(NodeId, u64),
}

fn any_act() -> impl Strategy<Value = Act> {
    let node = || 0_u16..7;
    let effect = prop::sample::select(Effect::WORDS.map(|(_, effect)| effect).to_vec());
    let place = prop_oneof![
        Just(Place::Everywhere),
        prop::collection::vec(node(), 1..3).prop_map(Place::At)
    ];
    let of_frame = (effect, place, 0_u64..4);
    let of_frame = of_frame.prop_map(|(effect, place, nth)| Fault::Frame {
        from: None,
        nth,
        effect,
        place,
    });
    let slow = BitRates {
        nominal: 1,
        data: 0,
    };
    let fault = prop_oneof![
        of_frame,
        node().prop_map(Fault::Disconnected),
        node().prop_map(Fault::Babbling),
        (0_u16..4).prop_map(Fault::Short),
        node().prop_map(move |it| Fault::BitRate(it, slow)),
    ];
    prop_oneof![
        6 => (node(), super::frame::tests::any_frame()).prop_map(|(node, frame)| Act::Send(node, frame)),
        4 => (0_u64..400_000).prop_map(Act::Wait),
        1 => (node(), any::<bool>()).prop_map(|(node, on)| Act::Power(node, on)),
        3 => node().prop_map(Act::Start),
        1 => node().prop_map(Act::Stop),
        1 => any::<bool>().prop_map(Act::Cable),
        2 => fault.prop_map(Act::Inject),
        1 => (0_u32..8).prop_map(Act::Clear),
        2 => node().prop_map(Act::Read),
        1 => (node(), 0_u64..8).prop_map(|(node, ticket)| Act::Cancel(node, ticket)),
    ]
}

fn act(bus: &mut CanBus, act: &Act) {
    let now = bus.now();
    match act {
        Act::Send(node, frame) => drop(bus.send(now, *node, *frame)),
        Act::Wait(nanos) => bus.advance(now + Nanos(*nanos)),
        Act::Power(node, on) => bus.set_powered(now, *node, *on),
        Act::Start(node) => drop(bus.start(now, *node)),
        Act::Stop(node) => bus.stop(now, *node),
        Act::Cable(plugged) => bus.set_cable(now, 0, *plugged),
        Act::Inject(fault) => drop(bus.inject(now, fault.clone())),
        Act::Clear(fault) => bus.clear(now, FaultId(*fault)),
        Act::Read(node) => drop(read(bus, *node)),
        Act::Cancel(node, ticket) => drop(bus.cancel(now, *node, Ticket(*ticket))),
    }
}

proptest! {
    /// Whatever happens: nothing is late, nothing grows beyond its bound, and a stored bus goes on as the
    /// original.
    #[test]
    fn a_bus_survives_everything(acts in prop::collection::vec(any_act(), 0..60), stored_after in 0_usize..60) {
        let mut bus = CanBus::new(Topology::new(2).with_cable(0, 1), BitRates::default());
        bus.record_frames(64);
        for segment in [0, 0, 0, 1, 1] {
            start(&mut bus, segment);
        }
        settle(&mut bus);
        let mut other = None;
        for (n, it) in acts.iter().enumerate() {
            if n == stored_after {
                let bytes = postcard::to_stdvec(&bus).unwrap();
                other = Some(postcard::from_bytes::<CanBus>(&bytes).unwrap());
            }
            act(&mut bus, it);
            if let Some(other) = &mut other {
                act(other, it);
                prop_assert_eq!(&*other, &bus);
            }
            prop_assert!(bus.deadline().is_none_or(|at| at > bus.now()));
            for node in 0..5 {
                let owned = bus.to_send(node) + usize::from(bus.completion(node).is_some());
                prop_assert!(owned <= TRANSMIT_QUEUE_FRAMES);
            }
            let bytes = postcard::to_stdvec(&bus).unwrap().len();
            prop_assert!(bytes < 60_000, "{} bytes", bytes);
        }
    }

    /// Without faults every frame of every node arrives at every other, once and in its order.
    #[test]
    fn everything_sent_arrives(sends in prop::collection::vec((0_u16..4, 0_u16..2048, 0_u64..300_000), 1..50)) {
        let mut bus = bus(4);
        let mut sent = vec![Vec::new(); 4];
        for (n, (node, id, wait)) in (0_u8..).zip(&sends) {
            // Keys of two nodes never are equal.
            let frame = frame(id & !3 | node, &[n]);
            bus.send(bus.now(), *node, frame).unwrap();
            sent[usize::from(*node)].push(frame);
            bus.advance(bus.now() + Nanos(*wait));
        }
        run(&mut bus);
        for node in 0..4 {
            prop_assert_eq!(outcomes(&mut bus, node).len(), sent[usize::from(node)].len());
            let heard = read(&mut bus, node);
            for other in (0..4).filter(|it| *it != node) {
                let from = |it: &&Frame| matches!(it.identifier(), Identifier::Standard(id) if id & 3 == other);
                let heard: Vec<Frame> = heard.iter().filter(from).copied().collect();
                prop_assert_eq!(&heard, &sent[usize::from(other)]);
            }
            prop_assert_eq!(tec_rec(&bus, node), (0, 0));
        }
    }
}
