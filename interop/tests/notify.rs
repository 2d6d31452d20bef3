//! notify on this crate: a thread waits with a `Poll` for inotify and for commands.

#![cfg(unix)]

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use interop::{bounded, A_WHILE, PATIENCE};
use notify::event::{CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tempfile::TempDir;

type Events = Receiver<notify::Result<Event>>;

#[test]
fn what_becomes_of_a_file_is_told() {
    bounded(|| {
        let (dir, _watcher, events) = watched();
        let (file, renamed) = (dir.path().join("file"), dir.path().join("renamed"));
        fs::write(&file, b"something").unwrap();
        wait_for(&events, EventKind::Create(CreateKind::File), &[&file]);
        wait_for_any(&events, EventKind::is_modify, &file);
        fs::rename(&file, &renamed).unwrap();
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        wait_for(&events, rename, &[&file, &renamed]);
        fs::remove_file(&renamed).unwrap();
        wait_for(&events, EventKind::Remove(RemoveKind::File), &[&renamed]);
    });
}

#[test]
fn none_of_many_files_is_forgotten() {
    bounded(|| {
        let (dir, _watcher, events) = watched();
        let mut missing: HashSet<PathBuf> = HashSet::new();
        for n in 0..2_000 {
            let file = dir.path().join(n.to_string());
            fs::write(&file, b"").unwrap();
            missing.insert(file);
        }
        while !missing.is_empty() {
            let event = next(&events);
            if event.kind.is_create() {
                for path in &event.paths {
                    missing.remove(path);
                }
            }
        }
    });
}

#[test]
fn a_folder_that_is_new_is_watched_too_until_it_is_unwatched() {
    bounded(|| {
        let (dir, mut watcher, events) = watched();
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        wait_for(&events, EventKind::Create(CreateKind::Folder), &[&folder]);
        // It answers after it has read the new folder.
        let other = tempfile::tempdir().unwrap();
        watcher
            .watch(other.path(), RecursiveMode::NonRecursive)
            .unwrap();
        let file = folder.join("file");
        fs::write(&file, b"").unwrap();
        wait_for(&events, EventKind::Create(CreateKind::File), &[&file]);
        watcher.unwatch(dir.path()).unwrap();
        while events.try_recv().is_ok() {}
        fs::write(dir.path().join("unseen"), b"").unwrap();
        let nothing = events.recv_timeout(A_WHILE);
        assert!(nothing.is_err(), "{nothing:?}");
        let seen = other.path().join("seen");
        fs::write(&seen, b"").unwrap();
        wait_for(&events, EventKind::Create(CreateKind::File), &[&seen]);
    });
}

#[test]
fn the_thread_ends_when_nobody_watches() {
    bounded(|| {
        let (_dir, watcher, events) = watched();
        drop(watcher);
        // It had the other end.
        let ended = events.recv_timeout(PATIENCE);
        assert!(
            matches!(ended, Err(RecvTimeoutError::Disconnected)),
            "{ended:?}"
        );
    });
}

fn watched() -> (TempDir, RecommendedWatcher, Events) {
    let dir = tempfile::tempdir().unwrap();
    let (sender, events) = mpsc::channel();
    let mut watcher = notify::recommended_watcher(sender).unwrap();
    watcher.watch(dir.path(), RecursiveMode::Recursive).unwrap();
    (dir, watcher, events)
}

fn next(events: &Events) -> Event {
    let event = events.recv_timeout(PATIENCE);
    event.expect("something is told").expect("no error")
}

fn wait_for(events: &Events, kind: EventKind, paths: &[&Path]) {
    loop {
        let event = next(events);
        if event.kind == kind && event.paths == paths {
            return;
        }
    }
}

fn wait_for_any(events: &Events, kind: fn(&EventKind) -> bool, path: &Path) {
    loop {
        let event = next(events);
        if kind(&event.kind) && event.paths == [path] {
            return;
        }
    }
}
