//! Manual pages and shell completions of a program, made from the definition of its command line.
//!
//! A program writes them itself, so that they cannot be older than it is; a package collects them. Nothing here reads
//! a command line.
//!
//! ```
//! # fn main() -> std::io::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! let command = clap::Command::new("hello").version("1.0").about("Greets");
//! let section = manual::Section { heading: "SEE ALSO", text: "echo(1)" };
//! manual::Manual::new(command, 1).section(section).write(folder.path())?;
//! assert!(folder.path().join("man/man1/hello.1").exists());
//! # Ok(())
//! # }
//! ```

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// An apostrophe that means itself, as the rendered text names it.
const QUOTE: &str = ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n";
/// The flag that [`asked_for`] looks for.
const FLAG: &str = "--write-manual";
/// The shells, and where each looks for completions below `/usr/share`, `@` being the program.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "bash-completion/completions/@"),
    (Shell::Zsh, "zsh/vendor-completions/_@"),
    (Shell::Fish, "fish/vendor_completions.d/@.fish"),
];

/// Tells whether this process was started to write its manual, as `PROGRAM --write-manual FOLDER`, and where to.
///
/// The flag is for those who make packages. It is no part of the command line that it describes.
pub fn asked_for() -> Option<PathBuf> {
    folder_in(std::env::args_os().skip(1))
}

fn folder_in(mut words: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    let (flag, folder) = (words.next()?, words.next()?);
    (flag == FLAG && words.next().is_none()).then(|| folder.into())
}

/// What the pages of one program are made of.
#[derive(Debug)]
pub struct Manual<'a> {
    command: Command,
    number: u8,
    sections: Vec<Section<'a>>,
}

/// A section that the definition of the command line does not know, such as FILES.
#[derive(Debug, Clone, Copy)]
pub struct Section<'a> {
    /// Its heading, in capitals.
    pub heading: &'a str,
    /// Its text; a line `TERM: text` becomes an entry, an empty line a new paragraph.
    pub text: &'a str,
}

impl<'a> Manual<'a> {
    /// The pages of a program, in the manual's section of that number: 1 for users' programs, 8 for operators'.
    ///
    /// Hidden commands and options are left out of the pages.
    pub fn new(command: Command, number: u8) -> Self {
        Self { command, number, sections: Vec::new() }
    }

    /// Adds a section to the program's own page, behind those that are there.
    #[must_use]
    pub fn section(mut self, section: Section<'a>) -> Self {
        self.sections.push(section);
        self
    }

    /// Writes one page for the program and one for each of its commands, and completions for bash, zsh and fish.
    ///
    /// The folder stands for `/usr/share`: it gets `man/man8/…`, `bash-completion/completions/…` and so on.
    ///
    /// # Errors
    /// When a folder or a file cannot be written.
    pub fn write(mut self, folder: &Path) -> io::Result<()> {
        let name = self.command.get_name().to_owned();
        for (shell, place) in SHELLS {
            let place = folder.join(place.replace('@', &name));
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut self.command.clone(), &name, &mut text);
            publish(&place, &text)?;
        }
        self.command.build();
        let pages = folder.join(format!("man/man{}", self.number));
        self.page(&self.command, &name, &pages)
    }

    /// Writes the page of a command and, with the program's name before theirs, those of its commands.
    fn page(&self, command: &Command, name: &str, folder: &Path) -> io::Result<()> {
        let man = Man::new(command.clone().display_name(name.to_owned()));
        let version = command.get_version().unwrap_or_default();
        let (title, program) = (escaped(&name.to_uppercase()), self.command.get_name());
        let mut text =
            format!("{QUOTE}.TH {title} {} \"\" \"{program} {version}\"\n", self.number).into_bytes();
        man.render_name_section(&mut text)?;
        man.render_synopsis_section(&mut text)?;
        man.render_description_section(&mut text)?;
        if command.get_arguments().any(|argument| !argument.is_hide_set()) {
            man.render_options_section(&mut text)?;
        }
        let below = command.get_subcommands().filter(|below| !below.is_hide_set());
        let below: Vec<_> = below.map(|below| (format!("{name}-{}", below.get_name()), below)).collect();
        if !below.is_empty() {
            writeln!(text, ".SH COMMANDS")?;
        }
        for (name, below) in &below {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            let number = self.number;
            writeln!(text, ".TP\n\\fB{}\\fR({number})\n{}", escaped(name), escaped(&about))?;
        }
        if name == self.command.get_name() {
            self.sections.iter().try_for_each(|section| section.render(&mut text))?;
        }
        let text = without_needless_breaks(&String::from_utf8_lossy(&text));
        publish(&folder.join(format!("{name}.{}", self.number)), text.as_bytes())?;
        below.iter().try_for_each(|(name, below)| self.page(below, name, folder))
    }
}

impl Section<'_> {
    fn render(&self, out: &mut Vec<u8>) -> io::Result<()> {
        writeln!(out, ".SH \"{}\"", self.heading)?;
        for line in self.text.lines() {
            match line.split_once(": ") {
                _ if line.is_empty() => writeln!(out, ".PP")?,
                Some((term, text)) if !term.contains(' ') => {
                    writeln!(out, ".TP\n\\fB{}\\fR\n{}", escaped(term), escaped(text))?;
                }
                _ => writeln!(out, "{}", escaped(line))?,
            }
        }
        Ok(())
    }
}

/// Text that means itself: no escape, no hyphen that a reader cannot copy, no request at a line's begin.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// The page without a line break before or behind a blank line, which means nothing.
fn without_needless_breaks(page: &str) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let at = |index: Option<usize>| index.and_then(|index| lines.get(index)).copied();
    let is_blank = |index: Option<usize>| matches!(at(index), Some("" | ".sp"));
    let is_needless = |index: usize| {
        at(Some(index)) == Some(".br") && (is_blank(index.checked_sub(1)) || is_blank(Some(index + 1)))
    };
    let kept = (0..lines.len()).filter(|&index| !is_needless(index)).filter_map(|index| at(Some(index)));
    kept.flat_map(|line| [line, "\n"]).collect()
}

fn publish(path: &Path, text: &[u8]) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let command = Command::new("hello").version("1.0").about("Greets").subcommands([
            Command::new("loudly").about("With a voice").arg(clap::arg!(--volume <DECIBEL> "How loud")),
            Command::new("secretly").hide(true),
        ]);
        let files = Section { heading: "FILES", text: "/etc/hello: whom\n.to greet\n\nA paragraph." };
        Manual::new(command, 8).section(files).write(folder.path()).unwrap();
        folder
    }

    fn read(folder: &tempfile::TempDir, path: &str) -> String {
        fs::read_to_string(folder.path().join(path)).unwrap()
    }

    #[test]
    fn each_command_has_a_page_that_the_programs_page_names() {
        let folder = written();
        let main = read(&folder, "man/man8/hello.8");
        assert!(main.starts_with(".ie") && main.contains(".TH HELLO 8 \"\" \"hello 1.0\"\n"), "{main}");
        assert!(main.contains("\\fBhello\\-loudly\\fR(8)\nWith a voice"), "{main}");
        assert!(read(&folder, "man/man8/hello-loudly.8").contains("\\-\\-volume"), "{main}");
    }

    #[test]
    fn sections_hold_entries_text_and_paragraphs() {
        let main = read(&written(), "man/man8/hello.8");
        assert!(
            main.contains(".SH \"FILES\"\n.TP\n\\fB/etc/hello\\fR\nwhom\n\\&.to greet\n.PP\nA paragraph.\n")
        );
    }

    #[test]
    fn breaks_beside_blank_lines_are_left_out() {
        assert_eq!(without_needless_breaks("a\n.br\n.sp\n.br\n\nb\n.br\nc\n"), "a\n.sp\n\nb\n.br\nc\n");
    }

    #[test]
    fn what_is_hidden_has_no_page_and_is_named_on_none() {
        let folder = written();
        assert!(!folder.path().join("man/man8/hello-secretly.8").exists());
        assert!(!read(&folder, "man/man8/hello.8").contains("secretly"));
    }

    #[test]
    fn every_shell_has_completions() {
        let folder = written();
        for (_, place) in SHELLS {
            assert!(read(&folder, &place.replace('@', "hello")).contains("loudly"), "{place}");
        }
    }

    #[test]
    fn only_the_flag_with_a_folder_and_nothing_else_asks_for_them() {
        let asked = |words: &str| folder_in(words.split(' ').map(OsString::from));
        assert_eq!(asked("--write-manual out"), Some("out".into()));
        for words in ["", "--write-manual", "--write-manual out more", "run --write-manual", "check out"] {
            assert_eq!(asked(words), None, "{words}");
        }
    }
}
