//! ipc-channel on this crate: its set of receivers is a `Poll` with their sockets.

#![cfg(unix)]

use std::collections::HashMap;
use std::thread;

use interop::child::{self, Child};
use interop::{bounded, pattern};
use ipc_channel::ipc::{
    self, IpcOneShotServer, IpcReceiver, IpcReceiverSet, IpcSelectionResult, IpcSender,
};

/// A number, and bytes that depend on it.
type Message = (usize, Vec<u8>);

/// The other process' ends of two channels: for requests, and for answers.
type Ends = (IpcSender<Message>, IpcReceiver<Message>);

#[test]
fn a_set_receives_all_that_many_threads_send_and_that_they_have_gone() {
    bounded(|| {
        let mut set = IpcReceiverSet::new().unwrap();
        let mut expected = HashMap::new();
        for sending in 0..50 {
            let (sender, receiver) = ipc::channel::<Message>().unwrap();
            expected.insert(set.add(receiver).unwrap(), (sending, 0));
            thread::spawn(move || {
                for n in 0..100 {
                    sender.send((n, pattern(sending, n * 20))).unwrap();
                }
            });
        }
        while !expected.is_empty() {
            for result in set.select().unwrap() {
                match result {
                    IpcSelectionResult::MessageReceived(id, message) => {
                        let (sending, next) = expected.get_mut(&id).unwrap();
                        let message: Message = message.to().unwrap();
                        assert_eq!(message, (*next, pattern(*sending, *next * 20)));
                        *next += 1;
                    }
                    IpcSelectionResult::ChannelClosed(id) => {
                        assert_eq!(expected.remove(&id).unwrap().1, 100);
                    }
                }
            }
        }
    });
}

#[test]
fn receivers_come_and_go_with_the_same_descriptors() {
    bounded(|| {
        let mut set = IpcReceiverSet::new().unwrap();
        let (staying, receiver) = ipc::channel::<Message>().unwrap();
        let staying_id = set.add(receiver).unwrap();
        for n in 0..500 {
            let (sender, receiver) = ipc::channel::<Message>().unwrap();
            let id = set.add(receiver).unwrap();
            sender.send((n, pattern(n, 100))).unwrap();
            assert_eq!(next(&mut set), (id, Some((n, pattern(n, 100)))));
            drop(sender);
            assert_eq!(next(&mut set), (id, None));
            staying.send((n, vec![])).unwrap();
            assert_eq!(next(&mut set), (staying_id, Some((n, vec![]))));
        }
    });
}

#[test]
fn two_processes_send_each_other_messages_and_channels() {
    bounded(|| {
        if let Some(server) = child::part() {
            return answer(server);
        }
        let (server, name) = IpcOneShotServer::<Ends>::new().unwrap();
        let test = "two_processes_send_each_other_messages_and_channels";
        let other = Child::start(child::command(test, &name));
        let (_, (questions, answers)) = server.accept().unwrap();
        let mut set = IpcReceiverSet::new().unwrap();
        let id = set.add(answers).unwrap();
        for n in 0..200 {
            questions.send((n, pattern(n, n * 10))).unwrap();
            assert_eq!(next(&mut set), (id, Some((n + 1, pattern(n, n * 10)))));
        }
        // More than a socket accepts at once.
        let large = pattern(1, 2 << 20);
        questions.send((7, large.clone())).unwrap();
        let received = next(&mut set);
        assert!(received == (id, Some((8, large))), "other bytes came back");
        drop(questions);
        assert_eq!(next(&mut set), (id, None), "the other process has ended");
        other.ends_well();
    });
}

/// The other process: it sends its messages back until there are no more.
fn answer(server: String) {
    let (questions_to, questions) = ipc::channel().unwrap();
    let (answers, answers_from) = ipc::channel().unwrap();
    let ends: Ends = (questions_to, answers_from);
    IpcSender::connect(server).unwrap().send(ends).unwrap();
    let mut set = IpcReceiverSet::new().unwrap();
    set.add(questions).unwrap();
    while let (_, Some((n, bytes))) = next(&mut set) {
        answers.send((n + 1, bytes)).unwrap();
    }
}

/// The only message that is there or arrives, or `None` for the end of a channel.
fn next(set: &mut IpcReceiverSet) -> (u64, Option<Message>) {
    loop {
        let mut results = set.select().unwrap();
        assert!(results.len() < 2, "{results:?}");
        match results.pop() {
            Some(IpcSelectionResult::MessageReceived(id, message)) => {
                return (id, Some(message.to().unwrap()));
            }
            Some(IpcSelectionResult::ChannelClosed(id)) => return (id, None),
            // An event for a message that was received already.
            None => {}
        }
    }
}
