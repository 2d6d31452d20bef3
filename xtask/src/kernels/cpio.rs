//! A file system for the kernel to start with: a cpio archive of the format `newc`, not compressed.

use std::fs;
use std::path::Path;

use anyhow::Result;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    pub fn folder(&mut self, name: &str) {
        self.entry(name, FOLDER, &[]);
    }

    /// A file that may be executed.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.entry(name, PROGRAM, content);
    }

    pub fn copy(&mut self, name: &str, from: &Path) -> Result<()> {
        self.file(name, &fs::read(from)?);
        Ok(())
    }

    pub fn write(mut self, to: &Path) -> Result<()> {
        self.entry("TRAILER!!!", 0, &[]);
        fs::write(to, self.bytes)?;
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("a program is smaller than 4 GiB");
        let name_size = name.len() as u32 + 1;
        // Inode, mode, owner, group, links, time, size, four numbers of devices, the name's size, and
        // a sum that this format does not use.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_begin_at_multiples_of_four() {
        let mut archive = Archive::default();
        archive.folder("ab");
        archive.file("ab/c", b"12345");
        let text = String::from_utf8(archive.bytes).unwrap();
        let header = |fields: [u32; 13]| {
            let fields: String = fields.iter().map(|field| format!("{field:08X}")).collect();
            format!("070701{fields}")
        };
        let folder = header([1, FOLDER, 0, 0, 1, 0, 0, 0, 0, 0, 0, 3, 0]);
        let file = header([2, PROGRAM, 0, 0, 1, 0, 5, 0, 0, 0, 0, 5, 0]);
        // A header has 110 bytes.
        assert_eq!(text, format!("{folder}ab\0\0\0\0{file}ab/c\0\012345\0\0\0"));
    }
}
