//! Checks the documents: commands run, programs compile, no link is broken.
//!
//! Every command of a console block in README.md, CONTRIBUTING.md and docs/ runs here, with three
//! exceptions. A `cargo xtask STEP` of a step of `ci` or `full` is parsed and not run, because `ci`
//! runs the step. `cargo test` alone is the step `test`. A block after `<!-- not run: WHY -->` is not
//! run; its commands of `cargo xtask` are parsed all the same.
//!
//! Every Rust block is a program, and is compiled in a project that depends on this crate as README.md
//! says. README.md's program must also serve [`clients`]. A block after `<!-- part of: FILE -->` is
//! not a program; that file must contain it. Console blocks after `<!-- run in: a program that
//! depends on mio -->` run in the project.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process};
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use clap::Parser;

use crate::cli::Cli;
use crate::report::{self, Report};
use crate::sh::Cmd;
use crate::{root, target};

mod clients;
mod markdown;

use markdown::{Block, Command, Marker};

/// The maximum length of README.md: about two screens.
const README_CHARACTERS: usize = 6000;

/// The address that README.md's program binds to, and the path of its dependency. Both are replaced
/// here.
const ADDRESS: &str = "127.0.0.1:9000";
const PATH: &str = "\"../mio\"";

/// The time limit for one command, with compiling.
const LIMIT: Duration = Duration::from_secs(5 * 60);

/// `is_step` knows the names of the chores that run elsewhere.
pub fn run(is_step: fn(&str) -> bool) -> Result<()> {
    Report::of(|report| {
        let documents = documents()?;
        let readme = documents.first().context("there is no README.md")?;
        report.one("README.md fits on two screens", check_length(&readme.text));
        report.one("no link is broken", check_links(&documents));

        let program = Program::create(&readme.blocks)?;
        let mut not_run = Vec::new();
        for document in &documents {
            for block in &document.blocks {
                let place = format!("{}:{}", document.name, block.line);
                if let Marker::NotRun(why) = &block.marker {
                    not_run.push(format!("{place}: {why}"));
                }
                match (block.language.as_str(), &block.marker) {
                    ("console", _) => console(report, &place, block, &program, is_step)?,
                    ("rust", Marker::None) => {
                        let compiled = program.compile(&place, block);
                        let server = compiled.as_ref().ok().cloned();
                        report.one(&place, compiled.map(drop));
                        if let ("README.md", Some(server)) = (document.name.as_str(), server) {
                            serve(report, &place, &server, program.address)?;
                        }
                    }
                    ("rust", Marker::PartOf(file)) => report.one(&place, is_part_of(block, file)),
                    _ => {}
                }
            }
        }
        report.one("without the patch", program.go_back());

        for block in &not_run {
            println!("not run: {block}");
        }
        println!("{} blocks not run", not_run.len());
        Ok(())
    })
}

fn check_length(readme: &str) -> Result<()> {
    let length = readme.chars().count();
    ensure!(
        length < README_CHARACTERS,
        "{length} characters, and {README_CHARACTERS} are too many"
    );
    Ok(())
}

fn is_part_of(block: &Block, file: &str) -> Result<()> {
    let text = fs::read_to_string(root().join(file)).with_context(|| file.to_owned())?;
    ensure!(text.contains(&block.text), "{file} does not contain it");
    Ok(())
}

/// Runs README.md's server, and its clients.
fn serve(report: &mut Report, place: &str, server: &Path, address: SocketAddr) -> Result<()> {
    let mut server = Server::start(server)?;
    clients::run(&mut server.0, address, |client, outcome| {
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("{client}: {word}");
        report.one(&format!("{place}: {client}"), outcome);
    })
}

struct Document {
    /// Its path from the root.
    name: String,
    text: String,
    blocks: Vec<Block>,
}

/// README.md first.
fn documents() -> Result<Vec<Document>> {
    let mut names = vec!["README.md".to_owned(), "CONTRIBUTING.md".to_owned()];
    for entry in fs::read_dir(root().join("docs"))? {
        let name = entry?.file_name().into_string();
        let name = name.ok().context("a name in docs/ is not Unicode")?;
        if name.ends_with(".md") {
            names.push(format!("docs/{name}"));
        }
    }
    names[2..].sort();
    names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(root().join(&name)).context(name.clone())?;
            let blocks = markdown::blocks(&text).context(name.clone())?;
            Ok(Document { name, text, blocks })
        })
        .collect()
}

fn check_links(documents: &[Document]) -> Result<()> {
    let mut dead = Vec::new();
    for document in documents {
        for link in markdown::links(&document.text) {
            if !leads_somewhere(&document.name, &link)? {
                dead.push(format!("{}: {link}", document.name));
            }
        }
    }
    ensure!(dead.is_empty(), "broken: {}", dead.join(", "));
    Ok(())
}

fn leads_somewhere(from: &str, link: &str) -> Result<bool> {
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let from = root().join(from);
    let to = match file {
        "" => from,
        _ => from.parent().context("a document in no folder")?.join(file),
    };
    if !to.exists() || anchor.is_empty() {
        return Ok(to.exists());
    }
    Ok(markdown::anchors(&fs::read_to_string(to)?).contains(&anchor.to_owned()))
}

fn console(
    report: &mut Report,
    place: &str,
    block: &Block,
    program: &Program,
    is_step: fn(&str) -> bool,
) -> Result<()> {
    for command in block.commands().context(place.to_owned())? {
        let shown = command.text.split(" #").next().unwrap_or_default();
        let name = format!("{place}: {}", shown.trim());
        let outcome = What::of(&command.text, &block.marker, is_step).and_then(|what| match what {
            What::Run => execute(&command, root()).map(|()| what),
            What::RunInProgram => execute(&command, &program.folder).map(|()| what),
            What::Parsed => {
                println!("{name}: parsed");
                Ok(what)
            }
            What::Nothing => Ok(what),
        });
        match outcome {
            Ok(What::Nothing) => {}
            outcome => report.one(&name, outcome.map(drop)),
        }
    }
    Ok(())
}

/// What happens with a command.
#[derive(Debug, PartialEq)]
enum What {
    Run,
    RunInProgram,
    /// It is a chore, and its arguments are valid. It runs elsewhere, or nowhere.
    Parsed,
    Nothing,
}

impl What {
    fn of(command: &str, marker: &Marker, is_step: impl Fn(&str) -> bool) -> Result<What> {
        let words = markdown::words(command);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let ["cargo", "xtask", chore, ..] = words[..] {
            let parsed = Cli::try_parse_from(&words[1..]);
            parsed.map_err(|error| anyhow::anyhow!("{}", first_line(&error.to_string())))?;
            if is_step(chore) || matches!(marker, Marker::NotRun(_)) {
                return Ok(What::Parsed);
            }
        }
        Ok(match marker {
            Marker::NotRun(_) => What::Nothing,
            Marker::InProgram => What::RunInProgram,
            // The step `test`.
            Marker::None if words == ["cargo", "test"] => What::Parsed,
            Marker::None | Marker::PartOf(_) => What::Run,
        })
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Runs a command. It must print the output that stands below it, and run a test if it is a test
/// command.
fn execute(command: &Command, folder: &Path) -> Result<()> {
    let ended = Cmd::shell(&command.text).dir(folder).limit(LIMIT).tee()?;
    ended.success()?;
    ensure!(
        markdown::is_in(&command.output, &ended.stdout),
        "it did not print {:?}",
        command.output.join("\n")
    );
    if ended.stdout.contains("test result: ") {
        ensure!(report::passed(&ended.stdout) > 0, "it ran no test");
    }
    Ok(())
}

/// A project that depends on this crate as README.md says.
struct Program {
    folder: PathBuf,
    manifest: String,
    /// The address for its server: with a port that was free.
    address: SocketAddr,
}

impl Program {
    /// With a `Cargo.lock` from before the patch.
    fn create(readme: &[Block]) -> Result<Program> {
        let mut tomls = readme.iter().filter(|block| block.language == "toml");
        let (Some(toml), None) = (tomls.next(), tomls.next()) else {
            bail!("README.md has not exactly one block of toml");
        };
        let program = Program {
            folder: target("readme").join("program"),
            manifest: manifest(&toml.text)?,
            address: TcpListener::bind("127.0.0.1:0")?.local_addr()?,
        };
        let binaries = program.folder.join("src/bin");
        match fs::remove_dir_all(&program.folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error)?,
            _ => fs::create_dir_all(&binaries)?,
        }
        fs::write(program.folder.join("src/lib.rs"), "")?;

        let unpatched = unpatched(&program.manifest)?;
        fs::write(program.folder.join("Cargo.toml"), unpatched)?;
        let lock = || program.cargo("generate-lockfile");
        if let Err(error) = lock().run() {
            println!("{error:#}: without the network");
            lock().arg("--offline").run()?;
        }
        fs::write(program.folder.join("Cargo.toml"), &program.manifest)?;
        Ok(program)
    }

    /// Compiles a block, and returns the program.
    fn compile(&self, place: &str, block: &Block) -> Result<PathBuf> {
        let name: String = place
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let source = self.folder.join("src/bin").join(format!("{name}.rs"));
        let address = self.address.to_string();
        fs::write(source, block.text.replace(ADDRESS, &address))?;
        self.cargo("build")
            .args(["--bin", &name])
            .env("RUSTFLAGS", "-D warnings")
            .run()?;
        Ok(target("readme").join("debug").join(name))
    }

    /// Checks that without the patch the project uses the other crate again, and that `cargo update
    /// -p mio` does not do that.
    fn go_back(&self) -> Result<()> {
        let manifest = self.folder.join("Cargo.toml");
        fs::write(manifest, unpatched(&self.manifest)?)?;
        let update = self.cargo("update").args(["-p", "mio"]).quiet()?;
        ensure!(!update.status.success(), "cargo update -p mio works");
        let tree = self.cargo("tree").args(["-i", "mio@1"]).tee()?;
        let tree = tree.successful_stdout()?;
        let first = first_line(&tree);
        ensure!(
            first.starts_with("mio v1.") && !first.contains('/'),
            "it depends on {first}"
        );
        Ok(())
    }

    fn cargo(&self, subcommand: &str) -> Cmd {
        Cmd::cargo(subcommand)
            .dir(&self.folder)
            .target_dir(target("readme"))
    }
}

/// A manifest with README.md's lines, and the path to here.
fn manifest(toml: &str) -> Result<String> {
    ensure!(toml.contains(PATH), "README.md does not depend on {PATH}");
    let here = format!("{:?}", root());
    Ok(format!(
        "[package]\nname = \"program\"\nedition = \"2021\"\n\n[workspace]\n\n{}",
        toml.replace(PATH, &here)
    ))
}

fn unpatched(manifest: &str) -> Result<&str> {
    let patch = manifest.find("[patch.").context("there is no patch")?;
    Ok(&manifest[..patch])
}

/// A program that is killed when this is dropped.
struct Server(Child);

impl Server {
    fn start(program: &Path) -> Result<Server> {
        let child = Process::new(program).spawn();
        Ok(Server(
            child.with_context(|| program.display().to_string())?,
        ))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ci::runs;

    /// Runs SECURITY.md's own program that counts the blocks of `unsafe`, and compares its tables.
    #[test]
    fn security_has_every_block_of_unsafe() {
        let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
        let after = text.split_once("```sh\n").expect("the program").1;
        let program = after.split_once("```").expect("its end").0;
        let counts = Cmd::shell(program).quiet().unwrap().successful_stdout();
        let counts = counts.unwrap();
        let mut total = 0;
        for line in counts.lines() {
            let [file, blocks, _of_tests] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line:?}");
            };
            let is_said = match (file, blocks) {
                ("total", blocks) => {
                    total = blocks.parse().unwrap();
                    text.contains(&format!("It prints `{line}`."))
                }
                (_, "0") => true,
                (file, blocks) => text.contains(&format!("| `{file}` | {blocks} |")),
            };
            assert!(is_said, "SECURITY.md lacks {line:?}");
        }
        // The kinds have as many.
        let kinds = text.lines().filter(|line| line.starts_with("| **"));
        let of_kinds = kinds.map(|line| line.split(" | ").nth(2)?.trim().parse::<usize>().ok());
        assert_eq!(of_kinds.sum::<Option<usize>>(), Some(total));
    }

    #[test]
    fn steps_are_parsed_and_other_commands_run() {
        let what = |command| What::of(command, &Marker::None, runs).unwrap();
        assert_eq!(
            what("cargo xtask oracle poll --seconds 5  # short"),
            What::Parsed
        );
        assert_eq!(what("cargo xtask ci"), What::Parsed);
        assert_eq!(what("cargo test      # all"), What::Parsed);
        assert_eq!(what("cargo test --lib"), What::Run);
        assert_eq!(what("RUSTFLAGS='--cfg a' cargo test"), What::Run);
        assert_eq!(what("cargo xtask soak --minutes 1"), What::Run);
        let not_run = Marker::NotRun("because".to_owned());
        assert_eq!(
            What::of("cargo xtask soak --minutes 1", &not_run, runs).unwrap(),
            What::Parsed
        );
        assert_eq!(
            What::of("git clone x", &not_run, runs).unwrap(),
            What::Nothing
        );
        let in_program = What::of("cargo tree", &Marker::InProgram, runs).unwrap();
        assert_eq!(in_program, What::RunInProgram);
    }

    #[test]
    fn a_chore_that_does_not_exist_or_takes_no_such_flag_is_an_error() {
        for command in [
            "cargo xtask no-such-chore",
            "cargo xtask oracle --no-such-flag",
            "cargo xtask soak --minutes many",
        ] {
            for marker in [Marker::None, Marker::NotRun("because".to_owned())] {
                assert!(What::of(command, &marker, runs).is_err(), "{command}");
            }
        }
    }

    #[test]
    fn links_are_followed_from_the_document_that_has_them() {
        assert!(leads_somewhere("docs/EVENTS.md", "TESTING.md").unwrap());
        assert!(leads_somewhere("docs/EVENTS.md", "TESTING.md#faults").unwrap());
        assert!(leads_somewhere("README.md", "docs/TESTING.md").unwrap());
        assert!(!leads_somewhere("README.md", "TESTING.md").unwrap());
        assert!(!leads_somewhere("docs/EVENTS.md", "TESTING.md#no-such").unwrap());
    }

    #[test]
    fn the_documents_can_be_read() {
        let documents = documents().unwrap();
        assert_eq!(documents[0].name, "README.md");
        for document in documents {
            for block in document.blocks {
                if block.language == "console" {
                    for command in block.commands().unwrap() {
                        What::of(&command.text, &block.marker, runs).unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn a_manifest_without_the_patch_is_what_comes_before_it() {
        let toml =
            "[dependencies]\nmio = \"1\"\n\n[patch.crates-io]\nmio = { path = \"../mio\" }\n";
        let manifest = manifest(toml).unwrap();
        assert!(manifest.contains(&format!("{:?}", root())));
        let unpatched = unpatched(&manifest).unwrap();
        assert!(unpatched.contains("mio = \"1\"") && !unpatched.contains("path"));
    }
}
