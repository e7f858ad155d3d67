//! Commands that wait for the display: for its answer to a question, or until it took the frame before. The control queue
//! waits with them; it goes on without a display, and without one that does not come to an end.

use std::time::Duration;

use super::command::{
    DISPLAY_INFO_SIZE, EDID_SIZE, Head, MAX_SCANOUTS, Status, encode_display_info, encode_header, patch_header,
};
use super::dialog::{Answer, Question, Told};
use super::display::DisplayError;
use super::link::Heard;
use super::queue::{Held, Waiting};
use super::rect::Rect;
use super::{Gpu, scanout};
use crate::vhost_proto::device::Turn;
use crate::vhost_proto::memory::GuestMemory;
use crate::vhost_proto::vring::Ring;

/// The size that a guest is told of where no display can be asked.
const DEFAULT_SIZE: (u32, u32) = (1280, 800);

/// Replies of the display taken before the others get their turn.
const REPLIES_A_TURN: usize = 64;

/// How long a question to a display that hung up waits for the next display, or for the pause or the reset that the
/// hang-up announced: QEMU closes the display before it stops the rings.
const GRACE: Duration = Duration::from_secs(1);

impl Gpu {
    /// Holds a command until the display has answered; without a display it is answered at once.
    pub(super) fn ask(&mut self, held: Held, memory: &GuestMemory) {
        self.held = Some(held);
        match &mut self.link {
            Some(link) if link.works() => link.ask(held.question),
            _ => {
                self.answer_alone(memory);
            }
        }
    }

    /// Answers the held command where there is no display to ask. `false` where there is one, and it is waited for.
    pub(super) fn answer_alone(&mut self, memory: &GuestMemory) -> bool {
        if self.display_will_answer() {
            return false;
        }
        match self.held.take() {
            Some(Held { header, question: Question::DisplayInfo }) => {
                let (width, height) = DEFAULT_SIZE;
                let mut heads = [Head::default(); MAX_SCANOUTS];
                heads[0] = Head { rect: Rect::of_size(width, height), enabled: true, flags: 0 };
                let mut response = [0; DISPLAY_INFO_SIZE];
                encode_display_info(&header, &heads, &mut response);
                self.control.answer(memory, &header, &response);
            }
            Some(Held { header, question: Question::Edid(_) }) => {
                self.control.answer_edid(memory, &header, DEFAULT_SIZE);
            }
            None => {}
        }
        true
    }

    /// Answers the flush that waits, if it need no longer. `false` while it does.
    pub(super) fn answer_flush(&mut self, ring: &mut Ring, memory: &GuestMemory) -> bool {
        if let Some(Waiting { header, scanouts, since }) = self.waiting {
            if scanouts & self.state.waiting() != 0 && since.elapsed() < scanout::PATIENCE {
                return false;
            }
            self.waiting = None;
            if ring.running() {
                self.control.answer(memory, &header, &encode_header(Status::OkNoData, &header));
            } else {
                // Disabled meanwhile: the command is the guest's again, and does no harm a second time.
                ring.unpop();
            }
        }
        true
    }

    /// Takes the display's replies and answers the held command with the one that is for it.
    pub(super) fn hear(&mut self, ring: &mut Ring, memory: &GuestMemory) -> Result<(), DisplayError> {
        for _ in 0..REPLIES_A_TURN {
            let Some(link) = &mut self.link else { break };
            let Heard::Reply(Told { answer, taken }) = link.hear()? else { break };
            self.state.taken(taken);
            if let Some(waiting) = &mut self.waiting {
                waiting.scanouts &= !taken;
            }
            let Some(answer) = answer else { continue };
            let Some(Held { header, .. }) = self.held.take() else { continue };
            if !ring.running() {
                // Disabled meanwhile: the command is the guest's again, and will be asked anew.
                ring.unpop();
                continue;
            }
            match answer {
                Answer::DisplayInfo(payload) | Answer::Edid(payload) => {
                    let mut response = [0; EDID_SIZE];
                    let Some(response) = response.get_mut(..payload.len()) else { continue };
                    response.copy_from_slice(payload);
                    // It has room for a header: it is a whole response.
                    let _ = patch_header(response, &header);
                    self.control.answer(memory, &header, response);
                }
                Answer::EdidFor { width, height } => {
                    let size = if width == 0 || height == 0 { DEFAULT_SIZE } else { (width, height) };
                    self.control.answer_edid(memory, &header, size);
                }
                Answer::NoSuchScanout => {
                    let response = encode_header(Status::ErrInvalidScanoutId, &header);
                    self.control.answer(memory, &header, &response);
                }
            }
        }
        Ok(())
    }

    /// Whether the display's answer is still to be expected.
    pub(super) fn display_will_answer(&self) -> bool {
        match &self.link {
            Some(link) => link.works(),
            None => self.hung_up.is_some_and(|since| since.elapsed() < GRACE),
        }
    }

    /// `turn`, or another one where a command waits for a display that was lost.
    pub(super) fn or_waiting(&self, turn: Turn) -> Turn {
        if let Some(Waiting { scanouts, since, .. }) = &self.waiting {
            let left = scanout::PATIENCE.saturating_sub(since.elapsed());
            let over = scanouts & self.state.waiting() == 0 || left.is_zero();
            return match turn {
                Turn::Done if !over => Turn::Within(left),
                Turn::Later if !over => Turn::Later,
                _ => Turn::More,
            };
        }
        match (&self.held, &self.link) {
            (Some(_), _) if !self.display_will_answer() => Turn::More,
            (Some(_), None) if turn == Turn::Done => Turn::Later,
            _ => turn,
        }
    }

    /// Forgets the command that waits. `true` where there was one.
    pub(super) fn withdraw(&mut self) -> bool {
        if let Some(link) = &mut self.link {
            link.withdraw();
        }
        self.held.take().is_some() | self.waiting.take().is_some()
    }
}
