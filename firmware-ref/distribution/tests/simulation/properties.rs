//! Frames out of nowhere.

use distribution::{Identity, Module, NodeAction, Receiver};
use proptest::prelude::*;

proptest! {
    #[test]
    fn no_frames_out_of_nowhere_are_run(
        frames in prop::collection::vec((0x200u16..0x500, prop::collection::vec(any::<u8>(), 0..=64)), 0..60),
    ) {
        let identity = Identity { node: 20, module: Module::Drive, set: 2, boots: 1 };
        let (mut receiver, mut memory) = (Receiver::new(identity, true), vec![0; 300]);
        receiver.self_test(0, true);
        for (identifier, payload) in frames {
            // Of two masters only, so that something fits together.
            receiver.frame(0, identifier & 0x701, &payload, &mut memory[..]);
            while let Some(action) = receiver.next_action() {
                let runs = matches!(action, NodeAction::Run { .. });
                prop_assert!(!runs);
            }
        }
    }
}
