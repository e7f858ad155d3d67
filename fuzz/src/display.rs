//! What a display sends: [`Display`] and [`ReplyHeader`] on any bytes in any pieces, and [`Dialog`] with a display that
//! answers as QEMU does, and with one that lies.
//!
//! | first byte | the rest |
//! |---|---|
//! | even | pieces of the stream: a length of one byte, or two where it is 255, and the bytes |
//! | odd | operations of the dialog, a byte each, see [`Talk`] |

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;

use seat_frontend::control::wire::{Header, REPLY};
use seat_frontend::display::message;
use vhost::vhost_user::gpu_message::GpuBackendReq;
use vhost_seat::gpu::command::{MAX_SCANOUTS, ScanoutId};
use vhost_seat::gpu::dialog::{Answer, Dialog, Question, Told};
use vhost_seat::gpu::display::wire::{DISPLAY_INFO_LEN, EDID_LEN, F_EDID, HEADER_LEN, Head, ReplyHeader};
use vhost_seat::gpu::display::{Display, DisplayError, Reply};
use vhost_seat::gpu::dmabuf::{DISPLAY_ORDER, Dmabuf, LINEAR};
use vhost_seat::gpu::rect::Rect;
use vhost_seat::reactor::Reactor;
use vhost_seat::vhost_proto::device::Source;

use super::fds;
use super::script::Script;

/// Pieces, or operations, of one run.
const MAX_STEPS: usize = 400;

/// One display. Returns how many replies were taken.
pub fn run(data: &[u8]) -> usize {
    let mut script = Script::new(data);
    if script.u8().is_multiple_of(2) { stream(&mut script) } else { Talk::new().run(&mut script) }
}

fn stream(script: &mut Script<'_>) -> usize {
    let reactor: Reactor<Source> = Reactor::new().unwrap();
    let (theirs, ours) = UnixStream::pair().unwrap();
    let mut display = Display::new(ours.into(), 0, reactor.registrar()).unwrap();
    let mut sent: VecDeque<u8> = VecDeque::new();
    let mut taken = 0;
    for _ in 0..MAX_STEPS {
        if script.is_empty() {
            break;
        }
        let len = match script.u8() {
            255 => usize::from(script.u16()),
            len => len.into(),
        };
        let bytes = script.bytes(len);
        let count = fds::send(&theirs, bytes, &[]);
        sent.extend(&bytes[..count]);
        loop {
            let next = next_reply(&sent);
            match display.receive() {
                Ok(None) => {
                    assert!(matches!(next, Ok(None)), "it is all there");
                    break;
                }
                Ok(Some(reply)) => {
                    let (request, payload) = next.expect("a reply").expect("a whole one");
                    assert_eq!((reply.request as u32, reply.payload), (request, &payload[..]));
                    sent.drain(..HEADER_LEN + payload.len());
                    taken += 1;
                }
                Err(DisplayError::Reply(_)) => {
                    assert!(next.is_err(), "it was a reply");
                    display.abandon();
                    assert!(display.advance().unwrap(), "nothing is under way");
                    return taken;
                }
                Err(error) => panic!("the socket is fine, but {error}"),
            }
        }
    }
    drop(theirs);
    assert!(matches!(display.receive(), Err(DisplayError::Closed)));
    taken
}

/// What the document says of the next reply (vhost-user-gpu, "Communication"): none, not enough yet, or all of it.
fn next_reply(sent: &VecDeque<u8>) -> Result<Option<(u32, Vec<u8>)>, ()> {
    if sent.len() < HEADER_LEN {
        return Ok(None);
    }
    let head: [u8; HEADER_LEN] = std::array::from_fn(|at| sent[at]);
    let Header { request, flags, size } = Header::decode(&head);
    let need = match request {
        message::GET_PROTOCOL_FEATURES => 8,
        message::GET_DISPLAY_INFO => DISPLAY_INFO_LEN,
        message::GET_EDID => EDID_LEN,
        message::DMABUF_UPDATE => 0,
        _ => return Err(()),
    };
    let parsed = ReplyHeader::parse(head);
    if flags & REPLY == 0 || size as usize != need {
        assert!(parsed.is_err(), "{parsed:?}");
        return Err(());
    }
    assert_eq!(parsed.map(|header| (header.request as u32, header.size)), Ok((request, need)));
    let whole = sent.len() >= HEADER_LEN + need;
    Ok(whole.then(|| (request, sent.range(HEADER_LEN..HEADER_LEN + need).copied().collect())))
}

/// A dialog with its display. An operation's low three bits say which it is, the others are its number.
///
/// 0, the guest asks for the display info; 1, for the EDID of scanout number; 2, it no longer waits; 3 and 4, the next
/// message goes out, or with a number above 15, a frame of scanout number - 16 (if that is still out: it is missed); 5, the display answers; 6, it answers something else; 7, it is another display of number's features.
struct Talk {
    dialog: Dialog,
    features: u64,
    /// Scanouts that the display has.
    outputs: u32,
    /// What it will answer: the request, and the scanout of a GET_EDID.
    due: VecDeque<(u32, u32)>,
    /// What the guest asked last and has not heard yet.
    asked: Option<Question>,
    /// The scanouts whose frames were sent and not taken, by bit.
    frames_out: u16,
    lied: bool,
    taken: usize,
}

impl Talk {
    fn new() -> Talk {
        let (dialog, due) = (Dialog::default(), VecDeque::new());
        Talk { dialog, features: F_EDID, outputs: 4, due, asked: None, frames_out: 0, lied: false, taken: 0 }
    }

    fn run(mut self, script: &mut Script<'_>) -> usize {
        for _ in 0..MAX_STEPS {
            if script.is_empty() {
                break;
            }
            let step = script.u8();
            let number = u32::from(step >> 3);
            match step & 7 {
                0 => self.ask(Question::DisplayInfo),
                1 => self.ask(Question::Edid(ScanoutId(number))),
                2 => {
                    self.dialog.withdraw();
                    self.asked = None;
                }
                3 | 4 if number >= 16 => self.send_frame(number - 16),
                3 | 4 => drop(self.send()),
                5 => {
                    if !self.answer() {
                        return self.taken;
                    }
                }
                6 => {
                    if !self.lie(number, script) {
                        return self.taken;
                    }
                }
                _ => {
                    let outputs = number >> 1;
                    self = Talk { features: u64::from(number & 3), outputs, taken: self.taken, ..Talk::new() };
                }
            }
        }
        self.come_to_rest();
        self.taken
    }

    fn ask(&mut self, question: Question) {
        self.dialog.ask(question);
        self.asked = Some(question);
    }

    /// The next message goes out, and the display makes of it what QEMU does.
    fn send(&mut self) -> bool {
        let Some(head) = self.dialog.next_message() else { return false };
        let bytes = head.bytes();
        let Header { request, flags, size } = Header::decode(bytes.first_chunk().expect("a header"));
        assert_eq!((flags, size as usize), (0, bytes.len() - HEADER_LEN));
        match request {
            message::GET_PROTOCOL_FEATURES | message::GET_DISPLAY_INFO => self.due.push_back((request, 0)),
            message::SET_PROTOCOL_FEATURES => {
                let features = u64::from_ne_bytes(bytes[HEADER_LEN..].try_into().unwrap());
                assert!(self.lied || features & !self.features == 0, "what was not offered");
            }
            message::GET_EDID => {
                let scanout = u32::from_ne_bytes(bytes[HEADER_LEN..].try_into().unwrap());
                assert!(self.lied || self.features & F_EDID != 0, "it would not be understood");
                // QEMU says nothing on a scanout that it does not have.
                if scanout < self.outputs {
                    self.due.push_back((request, scanout));
                }
            }
            other => panic!("message {other} is no question"),
        }
        true
    }

    /// A frame goes out, if the last one of that scanout was taken; else it is missed.
    fn send_frame(&mut self, scanout: u32) {
        if self.frames_out & 1 << scanout != 0 {
            self.dialog.misses_frame();
        } else {
            self.frames_out |= 1 << scanout;
            self.dialog.sends_frame(ScanoutId(scanout));
            self.due.push_back((message::DMABUF_UPDATE, scanout));
        }
    }

    /// The display answers what is due; `false` where the dialog gives up on it.
    fn answer(&mut self) -> bool {
        let Some((request, scanout)) = self.due.pop_front() else { return true };
        let mut payload = match request {
            message::GET_PROTOCOL_FEATURES => self.features.to_ne_bytes().to_vec(),
            message::GET_DISPLAY_INFO => (0..DISPLAY_INFO_LEN).map(|at| at as u8).collect(),
            message::DMABUF_UPDATE => Vec::new(),
            _ => vec![0; EDID_LEN],
        };
        if request == message::GET_EDID {
            payload[24] = scanout as u8;
        }
        let frame = if request == message::DMABUF_UPDATE { 1 << scanout } else { 0 };
        let before = self.frames_out;
        let goes_on = self.take(request, &payload);
        assert!(self.lied || self.frames_out == before & !frame, "another scanout's frame");
        goes_on
    }

    fn lie(&mut self, number: u32, script: &mut Script<'_>) -> bool {
        self.lied = true;
        let request =
            [message::GET_PROTOCOL_FEATURES, message::GET_DISPLAY_INFO, message::GET_EDID, message::DMABUF_UPDATE];
        let request = request[number as usize % 4];
        let len = [8, DISPLAY_INFO_LEN, EDID_LEN, 0][number as usize % 4];
        let mut payload = script.bytes(len.min(16)).to_vec();
        payload.resize(len, 0);
        self.take(request, &payload)
    }

    fn take(&mut self, request: u32, payload: &[u8]) -> bool {
        let reply = Reply { request: GpuBackendReq::try_from(request).unwrap(), payload };
        let answer = match self.dialog.reply(&reply) {
            Err(error) => {
                assert!(matches!(error, DisplayError::Order(_)) && self.lied, "{error}");
                return false;
            }
            Ok(Told { answer, taken }) => {
                assert!(taken & !self.frames_out == 0, "a frame is taken that was not sent");
                self.frames_out &= !taken;
                answer
            }
        };
        match answer {
            None => true,
            Some(answer) => {
                let asked = self.asked.take().expect("only what was asked is answered");
                self.taken += 1;
                if self.lied {
                    return true;
                }
                match (asked, answer) {
                    (Question::DisplayInfo, Answer::DisplayInfo(told)) => assert_eq!(told, payload),
                    (Question::Edid(scanout), Answer::Edid(told)) => {
                        assert!(self.features & F_EDID != 0 && scanout.0 < self.outputs);
                        assert_eq!((told, u32::from(told[24])), (payload, scanout.0), "another scanout's");
                    }
                    (Question::Edid(scanout), Answer::EdidFor { width, height }) => {
                        assert!(self.features & F_EDID == 0 && (scanout.0 as usize) < MAX_SCANOUTS);
                        let at = 24 + 24 * scanout.0 as usize + 8;
                        let field = |at: usize| u32::from_le_bytes(payload[at..at + 4].try_into().unwrap());
                        assert_eq!((width, height), (field(at), field(at + 4)));
                    }
                    (Question::Edid(scanout), Answer::NoSuchScanout) => {
                        assert!(scanout.0 >= self.outputs.min(MAX_SCANOUTS as u32));
                    }
                    (asked, answer) => panic!("{asked:?} is answered by {answer:?}"),
                }
                true
            }
        }
    }

    /// A display that answers all there is to answer leaves nobody waiting.
    fn come_to_rest(&mut self) {
        if self.lied {
            return;
        }
        for _ in 0..16 {
            while self.send() {}
            while !self.due.is_empty() {
                assert!(self.answer());
            }
        }
        assert_eq!((self.asked, self.frames_out), (None, 0), "the guest still waits");
        heads();
    }
}

thread_local! {
    static BUFFER: Dmabuf = Dmabuf {
        fd: fds::memfd(0).into(),
        width: 640,
        height: 480,
        stride: 2560,
        fourcc: DISPLAY_ORDER,
        modifier: Some(LINEAR),
        y_0_top: false,
        charge: None,
    };
}

/// The messages that are no questions have the sizes that they say they have.
fn heads() {
    let rect = Rect { x: 1, y: 2, width: 3, height: 4 };
    let [first, second] = BUFFER
        .with(|buffer| [false, true].map(|dmabuf2| Head::dmabuf_scanout(1, buffer, &Rect::of_size(64, 48), dmabuf2)));
    assert_eq!(second.bytes().len(), first.bytes().len() + 8, "a modifier");
    for (head, pixels) in [
        (first, 0),
        (second, 0),
        (Head::dmabuf_release(1), 0),
        (Head::dmabuf_update(1, &rect), 0),
        (Head::scanout(1, 2, 3), 0),
        (Head::update(1, &rect), 48),
        (Head::cursor_pos(1, 2, 3, true), 0),
        (Head::cursor_pos(1, 2, 3, false), 0),
        (Head::cursor_update(1, 2, 3, (4, 5)), 64 * 64 * 4),
    ] {
        let header = Header::decode(head.bytes().first_chunk().unwrap());
        assert_eq!(header.size as usize, head.bytes().len() - HEADER_LEN + pixels);
    }
}
