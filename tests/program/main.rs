//! QEMU's "Backend program conventions", each rule seen by running `vhost-user-gpu` and `vhost-user-input`.
//!
//! | rule | where it stands |
//! |---|---|
//! | options, `--socket-path` and `--fd` exclude each other; one line and a status not 0 | `options` |
//! | `--print-capabilities` | `capabilities` |
//! | what is asked for and can't be had stops the program early | `options`, `gpu`, `input/evdev_path` |
//! | where the socket comes from, and what becomes of its file | `socket_path`, `socket_fd` |
//! | it never daemonizes, and lives with any standard streams | `streams`, `printing` |
//! | it ends on SIGTERM | `ending` |
//! | what it gives up before it serves | `sandbox` |
//! | the JSON file, and where it is installed | `install` |
//!
//! A rule is written once, as a function of a [`Subject`]: the program that it is about. [`before_serving`] and [`serving`]
//! list them; `gpu` and `input` make a test of each for their program, and have what only it has. `vhost-user-input` serves
//! an evdev device, so its tests of the second list run inside of a guest that can make one.
//!
//! Times are never asserted here: a deadline only says when to give up.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

/// The tests of one program: of each rule one, of the rule's name. `$run` is given the body of each, `$subject` makes the
/// program that it is about.
macro_rules! tests {
    ($run:path, $subject:path, $($file:ident { $($rule:ident,)+ })+) => {
        $(mod $file {
            $(#[test]
            fn $rule() {
                $run(|| crate::$file::$rule(&$subject()));
            })+
        })+
    };
}

/// The rules for what a program does before it opens its device.
macro_rules! before_serving {
    ($run:path, $subject:path) => {
        tests! { $run, $subject,
            capabilities {
                they_are_what_libvirt_reads,
                all_other_options_and_arguments_are_ignored,
                no_feature_is_named_whose_option_is_refused,
            }
            options {
                both_sockets_or_none_is_an_error,
                options_that_make_no_sense_are_named_in_one_line,
                arguments_that_are_no_text_are_refused_like_others,
                help_names_every_option_and_version_the_package,
                descriptors_that_are_no_vhost_user_socket_are_refused,
                numbers_that_are_not_open_or_are_standard_streams_are_refused,
            }
            printing {
                help_and_capabilities_do_not_need_standard_streams,
                output_that_does_not_get_through_is_an_error,
                errors_that_cannot_be_written_keep_their_status,
            }
        }
    };
}

/// The rules for a program that serves, or is about to.
macro_rules! serving {
    ($run:path, $subject:path) => {
        tests! { $run, $subject,
            socket_path {
                one_front_end_after_another_is_served_until_sigterm,
                a_front_end_that_waits_is_served_when_the_one_before_it_goes,
                a_front_end_that_breaks_the_protocol_does_not_end_the_program,
                a_stale_socket_is_replaced,
                the_socket_that_a_killed_program_left_is_replaced,
                a_live_socket_is_left_alone,
                what_is_no_socket_is_left_alone,
                unusable_paths_are_errors_that_name_them,
                a_path_need_not_be_text,
                a_relative_path_is_taken_from_the_working_folder,
                a_socket_that_came_in_place_of_ours_is_not_unlinked,
                of_programs_started_at_once_on_one_stale_socket_one_serves,
            }
            socket_fd {
                a_connected_socket_is_served_until_the_front_end_hangs_up,
                a_front_end_that_hung_up_before_the_start_is_no_error,
                the_only_front_end_breaking_the_protocol_is_an_error,
                a_listening_socket_serves_one_front_end_after_another_and_keeps_its_file,
                the_number_may_follow_as_an_argument_of_its_own,
            }
            streams {
                dev_null_is_enough,
                closed_ones_become_dev_null_before_anything_else_can_take_their_numbers,
                every_log_level_is_taken,
                a_log_that_nobody_reads_holds_nothing_up,
                it_stays_the_process_that_was_started,
            }
            sandbox {
                all_rights_are_given_up_before_a_front_end_is_answered,
                nothing_is_given_up_where_that_is_asked_for,
                what_is_required_is_had_or_named,
                a_stage_that_a_kernel_does_not_have_is_named_and_ends_the_program_where_it_is_required,
                a_stage_that_a_kernel_does_not_have_is_done_without_where_it_is_not_required,
            }
            ending {
                while_it_listens,
                while_a_front_end_is_connected,
                while_a_message_is_half_there,
                while_it_is_still_starting,
                though_the_parent_left_them_ignored,
            }
        }
    };
}

mod capabilities;
mod ending;
mod gpu;
mod input;
mod install;
mod options;
mod printing;
mod sandbox;
mod socket_fd;
mod socket_path;
mod streams;
mod subject;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use seat_frontend::Deadline;
use seat_frontend::control::FrontEnd;
use seat_frontend::program::{Program, SERVING, TempDir};
use subject::{Ran, Subject};

/// When a test gives up.
fn patience() -> Deadline {
    Deadline::secs(30)
}

/// Asks for the features, which every back end has.
#[track_caller]
fn assert_served(front_end: &mut FrontEnd) {
    assert_ne!(front_end.get_features().unwrap(), 0);
}

/// How `child` ended; it is killed if it does not.
#[track_caller]
fn ended(mut child: Child) -> ExitStatus {
    let deadline = patience();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if deadline.passed() {
            child.kill().unwrap();
            panic!("it does not end");
        }
        std::thread::yield_now();
    }
}

/// A folder, and a path for a socket in it.
fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.join("socket");
    (folder, path)
}
