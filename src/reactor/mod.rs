//! One epoll set for one thread.
//!
//! A [`Reactor`] tells which of a closed list of sources is ready. A [`Watch`] owns the descriptor that it watches and
//! leaves the epoll set before that descriptor closes: one that came over `SCM_RIGHTS` has an open file description
//! shared with the sender, which would otherwise keep firing with no way left to remove it.
//!
//! Each watch carries a generation. An event that an earlier event of the same batch made stale (its watch was dropped
//! or replaced) is never reported.
//!
//! Sources are reported in their own order within a batch: the order of the list *is* the priority.

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Most events taken from the kernel in one turn; what is left comes with the next one.
const BATCH: usize = 32;

/// A closed list of sources, each with a small number: its slot and its priority (0 is first).
pub trait Source: Copy {
    /// How many there are.
    const COUNT: usize;
    /// This source's number, below [`Source::COUNT`].
    fn index(self) -> usize;
    /// The source of that number.
    fn from_index(index: usize) -> Option<Self>;
}

/// What a watch waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Readable, level-triggered.
    Read,
    /// Writable, level-triggered.
    Write,
    /// Both, level-triggered.
    ReadWrite,
    /// Hang-up and errors alone, level-triggered.
    Hangup,
    /// Each new readable edge: for eventfds that are never read. A count left over at registration is the first edge.
    ReadEdge,
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN,
            Self::Write => EpollFlags::EPOLLOUT,
            Self::ReadWrite => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
            Self::Hangup => EpollFlags::empty(),
            Self::ReadEdge => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
        }
    }
}

/// How long [`Reactor::wait`] waits where nothing is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Until something is.
    Never,
    /// Not at all.
    Now,
    /// That long.
    Milliseconds(u16),
}

/// What a source is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// A read will not block.
    pub readable: bool,
    /// A write will not block.
    pub writable: bool,
    /// The other end is gone, or the descriptor is in error.
    pub hangup: bool,
}

impl From<EpollFlags> for Readiness {
    fn from(flags: EpollFlags) -> Self {
        Self {
            readable: flags.contains(EpollFlags::EPOLLIN),
            writable: flags.contains(EpollFlags::EPOLLOUT),
            hangup: flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
        }
    }
}

/// The epoll set and, for each source, the generation of the watch that now stands for it.
#[derive(Debug)]
struct Registry {
    epoll: Epoll,
    current: Box<[Cell<u32>]>,
    last_generation: Cell<u32>,
}

impl Registry {
    fn slot(&self, index: usize) -> Option<&Cell<u32>> {
        self.current.get(index)
    }

    fn next_generation(&self) -> u32 {
        // 0 stands for "nothing watched".
        let next = self.last_generation.get().wrapping_add(1).max(1);
        self.last_generation.set(next);
        next
    }
}

/// A handle for adding watches; devices hold one for the descriptors that they open later.
#[derive(Debug)]
pub struct Registrar<S> {
    registry: Rc<Registry>,
    source: PhantomData<S>,
}

impl<S> Clone for Registrar<S> {
    fn clone(&self) -> Self {
        Self { registry: Rc::clone(&self.registry), source: PhantomData }
    }
}

impl<S: Source> Registrar<S> {
    /// Watches `fd` as `source`. A watch that stood for this source until now is no longer reported.
    ///
    /// # Errors
    /// What `epoll_ctl` says: out of memory or watches, or a kind of file that cannot be polled.
    pub fn watch<F: AsFd>(&self, source: S, fd: F, interest: Interest) -> io::Result<Watch<F>> {
        let index = source.index();
        let slot = self.registry.slot(index).ok_or(io::ErrorKind::InvalidInput)?;
        let generation = self.registry.next_generation();
        let token = Token { index, generation };
        self.registry.epoll.add(&fd, EpollEvent::new(interest.flags(), token.into()))?;
        slot.set(generation);
        Ok(Watch { fd, registry: Rc::clone(&self.registry), token, interest: Cell::new(interest) })
    }
}

/// What the kernel hands back with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Token {
    index: usize,
    generation: u32,
}

impl From<Token> for u64 {
    fn from(token: Token) -> Self {
        (u64::from(token.generation) << 32) | (token.index as u64 & 0xffff_ffff)
    }
}

impl From<u64> for Token {
    fn from(data: u64) -> Self {
        Self { index: (data & 0xffff_ffff) as usize, generation: (data >> 32) as u32 }
    }
}

/// A watched descriptor. Dropping it takes it out of the epoll set, then closes it.
#[derive(Debug)]
pub struct Watch<F: AsFd> {
    fd: F,
    registry: Rc<Registry>,
    token: Token,
    interest: Cell<Interest>,
}

impl<F: AsFd> Watch<F> {
    /// The descriptor.
    pub fn get(&self) -> &F {
        &self.fd
    }

    /// The descriptor, to be used. Its number must stay the one that was registered.
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.fd
    }

    /// Changes what is waited for. Costs nothing when it is that already.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn set_interest(&self, interest: Interest) -> io::Result<()> {
        if self.interest.get() != interest {
            let mut event = EpollEvent::new(interest.flags(), self.token.into());
            self.registry.epoll.modify(&self.fd, &mut event)?;
            self.interest.set(interest);
        }
        Ok(())
    }
}

impl<F: AsFd> Drop for Watch<F> {
    fn drop(&mut self) {
        // It can only fail for a descriptor that is not in the set; then there is nothing to take out.
        let _ = self.registry.epoll.delete(&self.fd);
        if let Some(slot) = self.registry.slot(self.token.index)
            && slot.get() == self.token.generation
        {
            slot.set(0);
        }
    }
}

impl<F: AsFd> AsFd for Watch<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The epoll set with the batch of events now being worked off.
#[derive(Debug)]
pub struct Reactor<S> {
    registrar: Registrar<S>,
    events: [EpollEvent; BATCH],
    len: usize,
    next: usize,
}

impl<S: Source> Reactor<S> {
    /// An empty set.
    ///
    /// # Errors
    /// What `epoll_create1` says.
    pub fn new() -> io::Result<Self> {
        let registry = Registry {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            current: (0..S::COUNT).map(|_| Cell::new(0)).collect(),
            last_generation: Cell::new(0),
        };
        Ok(Self {
            registrar: Registrar { registry: Rc::new(registry), source: PhantomData },
            events: [EpollEvent::empty(); BATCH],
            len: 0,
            next: 0,
        })
    }

    /// The handle that adds watches.
    pub fn registrar(&self) -> &Registrar<S> {
        &self.registrar
    }

    /// Fetches a new batch, waiting for it as long as `timeout` says. What the last batch still held is forgotten
    /// (level-triggered sources come again; an edge must have been worked off).
    ///
    /// # Errors
    /// What `epoll_wait` says, interruption aside.
    pub fn wait(&mut self, timeout: Timeout) -> io::Result<()> {
        let timeout = match timeout {
            Timeout::Never => EpollTimeout::NONE,
            Timeout::Now => EpollTimeout::ZERO,
            Timeout::Milliseconds(time) => EpollTimeout::from(time),
        };
        self.next = 0;
        self.len = match self.registrar.registry.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => {
                self.len = 0;
                return Err(error.into());
            }
        };
        if let Some(batch) = self.events.get_mut(..self.len) {
            batch.sort_unstable_by_key(|event| Token::from(event.data()).index);
        }
        Ok(())
    }

    /// The next ready source of the batch, stale ones left out. `None` when the batch is worked off.
    pub fn next_ready(&mut self) -> Option<(S, Readiness)> {
        while self.next < self.len {
            let event = self.events.get(self.next)?;
            self.next += 1;
            let token = Token::from(event.data());
            let live = self.registrar.registry.slot(token.index).is_some_and(|slot| slot.get() == token.generation);
            if live && let Some(source) = S::from_index(token.index) {
                return Some((source, event.events().into()));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::eventfd::{EfdFlags, EventFd};

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Number(usize);

    impl Source for Number {
        const COUNT: usize = 4;
        fn index(self) -> usize {
            self.0
        }
        fn from_index(index: usize) -> Option<Self> {
            (index < Self::COUNT).then_some(Self(index))
        }
    }

    fn eventfd(count: u32) -> EventFd {
        EventFd::from_value_and_flags(count, EfdFlags::EFD_NONBLOCK).unwrap()
    }

    fn ready(reactor: &mut Reactor<Number>) -> Vec<usize> {
        reactor.wait(Timeout::Now).unwrap();
        std::iter::from_fn(|| reactor.next_ready()).map(|(Number(n), _)| n).collect()
    }

    #[test]
    fn sources_come_in_their_order_whatever_the_order_of_their_watches() {
        let mut reactor = Reactor::<Number>::new().unwrap();
        let _watches: Vec<_> = [3, 0, 2]
            .map(|n| reactor.registrar().watch(Number(n), eventfd(1), Interest::Read).unwrap())
            .into_iter()
            .collect();
        assert_eq!(ready(&mut reactor), [0, 2, 3]);
    }

    #[test]
    fn an_edge_is_reported_once_for_each_write_and_once_for_a_count_left_over() {
        let mut reactor = Reactor::<Number>::new().unwrap();
        let watch = reactor.registrar().watch(Number(1), eventfd(5), Interest::ReadEdge).unwrap();
        assert_eq!(ready(&mut reactor), [1], "the count at registration");
        assert!(ready(&mut reactor).is_empty());
        watch.get().write(1).unwrap();
        assert_eq!(ready(&mut reactor), [1]);
        assert!(ready(&mut reactor).is_empty());
    }

    #[test]
    fn an_event_whose_watch_was_dropped_earlier_in_the_batch_is_not_reported() {
        let mut reactor = Reactor::<Number>::new().unwrap();
        let first = reactor.registrar().watch(Number(0), eventfd(1), Interest::Read).unwrap();
        let second = reactor.registrar().watch(Number(1), eventfd(1), Interest::Read).unwrap();
        reactor.wait(Timeout::Now).unwrap();
        assert_eq!(reactor.next_ready().map(|(n, _)| n), Some(Number(0)));
        drop(second);
        let _replacement = reactor.registrar().watch(Number(1), eventfd(0), Interest::Read).unwrap();
        assert_eq!(reactor.next_ready().map(|(n, _)| n), None);
        drop(first);
    }

    #[test]
    fn a_descriptor_shared_with_somebody_else_is_silent_once_its_watch_is_gone() {
        let mut reactor = Reactor::<Number>::new().unwrap();
        let theirs = eventfd(0);
        let ours = theirs.as_fd().try_clone_to_owned().unwrap();
        let watch = reactor.registrar().watch(Number(2), ours, Interest::Read).unwrap();
        drop(watch);
        theirs.write(1).unwrap();
        assert!(ready(&mut reactor).is_empty());
    }

    #[test]
    fn replacing_a_watch_leaves_the_new_one_reported_when_the_old_one_is_dropped_after() {
        let mut reactor = Reactor::<Number>::new().unwrap();
        let old = reactor.registrar().watch(Number(2), eventfd(1), Interest::Read).unwrap();
        let _new = reactor.registrar().watch(Number(2), eventfd(1), Interest::Read).unwrap();
        drop(old);
        assert_eq!(ready(&mut reactor), [2]);
    }
}
