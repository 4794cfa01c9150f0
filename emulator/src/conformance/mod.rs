//! One list of cases that every device must hold, on both hosts that drivers reach it through.
//!
//! * virtio-mmio: the register window of the own VMM (`on_virtio_mmio.rs`);
//! * vhost-user: the `vhost` crate's front-end before the server of [`crate::serve`] (`on_vhost_user.rs`).
//!
//! A case is written once, against [`host::Host`] and [`host::Port`]. A port is a `Transport` of the crate `virtio-drivers`, so that
//! drivers nobody here wrote drive the devices: its block, network, console and GPU drivers, and its queue for the three
//! devices that it has no driver for. What no driver does, `ring.rs` does. `every.rs` has the cases of all devices, held
//! against the [`contract::Contract`] of each; the others are in a file a device. Names of tests are
//! `conformance::HOST::DEVICE::CASE`.
//!
//! The hosts differ only where vhost-user has no word for something:
//!
//! * the device's id and the largest size of its queues: whoever starts a VMM knows them;
//! * DEVICE_NEEDS_RESET: the device serves nothing more until it is reset, and the server tells people;
//! * the status byte: features that are not acceptable are refused when they are set, and the connection ends with
//!   that, as it does with a queue of an unlawful size or outside memory;
//! * the generation of the configuration space: a notice is sent instead.
//!
//! vhost-user offers event indices besides, which are the transport's.

mod arena;
mod block;
mod board_control;
mod can;
mod console;
mod contract;
mod every;
mod flash;
mod hardware;
mod host;
mod network;
mod on_vhost_user;
mod on_virtio_mmio;
mod panel;
mod ring;
mod service_media;
mod shelf;

/// Tests of one device on one host, of those cases that take its contract.
macro_rules! every_device {
    ($device:ident: $($case:ident,)*) => {
        $(
            #[test]
            fn $case() {
                every::$case::<Host>(&$device::contract());
            }
        )*
    };
}

/// Tests of all devices on one host.
macro_rules! on {
    ($name:ident, $host:ty, $($device:ident { $($case:ident,)* })*) => {
        mod $name {
            $(
                mod $device {
                    use crate::conformance::{every, $device};

                    type Host = $host;

                    every_device! {
                        $device:
                        says_what_it_is,
                        takes_features_that_it_offers,
                        refuses_features_that_it_does_not_offer,
                        needs_version_1,
                        shows_its_configuration,
                        lets_nobody_write_its_configuration,
                        has_queues_of_all_sizes,
                        survives_unlawful_queue_sizes,
                        does_nothing_before_driver_ok,
                        goes_on_with_a_queue_that_was_stopped,
                        gives_every_buffer_back_once,
                        minds_no_empty_buffers,
                        takes_requests_in_pieces,
                        tells_of_answers_unless_asked_not_to,
                        goes_round_the_indices,
                        forgets_its_rings_when_reset,
                        writes_nothing_after_a_reset,
                        stops_at_a_broken_chain,
                        stops_at_an_indirect_chain,
                        stops_at_a_broken_ring,
                    }
                    $(
                        #[test]
                        fn $case() {
                            $device::$case::<Host>();
                        }
                    )*
                }
            )*
        }
    };
}

/// The list.
macro_rules! cases {
    ($($list:tt)*) => {
        on!(virtio_mmio, crate::conformance::on_virtio_mmio::Mmio, $($list)*);
        on!(vhost_user, crate::conformance::on_vhost_user::VhostUser, $($list)*);
    };
}

cases! {
    board_control {
        tells_the_time,
        traces_what_is_printable,
        locks_as_the_manual_says,
        refuses_what_it_does_not_know,
        forgets_a_wait_when_reset,
    }
    flash {
        tells_what_chip_it_has,
        keeps_what_was_programmed,
        answers_param_err,
        drops_a_transfer_when_reset,
    }
    shelf {
        reads_what_was_written,
        tells_its_identity,
        fails_what_is_out_of_range,
        answers_every_kind_of_request,
        stops_without_room_for_a_status,
        drops_requests_when_reset,
    }
    service_media {
        reads_what_was_inserted,
        tells_of_a_change_of_medium,
        loses_its_medium_in_the_middle_of_a_request,
        drops_requests_when_reset,
        answers_every_kind_of_request,
    }
    console {
        prints_lines,
        hears_what_is_typed,
        forgets_posted_buffers_when_reset,
    }
    network {
        exchanges_frames,
        hears_only_what_is_for_it,
        keeps_frames_for_later,
        tells_of_the_link,
        loses_frames_with_the_link,
        forgets_posted_buffers_when_reset,
    }
    can {
        starts_and_stops,
        exchanges_every_kind_of_frame,
        refuses_messages_that_are_no_frames,
        hears_only_what_was_negotiated,
        tells_when_a_frame_was_acknowledged,
        tells_when_a_frame_is_scheduled,
        answers_what_it_has_when_stopped,
        tells_of_bus_off,
        comes_back_from_bus_off,
        goes_passive_when_nobody_acknowledges,
        sends_more_than_it_can_schedule,
        keeps_frames_for_later,
        keeps_a_buffer_that_is_too_small,
        forgets_frames_and_buffers_when_reset,
    }
    panel {
        shows_a_picture,
        accepts_cursors,
        answers_every_kind_of_command,
        forgets_resources_when_reset,
    }
}
