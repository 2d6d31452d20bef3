//! mdns-sd on top of this mio: services on two daemons, each of which waits with a `Poll` for
//! multicast and for what it is told, find each other.

#![cfg(unix)]

use std::io::{self, Write};
use std::time::Instant;

use interop::{bounded, PATIENCE};
use mdns_sd::{IfKind, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};

/// Not that of mDNS, at which others may speak where the network is not this test's own.
const PORT: u16 = 15_353;

const TYPE: &str = "_mio-interop._udp.local.";

#[test]
fn two_services_find_each_other_and_see_each_other_go() {
    bounded(|| {
        if let Err(error) = own_network() {
            // Not held back by the harness: this is another test than usual.
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

/// One that publishes a service of this name.
fn daemon(name: &str) -> ServiceDaemon {
    let daemon = ServiceDaemon::new_with_port(PORT).unwrap();
    // Nothing of this is anybody else's business.
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

/// Another one for each, that they can be told apart by.
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

/// Gives this thread, and those that it starts, a network with nothing but a loopback interface,
/// which takes multicast.
fn own_network() -> io::Result<()> {
    // SAFETY: takes a number. Sockets that are open stay where they are.
    checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })?;
    // SAFETY: plain numbers and a name of zeros.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    let up = libc::IFF_UP | libc::IFF_MULTICAST | libc::IFF_LOOPBACK;
    request.ifr_ifru.ifru_flags = up as libc::c_short;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: the request is read, and lives until the call ends.
    checked(unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &request) })
}

fn checked(result: libc::c_int) -> io::Result<()> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
