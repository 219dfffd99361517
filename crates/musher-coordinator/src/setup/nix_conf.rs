//! Edits `nix.conf` and leaves alone what is not ours.
//!
//! ```text
//! file = { line newline }
//! line = [ name "=" { word } | ( "include" | "!include" ) path ] [ "#" comment ]
//! ```
//!
//! The last line of a name counts. Files that are included are not looked into.

/// A setting to make, under its name and Nix's former names for it.
pub(super) struct Setting {
    name: &'static str,
    aliases: &'static [&'static str],
    value: String,
}

impl Setting {
    pub(super) fn new(name: &'static str, aliases: &'static [&'static str], value: String) -> Self {
        Self {
            name,
            aliases,
            value,
        }
    }

    /// The line that makes it.
    pub(super) fn line(&self) -> String {
        format!("{} = {}", self.name, self.value)
    }

    fn is_made_by(&self, line: &str) -> bool {
        match words(line).as_slice() {
            [name, "=", ..] => self.name == *name || self.aliases.contains(name),
            _ => false,
        }
    }
}

/// A file after our change.
pub(super) struct Edit {
    pub(super) text: String,
    /// The value that `builders` had before, if it was there.
    pub(super) builders: Option<String>,
    /// Files included behind a setting that was already there.
    pub(super) included_later: Vec<String>,
}

/// Makes each setting: in the place where it counted, or at the end. Lines that
/// no longer count go.
pub(super) fn edit(text: &str, settings: &[Setting]) -> Edit {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
    let mut missing = String::new();
    let mut builders = None;
    let mut first_ours = lines.len();
    for setting in settings {
        let Some(counts) = lines.iter().rposition(|line| setting.is_made_by(line)) else {
            missing += &format!("{}\n", setting.line());
            continue;
        };
        let old = value(&lines[counts]);
        if old != setting.value {
            lines[counts] = replaced(&lines[counts], setting);
        }
        // Emptied, so that the places of the others stay.
        for line in &mut lines[..counts] {
            if setting.is_made_by(line) {
                line.clear();
            }
        }
        if setting.name == "builders" {
            builders = Some(old);
        }
        first_ours = first_ours.min(counts);
    }
    Edit {
        included_later: lines[first_ours..]
            .iter()
            .filter_map(|line| included(line))
            .map(str::to_owned)
            .collect(),
        text: with_block(lines.concat(), &missing),
        builders,
    }
}

fn with_block(mut text: String, missing: &str) -> String {
    if missing.is_empty() {
        return text;
    }
    if !text.is_empty() {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push('\n');
    }
    text + "# Set by `musher setup`.\n" + missing
}

/// A line as words, without its comment.
fn words(line: &str) -> Vec<&str> {
    code(line).split_whitespace().collect()
}

fn code(line: &str) -> &str {
    line.split_once('#').map_or(line, |(code, _)| code)
}

fn value(line: &str) -> String {
    words(line).get(2..).unwrap_or_default().join(" ")
}

fn included(line: &str) -> Option<&str> {
    match words(line).as_slice() {
        ["include" | "!include", file] => Some(*file),
        _ => None,
    }
}

/// The line with another value; its indentation and comment stay.
fn replaced(line: &str, setting: &Setting) -> String {
    let indent: String = line
        .chars()
        .take_while(|c| matches!(c, ' ' | '\t'))
        .collect();
    let comment = line[code(line).len()..].trim_end();
    let gap = if comment.is_empty() { "" } else { " " };
    format!("{indent}{}{gap}{comment}\n", setting.line())
}
