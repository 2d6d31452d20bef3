//! mdns-sd on this crate: the services of two daemons find each other. Each daemon waits with a
//! `Poll` for multicast and for commands.

#![cfg(unix)]

use std::io::{self, Write};
use std::time::Instant;

use interop::{bounded, PATIENCE};
use mdns_sd::{IfKind, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};

/// Not the port of mDNS, which others may use if the network is not this test's own.
const PORT: u16 = 15_353;

const TYPE: &str = "_mio-interop._udp.local.";

#[test]
fn two_services_find_each_other_and_see_each_other_go() {
    bounded(|| {
        if let Err(error) = own_network() {
            // Printed even if the harness captures output: this test differs from the usual one.
            let said = format!("mdns_sd: on the loopback interface that all share: {error}\n");
            io::stderr().write_all(said.as_bytes()).unwrap();
        }
        let names = ["left", "right"];
        let daemons = names.map(daemon);
        let seen = [0, 1].map(|own| daemons[own].browse(TYPE).unwrap());
        for (own, other) in [(0, 1), (1, 0)] {
            wait_for(&seen[own], |event| match event {
                ServiceEvent::ServiceResolved(service) => {
                    service.fullname == full(names[other])
                        && service.host == format!("{}.local.", names[other])
                        && service.port == port_of(names[other])
                        && service.txt_properties.get("name").unwrap().val_str() == names[other]
                }
                _ => false,
            });
        }
        let gone = daemons[1].unregister(&full("right")).unwrap();
        gone.recv_timeout(PATIENCE).unwrap();
        wait_for(
            &seen[0],
            |event| matches!(event, ServiceEvent::ServiceRemoved(_, name) if *name == full("right")),
        );
        for daemon in daemons {
            let down = daemon.shutdown().unwrap();
            down.recv_timeout(PATIENCE).unwrap();
        }
    });
}

/// A daemon that publishes a service of this name.
fn daemon(name: &str) -> ServiceDaemon {
    let daemon = ServiceDaemon::new_with_port(PORT).unwrap();
    // No other service is relevant.
    daemon.disable_interface(IfKind::All).unwrap();
    daemon.enable_interface(IfKind::LoopbackV4).unwrap();
    let host = format!("{name}.local.");
    let properties = [("name", name)];
    let service = ServiceInfo::new(
        TYPE,
        name,
        &host,
        "127.0.0.1",
        port_of(name),
        &properties[..],
    );
    daemon.register(service.unwrap()).unwrap();
    daemon
}

fn full(name: &str) -> String {
    format!("{name}.{TYPE}")
}

/// A different name for each, so that the test can tell them apart.
fn port_of(name: &str) -> u16 {
    1_000 + name.len() as u16
}

fn wait_for(events: &Receiver<ServiceEvent>, is_it: impl Fn(&ServiceEvent) -> bool) {
    let end = Instant::now() + PATIENCE;
    let mut others = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match events.recv_timeout(left) {
            Ok(event) if is_it(&event) => return,
            Ok(event) => others.push(event),
            Err(error) => panic!("{error} after {others:?}"),
        }
    }
}

/// Gives this thread, and those that it starts, a network with only a loopback interface, which
/// supports multicast.
fn own_network() -> io::Result<()> {
    // SAFETY: `unshare` has no memory-safety preconditions. Open sockets keep their network.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    // SAFETY: all zeros are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    let up = libc::IFF_UP | libc::IFF_MULTICAST | libc::IFF_LOOPBACK;
    request.ifr_ifru.ifru_flags = up as libc::c_short;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the kernel reads the request, which outlives the call.
    checked(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &request) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
