//! One input device of each kind, and what must be so of them in a guest, whichever way they came to it.

use seat_uinput::codes::*;
use seat_uinput::{Description, Device, Event, differences, gamepad, keyboard, mouse, soon, tablet, touch_screen};
use seat_vm::{Vm, json};

/// Five devices that are plugged in.
pub struct Desk {
    pub keyboard: Device,
    pub mouse: Device,
    pub tablet: Device,
    pub touch_screen: Device,
    pub gamepad: Device,
}

impl Desk {
    pub fn new() -> Self {
        Desk {
            keyboard: keyboard().unwrap(),
            mouse: mouse().unwrap(),
            tablet: tablet().unwrap(),
            touch_screen: touch_screen().unwrap(),
            gamepad: gamepad().unwrap(),
        }
    }

    pub fn devices(&self) -> [&Device; 5] {
        [&self.keyboard, &self.mouse, &self.tablet, &self.touch_screen, &self.gamepad]
    }

    /// The guest's kernel has these devices and no others, each as it is here; `carried` takes from a description
    /// what the way to the guest does not carry.
    pub fn assert_described(&self, vm: &mut Vm, carried: impl Fn(Description) -> Description) {
        let mut shown = vm.guest("inputs").unwrap();
        let shown = shown.as_array_mut().unwrap();
        assert_eq!(shown.len(), self.devices().len());
        for device in self.devices() {
            let expected = carried(device.description().clone());
            let input = shown.iter_mut().find(|input| input["name"] == expected.name);
            let input = input.unwrap_or_else(|| panic!("the guest has no {}", expected.name));
            // The number is the guest's own.
            input.as_object_mut().unwrap().remove("node");
            assert_eq!(differences(input, &expected.to_json()), [""; 0], "{}", expected.name);
        }
    }

    /// What the devices send comes out in the guest, frame by frame and event by event, and what is held is held there.
    /// Only events that are `wanted` are sent.
    pub fn assert_events_arrive(&mut self, vm: &mut Vm, wanted: impl Fn(&Event) -> bool) {
        for (device, mut frames) in self.script() {
            let name = device.description().name.clone();
            frames.iter_mut().for_each(|frame| frame.retain(&wanted));
            vm.guest(&format!("watch {name}")).unwrap();
            for frame in &frames {
                device.frame(frame).unwrap();
            }
            let came = vm.guest(&format!("frames {} 60 {name}", frames.len())).unwrap();
            assert_eq!(came, json!(frames), "{name}");
            // The kernel itself tells a device each EV_MSC that it sends; a second time would be an echo of the guest's.
            for sent in frames.iter().flatten().filter(|event| event.0 == EV_MSC) {
                assert_eq!(device.next_told(soon()).unwrap(), *sent, "{name}");
            }
        }
        let state = |vm: &mut Vm, name| vm.guest(&format!("state {name}")).unwrap();
        assert_eq!(state(vm, "Seat Keyboard")["keys"], json!([]));
        assert_eq!(state(vm, "Seat Mouse")["keys"], json!([BTN_LEFT]));
        assert_eq!(state(vm, "Seat Gamepad")["axes"][ABS_X.to_string()], -32_768);
        let free = -1;
        let slots = [7, free, free, free, free, free, free, free, free, 8];
        assert_eq!(state(vm, "Seat Touch Screen")["slots"][ABS_MT_TRACKING_ID.to_string()], json!(slots));
    }

    /// The keyboard's LEDs are lit and put out by the guest, and it is told nothing else.
    pub fn assert_leds_are_lit(&mut self, vm: &mut Vm) {
        for (led, lit) in [(LED_CAPSL, 1), (LED_NUML, 1), (LED_CAPSL, 0)] {
            vm.guest(&format!("write {EV_LED} {led} {lit} Seat Keyboard")).unwrap();
            assert_eq!(self.keyboard.next_told(soon()).unwrap(), (EV_LED, led, lit));
        }
    }

    /// Frames that any kernel passes on as they are: no value is sent twice, none is near the last.
    fn script(&mut self) -> [(&mut Device, Vec<Vec<Event>>); 5] {
        let keys = vec![
            vec![(EV_MSC, MSC_SCAN, 0x1e), (EV_KEY, KEY_A, 1)],
            vec![(EV_MSC, MSC_SCAN, 0x1e), (EV_KEY, KEY_A, 0)],
        ];
        let moves = vec![
            vec![(EV_REL, REL_X, -3), (EV_REL, REL_Y, 127)],
            vec![(EV_REL, REL_WHEEL, -1), (EV_REL, REL_WHEEL_HI_RES, -120)],
            vec![(EV_MSC, MSC_SCAN, 0x9_0001), (EV_KEY, BTN_LEFT, 1)],
        ];
        let strokes = vec![
            vec![(EV_KEY, BTN_TOOL_PEN, 1), (EV_ABS, ABS_X, 40_000), (EV_ABS, ABS_Y, 20_000)],
            vec![(EV_ABS, ABS_PRESSURE, 5000), (EV_ABS, ABS_TILT_X, -30), (EV_KEY, BTN_TOUCH, 1)],
            vec![(EV_ABS, ABS_X, 100), (EV_ABS, ABS_TILT_Y, 63), (EV_MSC, MSC_SERIAL, 0x1234_5678)],
        ];
        let fingers = vec![
            vec![
                (EV_ABS, ABS_MT_TRACKING_ID, 7),
                (EV_ABS, ABS_MT_POSITION_X, 100),
                (EV_ABS, ABS_MT_POSITION_Y, 200),
                (EV_ABS, ABS_MT_SLOT, 9),
                (EV_ABS, ABS_MT_TRACKING_ID, 8),
                (EV_ABS, ABS_MT_POSITION_X, 4000),
                (EV_KEY, BTN_TOUCH, 1),
                (EV_ABS, ABS_X, 100),
            ],
            vec![(EV_ABS, ABS_MT_POSITION_Y, 2000), (EV_ABS, ABS_MT_SLOT, 0), (EV_ABS, ABS_MT_PRESSURE, 99)],
        ];
        let play = vec![
            vec![(EV_ABS, ABS_X, -32_768), (EV_ABS, ABS_RY, 32_767), (EV_ABS, ABS_HAT0Y, -1)],
            vec![(EV_ABS, ABS_RZ, 1023), (EV_KEY, BTN_SOUTH, 1)],
        ];
        [
            (&mut self.keyboard, keys),
            (&mut self.mouse, moves),
            (&mut self.tablet, strokes),
            (&mut self.touch_screen, fingers),
            (&mut self.gamepad, play),
        ]
    }
}
