//! The program as a whole, with few clients, on each backend of the system.

// For tests on a model of another system's kernel.
#[cfg(mio_model = "event-ports")]
extern crate event_ports_model as _;
#[cfg(mio_model = "kqueue")]
extern crate kqueue_model as _;

use std::process::{Command, Output};

use mio::Backend;

fn c10k(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_c10k"))
        .args(args)
        .output()
        .unwrap()
}

/// Runs the program on each backend, and returns what it printed.
fn on_each_backend(args: &[&str]) -> Vec<String> {
    let backends = Backend::available().iter();
    let outputs = backends.map(|backend| {
        let backend = backend.to_string();
        let output = c10k(&[args, &["--backend", &backend]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{backend}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    });
    outputs.collect()
}

#[test]
fn every_client_gets_its_bytes_back() {
    for output in on_each_backend(&["--connections", "20", "--messages", "10", "--size", "1000"]) {
        assert!(output.contains("195.31 KiB echoed and checked"), "{output}");
    }
}

#[test]
fn a_message_longer_than_the_sockets_buffers_comes_back() {
    on_each_backend(&["--connections", "2", "--messages", "2", "--size", "3000000"]);
}

#[test]
fn back_pressure_stops_clients_that_do_not_read() {
    for output in on_each_backend(&["--connections", "5", "--messages", "5", "--slow", "3"]) {
        assert!(
            output.contains("3 of 3 stopped by back-pressure"),
            "{output}"
        );
    }
}

#[test]
fn a_run_that_takes_too_long_fails_and_says_how_far_it_is() {
    let output = c10k(&[
        "--messages",
        "1000000000",
        "--connections",
        "1",
        "--seconds",
        "1",
    ]);
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("not done after 1 s: 1 of 1 connected"),
        "{stderr}"
    );
}

#[test]
fn more_connections_than_ports_are_refused_at_once() {
    let output = c10k(&["--connections", "100000"]);
    assert!(!output.status.success());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("ports for 28000 at most"), "{stderr}");
}
