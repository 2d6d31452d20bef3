//! Repeats the experiments of `netbsd.txt` on the model, which must answer as NetBSD did.
//!
//! If an answer differs, the test names the difference (`poll_but`) and the reason.

#![cfg(not(kqueue_library))]

mod util;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use kqueue_model::abi::*;

use util::evidence::{alone, beside_others, error_name, outcome, Question};
use util::{
    connect, drain, fill, fresh_tcp, kevent, kevent_raw, listener, pair, pipe, read, reset, tcp,
    write, Kq, ADD, DELETE, LONG,
};

/// A descriptor that is not open.
const CLOSED: RawFd = 999_999;

/// The result of a system call, as in the evidence.
fn name<T>(result: std::io::Result<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error_name(error.raw_os_error().unwrap() as isize),
    }
}

// Q1
#[test]
fn registering_reports_what_is_ready_once() {
    let mut q = Question::new(1);
    let (mut a, mut b) = pair();
    q.both(&a, 5);
    q.poll("first poll");
    q.poll("second poll (CLEAR)");
    b.write_all(b"x").unwrap();
    q.poll("peer wrote 1");
    q.poll("again, unread");
    b.write_all(b"y").unwrap();
    q.poll("peer wrote another, still unread");
    a.read_exact(&mut [0]).unwrap();
    q.poll("read 1 of 2");
    drain(&a);
    q.poll("drained");
}

// Q2
#[test]
fn a_receipt_has_no_flag_but_error_and_an_event_has_those_of_the_knote() {
    let mut q = Question::new(2);
    let (a, mut b) = pair();
    let receipts = q.kq.change(&[read(&a, ADD, 9)]).unwrap();
    assert_eq!(receipts[0].flags, EV_ERROR);
    assert_eq!(receipts[0].ident, a.as_raw_fd() as usize);
    q.answer("", "ret 1 ident same 1 [R ERROR(0) u=9] {flags:ERROR }");
    assert_eq!(outcome(Ok(receipts)), "ret 1 [R ERROR(0) u=9]");
    b.write_all(b"x").unwrap();
    let event = q.kq.event();
    assert_eq!(event.flags, EV_ADD | EV_CLEAR | EV_RECEIPT);
    q.answer("", "event ret 1 [R data=1 u=9] {flags:ADD CLEAR RECEIPT }");
    assert_eq!(outcome(Ok(vec![event])), "ret 1 [R data=1 u=9]");
}

// Q3
#[test]
fn the_peers_reading_makes_room() {
    let mut q = Question::new(3);
    let (mut a, mut b) = pair();
    q.both(&a, 5);
    q.poll("first");
    a.write_all(b"x").unwrap();
    q.poll("wrote 1");
    b.read_exact(&mut [0]).unwrap();
    q.poll("peer read that 1 (never full)");
    fill(&a);
    q.answer("", "filled (EAGAIN) ok");
    q.poll("full");
    b.read_exact(&mut [0]).unwrap();
    q.poll("peer read 1 byte");
    // Linux has much more in its buffer, and requires that a large part of it is read.
    q.poll_but("peer read 4096", "none");
    drain(&b);
    q.poll_but("peer drained", "[W data=0 u=5]");
    q.poll("again");
}

// Q4
#[test]
fn an_event_whose_cause_is_gone_is_not_reported() {
    let mut q = Question::new(4);
    let (a, mut b) = pair();
    q.change("ADD R", &[read(&a, ADD, 1)]);
    b.write_all(b"x").unwrap();
    drain(&a);
    q.poll("write+read before poll");
    b.write_all(b"x").unwrap();
    q.poll("new write");
}

// Q4, with the event in the queue already
#[test]
fn an_event_that_is_queued_is_not_reported_when_its_cause_is_gone() {
    let _company = beside_others();
    let kq = Kq::new();
    let (a, mut b) = pair();
    b.write_all(b"x").unwrap();
    kq.apply(&[read(&a, ADD, 1)]);
    drain(&a);
    kq.nothing();
    b.write_all(b"x").unwrap();
    kq.event();
}

// Q5
#[test]
fn registering_again_reports_again_with_the_new_udata_and_the_old_flags() {
    let mut q = Question::new(5);
    let (a, mut b) = pair();
    q.change("ADD R u=1", &[read(&a, ADD, 1)]);
    b.write_all(b"x").unwrap();
    q.poll("event");
    q.poll("consumed");
    q.change("re-ADD R u=2, data unread", &[read(&a, ADD, 2)]);
    q.poll("fires again?");
    b.write_all(b"y").unwrap();
    q.change("re-ADD R u=3 while event queued", &[read(&a, ADD, 3)]);
    q.poll("one event, which udata?");
    drain(&a);
    q.change("re-ADD R u=4, nothing to read", &[read(&a, ADD, 4)]);
    q.poll("none expected");
    let level = [read(&a, EV_ADD | EV_RECEIPT, 5)];
    q.change("ADD R without CLEAR u=5", &level);
    b.write_all(b"z").unwrap();
    q.poll("event");
    q.poll("level or edge now?");
}

// Q6
#[test]
fn the_two_filters_do_not_disturb_each_other() {
    let mut q = Question::new(6);
    let (a, mut b) = pair();
    q.change("ADD W u=1", &[write(&a, ADD, 1)]);
    q.poll("event");
    q.poll("consumed");
    q.change("re-ADD W u=2", &[write(&a, ADD, 2)]);
    q.poll("fires again?");
    q.change("ADD R on the same fd", &[read(&a, ADD, 3)]);
    q.poll("does adding R re-fire W?");
    q.change("DELETE R", &[read(&a, DELETE, 0)]);
    q.poll("does deleting R re-fire W?");
    b.write_all(b"x").unwrap();
    q.poll("peer wrote, only W registered");
}

// Q7
#[test]
fn what_the_peer_writes_or_ends_is_no_event_for_writing() {
    let mut q = Question::new(7);
    let (a, mut b) = pair();
    q.both(&a, 1);
    q.poll("W");
    b.write_all(b"x").unwrap();
    q.poll("peer wrote");
    b.shutdown(Shutdown::Write).unwrap();
    q.poll("peer shutdown(WR)");
}

// Q7, on TCP
#[test]
fn the_peers_fin_is_no_event_for_writing() {
    let _company = beside_others();
    let kq = Kq::new();
    let (a, b) = tcp();
    kq.apply(&[write(&a, ADD, 1), read(&a, ADD, 1)]);
    assert_eq!(kq.event().filter, EVFILT_WRITE);
    b.shutdown(Shutdown::Write).unwrap();
    let event = kq.event();
    assert_eq!((event.filter, event.flags & EV_EOF), (EVFILT_READ, EV_EOF));
    kq.nothing();
}

// Q8
#[test]
fn a_change_that_fails_is_an_entry_where_there_is_room_and_ends_the_call_where_not() {
    let mut q = Question::new(8);
    let (a, mut b) = pair();
    let fd = &a;
    q.change("DELETE R RECEIPT, never added", &[read(fd, DELETE, 6)]);
    let delete = read(fd, EV_DELETE, 6);
    q.change("DELETE R no RECEIPT, room for events", &[delete]);
    q.change_with_room("DELETE R no RECEIPT, nevents=0", &[delete], 0);
    let changes = [write(fd, DELETE, 0), read(fd, DELETE, 0)];
    q.change("DELETE W, DELETE R RECEIPT (none added)", &changes);
    let changes = [write(fd, DELETE, 0), read(fd, ADD, 7)];
    q.change("bad DELETE then ADD R: is the 2nd applied?", &changes);
    b.write_all(b"x").unwrap();
    q.poll("event of the 2nd");
    let changes = [read(fd, EV_DELETE, 0), write(fd, EV_ADD | EV_CLEAR, 8)];
    q.change_with_room("bad DELETE, ADD W, nevents=0", &changes, 0);
    q.poll("after (R deleted ok, W added)");
    let changes = [read(fd, EV_DELETE, 0), read(fd, EV_ADD | EV_CLEAR, 9)];
    q.change_with_room("DELETE(R gone) then re-ADD R, nevents=0", &changes, 0);
    q.poll("was the change after the failed one applied?");
    q.change("flags=0 on missing", &[read(&b, EV_RECEIPT, 0)]);
    let closed = &CLOSED;
    q.change("bad fd ADD RECEIPT", &[read(closed, ADD, 0)]);
    let add = read(closed, EV_ADD, 0);
    q.change_with_room("bad fd ADD, nevents=0", &[add], 0);
    q.change("bad fd DELETE RECEIPT", &[read(closed, DELETE, 0)]);
    q.change("unknown filter", &[util::entry(fd, -77, ADD, 0)]);
}

// Q9
#[test]
fn receipts_come_without_events() {
    let mut q = Question::new(9);
    let (a, mut b) = pair();
    q.change("ADD R", &[read(&a, ADD, 1)]);
    b.write_all(b"x").unwrap();
    q.change_with_room("ADD W RECEIPT, room for 8", &[write(&a, ADD, 2)], 8);
    q.poll("then");
    let again = write(&a, EV_ADD | EV_CLEAR, 3);
    q.change_with_room("re-ADD W without RECEIPT, room for 8", &[again], 8);
}

// Q10
#[test]
fn a_receipt_without_room_ends_the_call() {
    let mut q = Question::new(10);
    let (a, mut b) = pair();
    let changes = [write(&a, ADD, 1), read(&a, ADD, 2)];
    q.change_with_room("2 changes RECEIPT, nevents=1", &changes, 1);
    b.write_all(b"x").unwrap();
    q.poll("which were applied?");
}

// Q11
#[test]
fn deleting_takes_the_event_that_is_queued_along() {
    let mut q = Question::new(11);
    let (a, mut b) = pair();
    q.both(&a, 1);
    b.write_all(b"x").unwrap();
    let deletes = [write(&a, DELETE, 0), read(&a, DELETE, 0)];
    q.change("DELETE W, DELETE R", &deletes);
    q.poll("none expected");
    b.write_all(b"x").unwrap();
    q.poll("none expected");
    q.both(&a, 2);
    q.poll("re-registered with data there");
}

// Q12
#[test]
fn the_end_comes_once_with_what_is_still_to_be_read() {
    let mut q = Question::new(12);
    let (mut a, mut b) = pair();
    q.both(&a, 1);
    q.poll("first");
    b.write_all(b"abc").unwrap();
    b.shutdown(Shutdown::Write).unwrap();
    q.poll("after");
    q.poll("again");
    a.read_exact(&mut [0; 2]).unwrap();
    q.poll("read 2 of 3");
    drain(&a);
    q.poll("drained to EOF");
    q.change("re-ADD R", &[read(&a, ADD, 2)]);
    q.poll("after re-ADD");
}

// Q13
#[test]
fn the_peer_will_not_read() {
    let mut q = Question::new(13);
    let (mut a, b) = pair();
    q.both(&a, 1);
    q.poll("first");
    b.shutdown(Shutdown::Read).unwrap();
    // On Linux this shuts down the write side here: writing fails.
    q.poll_but("after", "[W EOF u=1]");
    assert_eq!(name(a.write(b"x")), "EPIPE");
    q.answer("local write", "ok");
    q.poll("after write");
}

// Q14
#[test]
fn shutting_the_read_side_is_an_end_for_reading() {
    let mut q = Question::new(14);
    let (a, _b) = pair();
    q.both(&a, 1);
    q.poll("first");
    a.shutdown(Shutdown::Read).unwrap();
    q.poll("after");
}

// Q15
#[test]
fn shutting_the_write_side_is_an_end_for_writing() {
    let mut q = Question::new(15);
    let (a, _b) = pair();
    q.both(&a, 1);
    q.poll("first");
    a.shutdown(Shutdown::Write).unwrap();
    q.poll("after");
    q.poll("again");
}

// Q16
#[test]
fn the_peers_closing_is_an_end_for_both() {
    let mut q = Question::new(16);
    let (mut a, b) = pair();
    q.both(&a, 1);
    q.poll("first");
    drop(b);
    q.poll("after");
    q.poll("again");
    assert!(a.take_error().unwrap().is_none());
    q.answer("getsockopt(SO_ERROR)", "0");
    q.answer("local write", &name(a.write(b"x")));
    q.poll("after write");
    let changes = [write(&a, ADD, 2), read(&a, ADD, 2)];
    q.change("re-ADD W, R", &changes);
    q.poll("after re-ADD");
}

// Q17
#[test]
fn the_peer_closes_and_leaves_something_unread() {
    let mut q = Question::new(17);
    let (mut a, b) = pair();
    q.both(&a, 1);
    q.poll("first");
    a.write_all(b"x").unwrap();
    drop(b);
    // For Linux this is a reset.
    q.poll_but("after", "[W EOF fflags=E u=1] [R EOF fflags=E data=0 u=1]");
    assert!(a.take_error().unwrap().is_some());
    q.answer("getsockopt(SO_ERROR)", "0");
}

// Q18
#[test]
fn registering_when_the_peer_is_gone_reports_the_end() {
    let mut q = Question::new(18);
    let (a, b) = pair();
    drop(b);
    q.both(&a, 1);
    q.poll("first");
    q.poll("again");
}

// Q20
#[test]
fn a_socket_that_is_not_connected_is_not_ready() {
    let mut q = Question::new(20);
    let (_listener, address) = listener();
    let socket = fresh_tcp();
    q.both(&socket, 1);
    q.poll("unconnected");
    q.answer("connect", &name(connect(&socket, address)));
    q.poll("after connect");
    q.poll("again");
}

/// An address where no socket listens, as long as the socket lives.
fn refusing() -> (std::net::TcpStream, std::net::SocketAddr) {
    let (listener, address) = listener();
    let client = std::net::TcpStream::connect(address).unwrap();
    // The other end of a connection keeps the port in use.
    let (server, _) = listener.accept().unwrap();
    drop(client);
    (server, address)
}

// Q21
#[test]
fn a_refused_connection_is_an_end_and_keeps_its_error() {
    let mut q = Question::new(21);
    let (_port, address) = refusing();
    let socket = fresh_tcp();
    q.both(&socket, 1);
    q.answer("connect", &name(connect(&socket, address)));
    q.poll("after");
    q.poll("again");
    let error = socket.take_error().unwrap().expect("the error was taken");
    q.answer("getsockopt(SO_ERROR)", &name::<()>(Err(error)));
    assert!(socket.take_error().unwrap().is_none());
    q.answer("getsockopt(SO_ERROR)", "0");
    let changes = [write(&socket, ADD, 2), read(&socket, ADD, 2)];
    q.change("re-ADD W,R", &changes);
    q.poll("after SO_ERROR taken");
}

// Q22
#[test]
fn registering_after_the_refusal_keeps_the_error() {
    let mut q = Question::new(22);
    let (_port, address) = refusing();
    let socket = fresh_tcp();
    q.answer("connect", &name(connect(&socket, address)));
    q.both(&socket, 1);
    q.poll("after");
    let error = socket.take_error().unwrap().expect("the error was taken");
    q.answer("getsockopt(SO_ERROR)", &name::<()>(Err(error)));
}

// Q23
#[test]
fn writing_after_a_fin_brings_a_reset() {
    let mut q = Question::new(23);
    let (mut a, b) = tcp();
    q.both(&a, 1);
    q.poll("first");
    drop(b);
    q.poll("after");
    q.poll("again");
    q.answer("local write after FIN", &name(a.write(b"x")));
    q.poll("after write (RST comes back)");
    // Linux calls it EPIPE.
    let error = a.take_error().unwrap().expect("the error was taken");
    assert_eq!(name::<()>(Err(error)), "EPIPE");
    q.answer("getsockopt(SO_ERROR)", "ECONNRESET");
    q.answer("2nd write", &name(a.write(b"x")));
    q.poll("after 2nd write");
}

// Q24
#[test]
fn a_reset_is_an_end_for_both_and_keeps_its_error() {
    let mut q = Question::new(24);
    let (mut a, b) = tcp();
    q.both(&a, 1);
    q.poll("first");
    reset(b);
    q.poll("after");
    q.poll("again");
    let error = a.take_error().unwrap().expect("the error was taken");
    q.answer("getsockopt(SO_ERROR)", &name::<()>(Err(error)));
    q.answer("read", &a.read(&mut [0]).unwrap().to_string());
}

// Q25
#[test]
fn a_reset_is_reported_to_either_filter_alone() {
    let mut q = Question::new(25);
    let (a, b) = tcp();
    q.change("ADD W", &[write(&a, ADD, 1)]);
    q.poll("first");
    reset(b);
    q.poll("W only");
    drop(a);
    let (a, b) = tcp();
    q.change("ADD R", &[read(&a, ADD, 1)]);
    reset(b);
    q.poll("R only");
}

// Q26
#[test]
fn both_sides_end_one_after_the_other() {
    let mut q = Question::new(26);
    let (a, b) = tcp();
    q.both(&a, 1);
    q.poll("first");
    a.shutdown(Shutdown::Write).unwrap();
    q.poll("after shutdown(WR)");
    // The second event is for the acknowledgement of the FIN, which may have arrived already, on
    // NetBSD as well.
    for event in q.kq.poll(util::SHORT) {
        assert_eq!((event.filter, event.flags & EV_EOF), (EVFILT_WRITE, EV_EOF));
    }
    q.answer("again", "[W EOF data=32768 u=1]");
    drop(b);
    q.poll("peer closed");
}

// Q27
#[test]
fn shutting_the_read_side_of_tcp_is_an_end_for_reading() {
    let mut q = Question::new(27);
    let (a, mut b) = tcp();
    q.both(&a, 1);
    q.poll("first");
    a.shutdown(Shutdown::Read).unwrap();
    q.poll("after");
    b.write_all(b"x").unwrap();
    // Linux still accepts incoming data.
    q.poll_but("peer writes anyway", "[R EOF data=1 u=1]");
}

// Q28
#[test]
fn tcp_has_room_again_after_it_was_full() {
    let mut q = Question::new(28);
    let (mut a, mut b) = tcp();
    q.both(&a, 1);
    q.poll("first");
    a.write_all(b"x").unwrap();
    q.poll("wrote 1 (acked)");
    b.read_exact(&mut [0]).unwrap();
    q.poll("peer read it");
    fill(&a);
    // The events while it is filled and drained vary, on NetBSD as well.
    let _ = q.kq.poll(util::SHORT);
    q.answer("filled", "[W data=16385 u=1]");
    fill(&a);
    q.answer("peer read 4096", "none");
    q.answer("peer drained", "[W data=32769 u=1]");
    let deadline = Instant::now() + LONG;
    loop {
        drain(&b);
        match q.kq.poll(util::SHORT).first() {
            Some(event) => break assert_eq!(event.filter, EVFILT_WRITE),
            None => assert!(Instant::now() < deadline, "never writable again"),
        }
    }
}

// Q29
#[test]
fn a_listener_is_readable_for_each_connection() {
    let mut q = Question::new(29);
    let (listener, address) = listener();
    let connect = || std::net::TcpStream::connect(address).unwrap();
    let changes = [read(&listener, ADD, 1), write(&listener, ADD, 1)];
    q.change("ADD R,W", &changes);
    q.poll("first");
    let _first = connect();
    q.poll("1 waiting");
    q.poll("again");
    let _second = connect();
    q.poll("2 waiting");
    listener.accept().unwrap();
    // Linux does not report that a connection was accepted.
    q.poll_but("accepted 1 of 2", "none");
    q.change("re-ADD R", &[read(&listener, ADD, 2)]);
    q.poll("after re-ADD");
    listener.accept().unwrap();
    q.change("re-ADD R", &[read(&listener, ADD, 3)]);
    q.poll("after, empty");
}

// Q30
#[test]
fn a_datagram_is_an_event_for_reading() {
    let mut q = Question::new(30);
    let a = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let b = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = a.local_addr().unwrap();
    q.both(&a, 1);
    q.poll("first");
    // NetBSD counts an address of 16 bytes with each datagram, and all datagrams.
    b.send_to(b"abc", address).unwrap();
    q.poll_but("1 datagram of 3", "[R data=3 u=1]");
    b.send_to(b"de", address).unwrap();
    q.poll_but("2nd datagram of 2, 1st unread", "[R data=3 u=1]");
    a.recv(&mut [0; 10]).unwrap();
    q.poll("read 1");
    a.send_to(b"self", address).unwrap();
    // Linux wakes the sender when the datagram was sent.
    q.poll_but("sent one to itself", "[R data=2 u=1] [W u=1]");
}

// Q31
#[test]
fn a_refused_datagram_is_no_end_and_keeps_its_error() {
    let mut q = Question::new(31);
    let dead = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = dead.local_addr().unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    drop(dead);
    socket.connect(address).unwrap();
    q.both(&socket, 1);
    q.poll("first");
    socket.send(b"x").unwrap();
    q.poll("after send to dead port");
    q.poll("again");
    let error = socket.take_error().unwrap().expect("the error was taken");
    q.answer("getsockopt(SO_ERROR)", &name::<()>(Err(error)));
    q.poll("after SO_ERROR");
}

// Q40
#[test]
fn a_pipe_is_readable_and_writable() {
    let mut q = Question::new(40);
    let (mut reader, mut writer) = pipe();
    let changes = [write(&writer, ADD, 1), read(&reader, ADD, 2)];
    q.change("ADD W on wr, R on rd", &changes);
    q.poll("first");
    q.poll("again");
    // NetBSD has events for writing after every write and read. Linux wakes a writer only if a full
    // pipe has capacity again.
    writer.write_all(b"x").unwrap();
    q.poll_but("wrote 1", "[R data=1 u=2]");
    q.poll("again");
    writer.write_all(b"y").unwrap();
    q.poll_but("wrote another, unread", "[R data=2 u=2]");
    drain(&reader);
    q.poll_but("drained (never full)", "none");
    fill(&writer);
    q.poll_but("filled", "[R data=65536 u=2]");
    reader.read_exact(&mut [0]).unwrap();
    q.poll("read 1");
    reader.read_exact(&mut [0; 4096]).unwrap();
    q.poll_but("read 4096", "[W u=1]");
    drain(&reader);
    q.poll_but("drained", "none");
}

// Q41
#[test]
fn the_writers_closing_is_the_end_of_a_pipe() {
    let mut q = Question::new(41);
    let (reader, mut writer) = pipe();
    q.change("ADD R", &[read(&reader, ADD, 2)]);
    writer.write_all(b"abc").unwrap();
    drop(writer);
    q.poll("3 bytes then close");
    q.poll("again");
    drain(&reader);
    // Linux does not report that it was drained.
    q.poll_but("drained", "none");
    q.change("re-ADD R", &[read(&reader, ADD, 3)]);
    q.poll("after re-ADD");
}

// Q42
#[test]
fn the_readers_closing_is_the_end_of_a_pipe() {
    let mut q = Question::new(42);
    let (reader, writer) = pipe();
    q.change("ADD W", &[write(&writer, ADD, 2)]);
    q.poll("first");
    drop(reader);
    q.poll("after");
    q.poll("again");
    q.change("re-ADD W", &[write(&writer, ADD, 3)]);
    q.poll("after re-ADD");
}

// Q44
#[test]
fn the_wrong_end_of_a_pipe_is_accepted_and_silent() {
    let mut q = Question::new(44);
    let (reader, mut writer) = pipe();
    q.change("ADD W on rd", &[write(&reader, ADD, 1)]);
    q.change("ADD R on wr", &[read(&writer, ADD, 2)]);
    q.poll("first");
    writer.write_all(b"x").unwrap();
    q.poll("wrote");
    drop(writer);
    q.poll("writer closed");
    let (reader, writer) = pipe();
    q.change("ADD R on wr", &[read(&writer, ADD, 2)]);
    q.change("ADD W on wr", &[write(&writer, ADD, 3)]);
    q.poll("first");
    drop(reader);
    q.poll("reader closed");
}

// Q50
#[test]
fn closing_ends_a_registration_and_the_number_can_be_used_again() {
    let mut q = Question::alone(50);
    let (a, mut b) = pair();
    q.both(&a, 1);
    b.write_all(b"x").unwrap();
    let number = a.as_raw_fd();
    drop(a);
    q.poll("queued, then closed");
    q.change("DELETE R on closed fd", &[read(&number, DELETE, 0)]);
    let (a, mut b) = pair();
    assert_eq!(a.as_raw_fd(), number);
    q.answer("", "fd number reused: 1");
    b.write_all(b"z").unwrap();
    q.poll("reused number, readable, not registered");
    q.change("DELETE R on reused fd", &[read(&number, DELETE, 0)]);
    q.both(&a, 5);
    q.poll("registered anew");
    b.write_all(b"q").unwrap();
    q.poll("write");
}

// Q50, without a look in between
#[test]
fn a_number_that_is_used_again_at_once_is_not_registered() {
    let _company = alone();
    let kq = Kq::new();
    let (a, mut b) = pair();
    kq.apply(&[read(&a, ADD, 1)]);
    b.write_all(b"x").unwrap();
    let number = a.as_raw_fd();
    drop(a);
    let (a, mut b) = pair();
    assert_eq!(a.as_raw_fd(), number);
    let missing = kq.change(&[read(&a, DELETE, 0)]).unwrap();
    assert_eq!(missing[0].data, libc::ENOENT as isize);
    b.write_all(b"x").unwrap();
    kq.nothing();
}

// Q50, by dup2
#[test]
fn replacing_ends_a_registration() {
    let _company = beside_others();
    let kq = Kq::new();
    let (a, mut b) = pair();
    let (other, _peer) = pair();
    b.write_all(b"x").unwrap();
    for replace in [false, true] {
        kq.apply(&[read(&a, ADD, 1)]);
        let onto = a.as_raw_fd();
        // SAFETY: `a` stays open: only the object of its descriptor changes.
        let result = unsafe {
            match replace {
                false => libc::dup2(-1, onto),
                true => libc::dup2(other.as_raw_fd(), onto),
            }
        };
        // A failure closes nothing.
        assert_eq!(result, if replace { onto } else { -1 });
        assert_eq!(kq.poll(util::SHORT).len(), usize::from(!replace));
    }
    let missing = kq.change(&[read(&a, DELETE, 0)]).unwrap();
    assert_eq!(missing[0].data, libc::ENOENT as isize);
}

// Q51
#[test]
fn closing_ends_a_registration_although_there_is_a_duplicate() {
    let mut q = Question::new(51);
    let (a, mut b) = pair();
    q.change("ADD R", &[read(&a, ADD, 1)]);
    let duplicate = a.try_clone().unwrap();
    drop(a);
    b.write_all(b"x").unwrap();
    q.poll("registered number closed, dup open, readable");
    q.change("ADD R on the dup", &[read(&duplicate, ADD, 2)]);
    q.poll("dup");
}

// Q52
#[test]
fn a_descriptor_and_its_duplicate_are_two_registrations() {
    let mut q = Question::new(52);
    let (a, mut b) = pair();
    let duplicate = a.try_clone().unwrap();
    q.change("ADD R fd u=1", &[read(&a, ADD, 1)]);
    q.change("ADD R dup u=2", &[read(&duplicate, ADD, 2)]);
    b.write_all(b"x").unwrap();
    q.poll("both");
}

// Q53
#[test]
fn a_duplicate_of_a_kqueue_is_the_same_kqueue() {
    let mut q = Question::new(53);
    let (a, mut b) = pair();
    let duplicate = q.kq.duplicate();
    let original = std::mem::replace(&mut q.kq, duplicate.duplicate());
    q.change("ADD R via the dup", &[read(&a, ADD, 1)]);
    b.write_all(b"x").unwrap();
    q.poll_on(&original, "wait on the original", 16);
    b.write_all(b"x").unwrap();
    q.poll_on(&duplicate, "wait on the dup", 16);
    drop(original);
    b.write_all(b"y").unwrap();
    q.poll_on(&duplicate, "original closed, dup waits", 16);
}

// Q54
#[test]
fn a_kqueue_can_watch_a_kqueue() {
    let mut q = Question::new(54);
    let (a, mut b) = pair();
    let inner = Kq::new();
    inner.apply(&[read(&a, ADD, 1)]);
    q.change("ADD R inner", &[read(&inner.0, ADD, 9)]);
    q.change("ADD W inner", &[write(&inner.0, ADD, 9)]);
    q.poll("first");
    b.write_all(b"x").unwrap();
    q.poll("inner has 1");
    q.poll("again");
    q.poll_on(&inner, "inner", 16);
}

// Q55
#[test]
fn a_change_and_an_event_wake_who_waits() {
    let mut q = Question::new(55);
    let (a, mut b) = pair();
    q.change("ADD R", &[read(&a, ADD, 1)]);
    let (c, mut d) = pair();
    d.write_all(b"x").unwrap();
    let kq = q.kq.duplicate();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            b.write_all(b"x").unwrap();
        });
        q.poll("blocked; other thread writes");
        q.answer("", "(woke after ~<1.5 s)");
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(50));
            kq.apply(&[read(&c, ADD, 77)]);
        });
        q.poll("blocked; other thread ADDs a ready fd");
        q.answer("", "(woke after ~<1.5 s)");
    });
}

// Q56
#[test]
fn an_event_is_for_one_of_those_who_wait() {
    let mut q = Question::new(56);
    let (a, mut b) = pair();
    q.change("ADD R", &[read(&a, ADD, 1)]);
    let wait = || q.kq.poll(Duration::from_millis(300)).len();
    let mut counts = thread::scope(|scope| {
        let waiters = [scope.spawn(wait), scope.spawn(wait)];
        b.write_all(b"x").unwrap();
        waiters.map(|waiter| waiter.join().unwrap())
    });
    counts.sort();
    let counts = format!("returned {} and {}", counts[0], counts[1]);
    q.answer("", &counts);
}

/// Three pairs, registered as 10, 11 and 12, and written to in reverse order.
fn three(kq: &Kq) -> Vec<(UnixStream, UnixStream)> {
    let mut pairs: Vec<_> = (0..3).map(|_| pair()).collect();
    for (i, (a, _)) in pairs.iter().enumerate() {
        kq.apply(&[read(a, ADD, 10 + i)]);
    }
    for (_, b) in pairs.iter_mut().rev() {
        b.write_all(b"x").unwrap();
    }
    pairs
}

// Q57
#[test]
fn what_there_is_no_room_for_comes_later_and_what_is_active_again_comes_last() {
    let mut q = Question::new(57);
    let mut pairs = three(&q.kq);
    let kq = q.kq.duplicate();
    q.poll_on(&kq, "room for 1", 1);
    q.poll_on(&kq, "room for 1", 1);
    pairs[2].1.write_all(b"y").unwrap();
    q.poll_on(&kq, "written again; room for 1", 1);
    q.poll("rest");
}

// Q58
#[test]
fn events_come_in_the_order_of_activation() {
    let mut q = Question::new(58);
    let _pairs = three(&q.kq);
    let events = q.kq.poll(LONG);
    let answer = outcome(Ok(events));
    q.answer("activated 12,11,10", answer.strip_prefix("ret 3 ").unwrap());
}

// Q59
#[test]
fn levels_one_shots_and_disabled_knotes() {
    let mut q = Question::new(59);
    let (a, mut b) = pair();
    q.change("ADD R level", &[read(&a, EV_ADD | EV_RECEIPT, 1)]);
    b.write_all(b"x").unwrap();
    q.poll("1st");
    q.poll("2nd");
    q.change("DISABLE", &[read(&a, EV_DISABLE | EV_RECEIPT, 1)]);
    q.poll("disabled");
    q.change("ENABLE", &[read(&a, EV_ENABLE | EV_RECEIPT, 1)]);
    q.poll("enabled");
    q.change("DELETE", &[read(&a, DELETE, 1)]);
    let one_shot = EV_ADD | EV_ONESHOT | EV_RECEIPT;
    q.change("ADD R ONESHOT", &[read(&a, one_shot, 2)]);
    q.poll("1st");
    q.poll("2nd");
    q.change("DELETE after oneshot", &[read(&a, DELETE, 1)]);
    let dispatch = EV_ADD | EV_DISPATCH | EV_RECEIPT;
    q.change("ADD R DISPATCH", &[read(&a, dispatch, 3)]);
    q.poll("1st");
    q.poll("2nd");
    q.change("ENABLE", &[read(&a, EV_ENABLE | EV_RECEIPT, 1)]);
    // According to the manual page, an enabled knote is reported if it is true, as it is after a
    // DISABLE. NetBSD answers differently here, which is assumed to be a mistake of its kernel.
    q.poll_but("3rd", "[R data=1 u=1]");
}

// Q60
#[test]
fn timeouts_and_arguments_that_make_no_sense() {
    let mut q = Question::new(60);
    let (a, _b) = pair();
    let two_seconds = libc::timespec {
        tv_sec: 2,
        tv_nsec: 0,
    };
    let ask = |kq, room, tv_sec, tv_nsec| {
        let timeout = libc::timespec { tv_sec, tv_nsec };
        let error = kevent_raw(kq, &[], room, Some(timeout)).unwrap_err();
        format!("-1 {}", name::<()>(Err(error)))
    };
    let kq = q.kq.fd();
    q.answer("tv_nsec=2e9", &ask(kq, 1, 0, 2_000_000_000));
    let start = Instant::now();
    let events = kevent_raw(kq, &[], 0, Some(two_seconds)).unwrap();
    assert!(events.is_empty() && start.elapsed() < Duration::from_secs(1));
    q.answer("nevents=0, timeout 2 s", "0, at once");
    q.answer("bad kq fd", &ask(CLOSED, 1, 2, 0));
    q.answer("not a kq fd", &ask(a.as_raw_fd(), 1, 2, 0));
    q.answer("tv_sec=-1", &ask(kq, 1, -1, 0));
}

// Q61
#[test]
fn changes_without_receipts_and_their_events_in_one_call() {
    let mut q = Question::new(61);
    let (a, mut b) = pair();
    b.write_all(b"x").unwrap();
    let change = read(&a, EV_ADD | EV_CLEAR, 4);
    let events = kevent(q.kq.fd(), &[change], 4, Some(LONG));
    q.answer("", &outcome(events));
}

// Q62
#[test]
fn a_call_with_receipts_does_not_wait() {
    let mut q = Question::new(62);
    let (a, _b) = pair();
    let start = Instant::now();
    let receipts = kevent(q.kq.fd(), &[read(&a, ADD, 4)], 4, Some(LONG));
    assert!(start.elapsed() < LONG / 2);
    q.answer("", &format!("{} at once", outcome(receipts)));
}

// Q43, the half without a switch
#[test]
fn registering_when_the_writer_is_gone_reports_the_end() {
    let _company = alone();
    let kq = Kq::new();
    let (reader, writer) = pipe();
    drop(writer);
    kq.apply(&[read(&reader, ADD, 1)]);
    let event = kq.event();
    assert_eq!((event.flags & EV_EOF, event.data), (EV_EOF, 0));
}
