//! The backends of the system, and how a program selects one.
#![cfg(all(feature = "os-poll", feature = "os-ext", feature = "net"))]

mod util;

use std::io::ErrorKind;

use mio::{Backend, Poll};

on_each_backend!(opens);

fn opens(backend: Backend) {
    assert_eq!(Poll::with_backend(backend).unwrap().backend(), backend);
}

/// The modules that `on_each_backend` creates are the backends of this system.
#[test]
fn every_backend_is_tested() {
    let list = util::itself().arg("--list").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let mut tested: Vec<_> = list
        .lines()
        .filter_map(|line| line.strip_suffix("::opens: test"))
        .collect();
    tested.sort_unstable();
    let mut available: Vec<_> = Backend::available()
        .iter()
        .map(|&backend| util::module(backend))
        .collect();
    available.sort_unstable();
    assert_eq!(tested, available);
}

#[test]
fn the_default_is_the_first_available() {
    assert_eq!(Backend::default(), Backend::available()[0]);
    assert_eq!(Poll::new().unwrap().backend(), Backend::default());
}

#[test]
fn an_absent_backend_is_unsupported_and_named() {
    let all = [
        Backend::Epoll,
        Backend::Kqueue,
        Backend::EventPorts,
        Backend::Afd,
        Backend::Poll,
    ];
    let mut lacking = 0;
    for backend in all {
        match Poll::with_backend(backend) {
            Ok(poll) => {
                assert_eq!(poll.backend(), backend);
                assert!(Backend::available().contains(&backend));
            }
            Err(error) => {
                assert!(!Backend::available().contains(&backend));
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                let message = error.to_string();
                assert!(message.contains(&backend.to_string()), "{message}");
                lacking += 1;
            }
        }
    }
    assert_eq!(lacking + Backend::available().len(), all.len());
}
