//! Kick, call and err: what is no eventfd is refused, and a full one that blocks holds nobody for good.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{Epoll, EpollCreateFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::Signal;
use seat_frontend::control::request;
use seat_frontend::gpu::Command;
use seat_frontend::program::stream_pair;

use crate::common::{Seat, assert_answers, boot, soon};
use crate::serving::{BOTH, BackEnd};

#[test]
fn descriptors_that_are_no_eventfds_are_refused_as_kick_call_and_err() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (socket, _other) = stream_pair().unwrap();
    let epoll = Epoll::new(EpollCreateFlags::empty()).unwrap();
    let others: [(&str, OwnedFd); 6] = [
        ("a pipe to read", reader),
        ("a pipe to write", writer),
        ("a socket", socket.into()),
        ("a file", File::open("/proc/self/exe").unwrap().into()),
        ("a device", File::open("/dev/zero").unwrap().into()),
        ("an epoll set", epoll.0),
    ];
    for kind in BOTH {
        let back_end = BackEnd::new(kind);
        let mut front = back_end.negotiated();
        for (what, fd) in &others {
            for number in [request::SET_VRING_KICK, request::SET_VRING_CALL, request::SET_VRING_ERR] {
                let answer = front.ack_value(number, &0u64.to_ne_bytes(), &[fd.as_fd()]).unwrap();
                assert_ne!(answer, 0, "{kind:?}: {what} as {number}");
            }
        }
        drop(front);
        back_end.assert_well("after all of them");
    }
}

/// A full eventfd that makes its writers wait.
fn full() -> EventFd {
    let eventfd = EventFd::from_flags(EfdFlags::empty()).unwrap();
    eventfd.write(u64::MAX - 1).unwrap();
    eventfd
}

#[test]
fn a_full_call_that_blocks_is_given_up_and_the_ring_goes_on() {
    let Seat { mut program, mut vm } = boot();
    assert_answers(&mut vm);
    let full = full();

    // A new one is written at once; and then there is one more for each batch.
    vm.front.set_vring_call(0, Some(full.as_fd())).unwrap();
    vm.front.barrier().unwrap();
    let done = vm.driver.queue(&Command::ResourceUnref { resource_id: 77 });
    done.unwrap();
    vm.driver.kick();
    while !vm.driver.control_ring().has_used() {
        vm.front.barrier().unwrap();
    }

    let lines = program.stderr();
    assert!(lines.lines().count() == 1 && lines.contains("an eventfd of ring 0"), "{lines:?}");
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

#[test]
fn a_full_err_that_blocks_is_given_up_and_the_next_start_recovers() {
    let Seat { mut program, mut vm } = boot();
    let full = full();
    vm.front.set_vring_err(0, Some(full.as_fd())).unwrap();

    vm.driver.control_ring().offer(999);
    vm.driver.control_ring().kick_now();
    vm.driver.move_cursor(u32::MAX, 0, (0, 0)).unwrap();

    vm.reboot().unwrap();
    assert_answers(&mut vm);
    assert_eq!(program.terminate(soon()).unwrap().code(), Some(0));
}

#[test]
fn an_eventfd_that_is_made_to_block_after_it_was_taken_is_given_up_too() {
    let Seat { program, mut vm } = boot();
    let eventfd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    vm.front.set_vring_call(0, Some(eventfd.as_fd())).unwrap();
    vm.front.barrier().unwrap();
    let _ = eventfd.read();
    fcntl(eventfd.as_fd(), FcntlArg::F_SETFL(OFlag::O_RDWR)).unwrap();
    eventfd.write(u64::MAX - 1).unwrap();

    vm.driver.queue(&Command::ResourceUnref { resource_id: 77 }).unwrap();
    vm.driver.kick();
    while !vm.driver.control_ring().has_used() {
        vm.front.barrier().unwrap();
    }
    vm.front.barrier().unwrap();

    assert!(program.stderr().contains("an eventfd of ring 0 is not written any more"), "{}", program.stderr());
}

#[test]
fn full_calls_that_block_one_after_another_do_not_keep_sigterm_waiting() {
    let Seat { mut program, mut vm } = boot();
    let full = full();
    for _ in 0..40 {
        vm.front.send(request::SET_VRING_CALL, 0, &0u64.to_ne_bytes(), &[full.as_fd()]).unwrap();
    }

    program.signal(Signal::SIGTERM).unwrap();

    assert_eq!(program.wait(soon()).unwrap().code(), Some(0));
}

#[test]
fn a_full_call_that_does_not_block_is_no_error() {
    let Seat { program, mut vm } = boot();
    let eventfd = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    eventfd.write(u64::MAX - 1).unwrap();
    vm.front.set_vring_call(0, Some(eventfd.as_fd())).unwrap();
    for resource_id in 100..200 {
        vm.driver.queue(&Command::ResourceUnref { resource_id }).unwrap();
        vm.driver.kick();
        while !vm.driver.control_ring().has_used() {
            vm.front.barrier().unwrap();
        }
        // The driver looks by itself.
        vm.driver.control_ring().poll_used().unwrap();
        if resource_id > 140 {
            break;
        }
    }
    assert_eq!(program.stderr(), "");
}
