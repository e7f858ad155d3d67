//! The guest that runs programs of this host, with the host's own as examples.

use seat_vm::{Config, Lab, Order, Vm};

fn boot() -> Option<Vm> {
    Lab::for_test().map(|lab| Config::uinput().boot(lab).unwrap())
}

fn shell(script: &str) -> Order {
    Order {
        folder: "/usr/bin".to_owned(),
        program: "sh".to_owned(),
        arguments: ["-c", script, "sh", "an argument"].map(str::to_owned).to_vec(),
        environment: vec![("GIVEN".to_owned(), "a \"value\"".to_owned())],
    }
}

#[test]
fn a_program_of_the_host_runs_in_the_guest_and_its_words_come_back() {
    let Some(mut vm) = boot() else { return };
    let ended = vm.exec(&shell("pwd; echo \"$1, $GIVEN\"; echo bad >&2; exit 3")).unwrap();
    assert_eq!(ended.output, "/usr/bin\nan argument, a \"value\"\n");
    assert_eq!((ended.errors.as_str(), ended.status), ("bad\n", Some(3)));
    assert!(vm.console().text().contains("an argument, a \"value\""));

    let killed = vm.exec(&shell("kill -9 $$")).unwrap();
    assert_eq!(killed.status, None);
    let none = vm.exec(&Order { program: "/nowhere/program".to_owned(), ..shell("") }).unwrap();
    assert_eq!(none.status, Some(127));
    assert!(none.errors.contains("No such file"), "{}", none.errors);
    assert!(vm.guest("exec nonsense").unwrap_err().is_refusal());
}

#[test]
fn what_a_program_leaves_running_does_not_hold_up_its_answer() {
    let Some(mut vm) = boot() else { return };
    let ended = vm.exec(&shell("sleep 1000 & echo done")).unwrap();
    assert_eq!((ended.output.as_str(), ended.status), ("done\n", Some(0)));
}

#[test]
fn the_hosts_root_cannot_be_written_but_tmp_is_the_guests_own() {
    let Some(mut vm) = boot() else { return };
    let ended =
        vm.exec(&shell("touch /usr/x /x; ls -A /tmp /run; touch /tmp/x /run/x && test -c /dev/uinput")).unwrap();
    assert_eq!((ended.output.as_str(), ended.status), ("/run:\n\n/tmp:\n", Some(0)), "{}", ended.errors);
    assert_eq!(ended.errors.matches("Read-only file system").count(), 2, "{}", ended.errors);
}
