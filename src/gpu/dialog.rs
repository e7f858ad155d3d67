//! What is asked of the display and what it answered. No I/O.
//!
//! Answers come in the order of the questions. QEMU leaves one question unanswered: GET_EDID of a scanout that it does
//! not have. So the first GET_EDID of each scanout is followed by a GET_DISPLAY_INFO, which it always answers: where
//! that answer comes first, there is no such scanout.
//!
//! DMABUF_UPDATE's answers say that a frame was taken, and not whose: they are matched in the order of sending. QEMU has one
//! flag for all of them and keeps it over a change of sockets, so after a pause it may give one answer to two updates, or one
//! that belongs to the display before. Neither is an error: an answer that nobody waits for is nobody's, and frames that come
//! before what was just answered were taken, whether QEMU said so or not. Where one is missed for long, it is asked something.

use std::collections::VecDeque;

use log::debug;
use vhost::vhost_user::gpu_message::GpuBackendReq;

use super::command::{MAX_SCANOUTS, ScanoutId};
use super::display::wire::{self, DISPLAY_INFO_LEN, EDID_LEN, Head};
use super::display::{DisplayError, Reply};

/// What the guest wants to know and only the display can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// GET_DISPLAY_INFO.
    DisplayInfo,
    /// GET_EDID.
    Edid(ScanoutId),
}

/// What the display says to the guest's question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// A whole response of GET_DISPLAY_INFO; its header's fence fields are not the guest's.
    DisplayInfo(&'a [u8]),
    /// A whole response of GET_EDID; as above.
    Edid(&'a [u8]),
    /// It gives no EDIDs; this is the size that it wants.
    EdidFor { width: u32, height: u32 },
    /// There is no such scanout.
    NoSuchScanout,
}

/// What a reply tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Told<'a> {
    /// What it says to the guest's question, if it does.
    pub answer: Option<Answer<'a>>,
    /// The scanouts whose frames the display took, by bit.
    pub taken: u16,
}

/// An answer that will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Features,
    DisplayInfo,
    Edid(ScanoutId),
    /// The display info after a GET_EDID that may go unanswered.
    Fence,
    /// Display info in place of an EDID.
    InfoForEdid(ScanoutId),
    /// The display took a frame of the scanouts with these bits.
    Frame(u16),
    /// Display info that shows that the frames before it were taken.
    Sign,
}

/// Answers that can be due at a time without more memory: a frame of each scanout, and what a guest asks. A display that owes
/// as many is asked nothing more until it gave one: who withdraws a question and asks again can do so without end.
const EXPECTED: usize = 2 * MAX_SCANOUTS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Features {
    Unasked,
    Asked,
    Answered(u64),
    Settled(u64),
}

/// Whether a sign of life was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sign {
    No,
    Due,
    Asked,
}

/// The questions of one display.
#[derive(Debug)]
pub struct Dialog {
    features: Features,
    /// The guest's question, until it was sent.
    unsent: Option<Question>,
    fence_due: bool,
    sign: Sign,
    expected: VecDeque<(Expected, u32)>,
    /// The number of the guest's present question; answers to earlier ones are nobody's.
    serial: u32,
    /// The scanouts whose EDID was answered once, by bit.
    known: u16,
}

impl Default for Dialog {
    fn default() -> Self {
        Self {
            features: Features::Unasked,
            unsent: None,
            fence_due: false,
            sign: Sign::No,
            expected: VecDeque::with_capacity(EXPECTED),
            serial: 0,
            known: 0,
        }
    }
}

impl Dialog {
    /// The guest asks; its earlier question, if any, is withdrawn.
    pub fn ask(&mut self, question: Question) {
        self.withdraw();
        self.unsent = Some(question);
    }

    /// The guest no longer waits for an answer.
    pub fn withdraw(&mut self) {
        self.serial = self.serial.wrapping_add(1);
        self.unsent = None;
    }

    /// The next message to the display, as sent from then on.
    pub fn next_message(&mut self) -> Option<Head> {
        match self.features {
            Features::Unasked => {
                self.features = Features::Asked;
                self.awaits(Expected::Features);
                return Some(Head::get_protocol_features());
            }
            Features::Answered(features) => {
                self.features = Features::Settled(features);
                return Some(Head::set_protocol_features(features));
            }
            Features::Asked | Features::Settled(_) => {}
        }
        if std::mem::take(&mut self.fence_due) {
            self.awaits(Expected::Fence);
            return Some(Head::get_display_info());
        }
        // Not before that: it follows its GET_EDID at once.
        if self.expected.len() >= EXPECTED {
            return None;
        }
        if self.sign == Sign::Due {
            self.sign = Sign::Asked;
            self.awaits(Expected::Sign);
            return Some(Head::get_display_info());
        }
        match (self.unsent?, self.features) {
            (Question::DisplayInfo, _) => {
                self.awaits(Expected::DisplayInfo);
                self.unsent = None;
                Some(Head::get_display_info())
            }
            (Question::Edid(scanout), Features::Settled(features)) => {
                self.unsent = None;
                Some(self.ask_edid(scanout, features))
            }
            // Whether EDIDs can be asked for is not known yet.
            (Question::Edid(_), _) => None,
        }
    }

    fn ask_edid(&mut self, scanout: ScanoutId, features: u64) -> Head {
        if features & wire::F_EDID == 0 {
            self.awaits(Expected::InfoForEdid(scanout));
            return Head::get_display_info();
        }
        self.awaits(Expected::Edid(scanout));
        self.fence_due = self.known & bit(scanout) == 0;
        Head::get_edid(scanout.0)
    }

    /// Whether the display knows DMABUF_SCANOUT2; `None` until it is settled.
    pub fn dmabuf2(&self) -> Option<bool> {
        match self.features {
            Features::Settled(features) => Some(features & wire::F_DMABUF2 != 0),
            _ => None,
        }
    }

    /// A frame of that scanout is sent; the display says when it took it.
    pub fn sends_frame(&mut self, scanout: ScanoutId) {
        self.awaits(Expected::Frame(bit(scanout)));
    }

    /// A frame has not been taken for long: the display's next answer will show whether it was.
    pub fn misses_frame(&mut self) {
        if self.sign == Sign::No {
            self.sign = Sign::Due;
        }
    }

    fn awaits(&mut self, expected: Expected) {
        self.expected.push_back((expected, self.serial));
    }

    /// Takes a reply.
    ///
    /// # Errors
    /// Nothing of the kind was asked, or something else was asked before.
    pub fn reply<'a>(&mut self, reply: &Reply<'a>) -> Result<Told<'a>, DisplayError> {
        if reply.request == GpuBackendReq::DMABUF_UPDATE {
            return Ok(Told { answer: None, taken: self.take_frame() });
        }
        let taken = self.take_frames_before_all_else();
        Ok(Told { answer: self.answer(reply)?, taken })
    }

    /// Takes the first frame out that is waited for.
    fn take_frame(&mut self) -> u16 {
        let place = self.expected.iter().position(|(expected, _)| matches!(expected, Expected::Frame(_)));
        match place.and_then(|place| self.expected.remove(place)) {
            Some((Expected::Frame(scanout), _)) => scanout,
            _ => 0,
        }
    }

    fn take_frames_before_all_else(&mut self) -> u16 {
        let mut taken = 0;
        while let Some((Expected::Frame(scanout), _)) = self.expected.front() {
            taken |= scanout;
            self.expected.pop_front();
        }
        taken
    }

    /// What a reply says to the guest's question, if it does.
    fn answer<'a>(&mut self, reply: &Reply<'a>) -> Result<Option<Answer<'a>>, DisplayError> {
        let out_of_order = || DisplayError::Order(reply.request);
        let (mut expected, mut serial) = self.expected.pop_front().ok_or_else(out_of_order)?;
        let mut unanswered = false;
        if let (Expected::Edid(_), GpuBackendReq::GET_DISPLAY_INFO) = (expected, reply.request) {
            unanswered = true;
            let fence = self.expected.pop_front().filter(|(next, _)| *next == Expected::Fence);
            (expected, _) = fence.ok_or_else(out_of_order)?;
        }
        let answer = match (expected, reply.request) {
            (Expected::Features, GpuBackendReq::GET_PROTOCOL_FEATURES) => {
                let offered = reply.payload.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
                debug!("the display offers features {offered:#x}");
                self.features = Features::Answered(offered & (wire::F_EDID | wire::F_DMABUF2));
                serial = self.serial.wrapping_sub(1);
                None
            }
            (Expected::DisplayInfo, GpuBackendReq::GET_DISPLAY_INFO) => Some(Answer::DisplayInfo(reply.payload)),
            (Expected::InfoForEdid(scanout), GpuBackendReq::GET_DISPLAY_INFO) => {
                Some(edid_size(scanout, reply.payload))
            }
            (Expected::Fence, GpuBackendReq::GET_DISPLAY_INFO) => unanswered.then_some(Answer::NoSuchScanout),
            (Expected::Sign, GpuBackendReq::GET_DISPLAY_INFO) => {
                self.sign = Sign::No;
                None
            }
            (Expected::Edid(scanout), GpuBackendReq::GET_EDID) => {
                self.known |= bit(scanout);
                Some(Answer::Edid(reply.payload))
            }
            _ => return Err(out_of_order()),
        };
        Ok(answer.filter(|_| serial == self.serial))
    }
}

fn bit(scanout: ScanoutId) -> u16 {
    1u16.checked_shl(scanout.0).unwrap_or(0)
}

/// The size of a scanout in a GET_DISPLAY_INFO response: after the 24-byte header, 24 bytes a head, of which x, y,
/// width and height come first.
fn edid_size(scanout: ScanoutId, info: &[u8]) -> Answer<'static> {
    let head = (scanout.0 as usize).checked_mul(24).and_then(|offset| info.get(24..)?.get(offset..));
    let field = |index: usize| {
        let bytes = head.and_then(|head| head.get(index * 4..)?.first_chunk());
        bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
    };
    if scanout.0 as usize >= MAX_SCANOUTS {
        Answer::NoSuchScanout
    } else {
        Answer::EdidFor { width: field(2), height: field(3) }
    }
}

const _: () = assert!(DISPLAY_INFO_LEN == 24 + 24 * MAX_SCANOUTS && EDID_LEN == 24 + 8 + 1024);

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: [u8; DISPLAY_INFO_LEN] = [0; DISPLAY_INFO_LEN];
    const EDID: [u8; EDID_LEN] = [0; EDID_LEN];

    fn request(head: Option<Head>) -> Option<u32> {
        head.map(|head| u32::from_ne_bytes(head.bytes()[..4].try_into().unwrap()))
    }

    fn reply(request: GpuBackendReq, payload: &[u8]) -> Reply<'_> {
        Reply { request, payload }
    }

    fn heard<'a>(dialog: &mut Dialog, request: GpuBackendReq, payload: &'a [u8]) -> Option<Answer<'a>> {
        let told = dialog.reply(&reply(request, payload)).unwrap();
        assert_eq!(told.taken, 0);
        told.answer
    }

    /// The scanouts whose frames were taken, by bit.
    fn taken(dialog: &mut Dialog) -> u16 {
        let told = dialog.reply(&reply(GpuBackendReq::DMABUF_UPDATE, &[])).unwrap();
        assert_eq!(told.answer, None);
        told.taken
    }

    /// A dialog whose features are settled.
    fn settled(features: u64) -> Dialog {
        let mut dialog = Dialog::default();
        assert_eq!(request(dialog.next_message()), Some(1));
        let features = features.to_ne_bytes();
        assert_eq!(heard(&mut dialog, GpuBackendReq::GET_PROTOCOL_FEATURES, &features), None);
        assert_eq!(request(dialog.next_message()), Some(2));
        dialog
    }

    #[test]
    fn an_edid_waits_until_it_is_known_whether_it_can_be_asked_for() {
        let mut dialog = Dialog::default();
        dialog.ask(Question::Edid(ScanoutId(0)));
        assert_eq!(request(dialog.next_message()), Some(1));
        assert_eq!(request(dialog.next_message()), None);
        heard(&mut dialog, GpuBackendReq::GET_PROTOCOL_FEATURES, &3u64.to_ne_bytes());
        assert_eq!([request(dialog.next_message()), request(dialog.next_message())], [Some(2), Some(11)]);
    }

    #[test]
    fn the_first_edid_of_a_scanout_is_followed_by_a_question_that_is_always_answered() {
        let mut dialog = settled(3);
        dialog.ask(Question::Edid(ScanoutId(2)));
        assert_eq!(
            [request(dialog.next_message()), request(dialog.next_message()), request(dialog.next_message())],
            [Some(11), Some(3), None]
        );
        let answer = heard(&mut dialog, GpuBackendReq::GET_EDID, &EDID);
        assert_eq!(answer, Some(Answer::Edid(&EDID)));
        assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), None);
        dialog.ask(Question::Edid(ScanoutId(2)));
        assert_eq!(
            [request(dialog.next_message()), request(dialog.next_message())],
            [Some(11), None],
            "now it is known"
        );
    }

    #[test]
    fn an_edid_that_goes_unanswered_means_that_there_is_no_such_scanout() {
        let mut dialog = settled(3);
        dialog.ask(Question::Edid(ScanoutId(9)));
        while dialog.next_message().is_some() {}
        let answer = heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO);
        assert_eq!(answer, Some(Answer::NoSuchScanout));
    }

    #[test]
    fn a_display_without_edids_is_asked_for_its_size_instead() {
        let mut dialog = settled(0);
        dialog.ask(Question::Edid(ScanoutId(1)));
        assert_eq!(request(dialog.next_message()), Some(3));
        let mut info = INFO;
        info[24 + 24 + 8..][..4].copy_from_slice(&1366u32.to_le_bytes());
        info[24 + 24 + 12..][..4].copy_from_slice(&768u32.to_le_bytes());
        let answer = heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &info);
        assert_eq!(answer, Some(Answer::EdidFor { width: 1366, height: 768 }));
    }

    #[test]
    fn the_answer_to_a_withdrawn_question_is_nobodys() {
        let mut dialog = settled(3);
        dialog.ask(Question::DisplayInfo);
        dialog.next_message();
        dialog.ask(Question::DisplayInfo);
        dialog.next_message();
        assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), None);
        let answer = heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO);
        assert_eq!(answer, Some(Answer::DisplayInfo(&INFO)));
    }

    #[test]
    fn a_display_that_owes_many_answers_is_asked_no_more_until_it_gave_one() {
        let mut dialog = settled(3);
        let mut ask = || {
            dialog.ask(Question::DisplayInfo);
            dialog.next_message().is_some()
        };
        assert_eq!((0..1000).filter(|_| ask()).count(), EXPECTED);
        assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), None);
        assert_eq!(request(dialog.next_message()), Some(3), "the last question");
        for _ in 1..EXPECTED {
            assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), None);
        }
        assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), Some(Answer::DisplayInfo(&INFO)));
    }

    #[test]
    fn an_edid_is_followed_by_its_question_whatever_the_display_owes() {
        let mut dialog = settled(3);
        for _ in 1..EXPECTED {
            dialog.ask(Question::DisplayInfo);
            dialog.next_message();
        }
        dialog.ask(Question::Edid(ScanoutId(9)));
        assert_eq!([request(dialog.next_message()), request(dialog.next_message())], [Some(11), Some(3)]);
        dialog.ask(Question::DisplayInfo);
        assert_eq!(request(dialog.next_message()), None);
    }

    #[test]
    fn answers_that_nobody_asked_for_are_errors() {
        let mut dialog = settled(3);
        assert!(dialog.reply(&reply(GpuBackendReq::GET_DISPLAY_INFO, &INFO)).is_err());
        let mut dialog = settled(3);
        dialog.ask(Question::DisplayInfo);
        dialog.next_message();
        assert!(dialog.reply(&reply(GpuBackendReq::GET_EDID, &EDID)).is_err());
    }

    #[test]
    fn frames_are_taken_in_the_order_in_which_they_were_sent_among_other_answers() {
        let mut dialog = settled(3);
        dialog.sends_frame(ScanoutId(4));
        dialog.ask(Question::DisplayInfo);
        dialog.next_message();
        dialog.sends_frame(ScanoutId(0));
        assert_eq!(taken(&mut dialog), 1 << 4);
        assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), Some(Answer::DisplayInfo(&INFO)));
        assert_eq!(taken(&mut dialog), 1 << 0);
    }

    #[test]
    fn a_frame_that_nobody_sent_is_taken_from_nobody() {
        let mut dialog = settled(3);
        assert_eq!(taken(&mut dialog), 0);
        dialog.sends_frame(ScanoutId(1));
        assert_eq!([taken(&mut dialog), taken(&mut dialog)], [1 << 1, 0]);
    }

    #[test]
    fn an_answer_to_what_was_asked_after_frames_says_that_they_were_taken() {
        let mut dialog = settled(3);
        dialog.sends_frame(ScanoutId(2));
        dialog.sends_frame(ScanoutId(3));
        dialog.ask(Question::DisplayInfo);
        dialog.next_message();
        dialog.sends_frame(ScanoutId(5));
        let told = dialog.reply(&reply(GpuBackendReq::GET_DISPLAY_INFO, &INFO)).unwrap();
        assert_eq!(told, Told { answer: Some(Answer::DisplayInfo(&INFO)), taken: 1 << 2 | 1 << 3 });
        assert_eq!(taken(&mut dialog), 1 << 5);
    }

    #[test]
    fn a_display_that_misses_a_frame_is_asked_once_at_a_time_and_its_answer_takes_the_frame() {
        let mut dialog = settled(3);
        for _ in 0..2 {
            dialog.sends_frame(ScanoutId(2));
            dialog.misses_frame();
            assert_eq!([request(dialog.next_message()), request(dialog.next_message())], [Some(3), None]);
            dialog.misses_frame();
            assert_eq!(request(dialog.next_message()), None);
            dialog.ask(Question::DisplayInfo);
            dialog.next_message();
            let told = dialog.reply(&reply(GpuBackendReq::GET_DISPLAY_INFO, &INFO)).unwrap();
            assert_eq!(told, Told { answer: None, taken: 1 << 2 });
            assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), Some(Answer::DisplayInfo(&INFO)));
        }
    }

    #[test]
    fn an_edid_that_goes_unanswered_after_a_frame_is_told_from_the_frame() {
        let mut dialog = settled(3);
        dialog.sends_frame(ScanoutId(0));
        dialog.ask(Question::Edid(ScanoutId(9)));
        while dialog.next_message().is_some() {}
        dialog.sends_frame(ScanoutId(1));
        assert_eq!(taken(&mut dialog), 1 << 0);
        assert_eq!(heard(&mut dialog, GpuBackendReq::GET_DISPLAY_INFO, &INFO), Some(Answer::NoSuchScanout));
        assert_eq!(taken(&mut dialog), 1 << 1);
    }
}
