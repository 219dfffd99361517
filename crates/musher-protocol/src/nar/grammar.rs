//! Which word of a NAR may follow which. Knows no bytes.

use super::{MAX_DEPTH, MAX_NAME, MAX_TARGET};

/// The longest keyword, `nix-archive-1`.
const MAX_KEYWORD: u64 = 13;

/// The place in the grammar before the next word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Magic,
    NodeOpen,
    TypeTag,
    Type,
    ExecutableOrContents,
    ExecutableMark,
    ContentsTag,
    /// The next word is a file's content, which is skipped.
    Contents,
    NodeClose,
    TargetTag,
    Target,
    EntryOrClose,
    EntryOpen,
    NameTag,
    Name,
    NodeTag,
    EntryClose,
    End,
}

/// The place in the grammar and the directories around it.
#[derive(Debug, Clone)]
pub(super) struct Grammar {
    pub(super) place: Place,
    depth: u32,
}

impl Grammar {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Magic,
            depth: 0,
        }
    }

    /// The longest word allowed here, in bytes; `None` for the content of a
    /// file, which may have any length.
    pub(super) fn longest(&self) -> Option<u64> {
        match self.place {
            Place::Contents => None,
            Place::Name => Some(MAX_NAME),
            Place::Target => Some(MAX_TARGET),
            Place::Magic
            | Place::NodeOpen
            | Place::TypeTag
            | Place::Type
            | Place::ExecutableOrContents
            | Place::ExecutableMark
            | Place::ContentsTag
            | Place::NodeClose
            | Place::TargetTag
            | Place::EntryOrClose
            | Place::EntryOpen
            | Place::NameTag
            | Place::NodeTag
            | Place::EntryClose
            | Place::End => Some(MAX_KEYWORD),
        }
    }

    /// Goes past `word`, or says what was expected. The word of
    /// [`Place::Contents`] is not looked at.
    pub(super) fn step(&mut self, word: &[u8]) -> Result<(), String> {
        self.place = match (self.place, word) {
            (Place::Magic, b"nix-archive-1") => Place::NodeOpen,
            (Place::NodeOpen, b"(") => Place::TypeTag,
            (Place::TypeTag, b"type") => Place::Type,
            (Place::Type, b"regular") => Place::ExecutableOrContents,
            (Place::Type, b"symlink") => Place::TargetTag,
            (Place::Type, b"directory") => Place::EntryOrClose,
            (Place::ExecutableOrContents, b"executable") => Place::ExecutableMark,
            (Place::ExecutableMark, b"") => Place::ContentsTag,
            (Place::ExecutableOrContents | Place::ContentsTag, b"contents") => Place::Contents,
            (Place::Contents, _) => Place::NodeClose,
            (Place::TargetTag, b"target") => Place::Target,
            (Place::Target, target) if !target.is_empty() && !target.contains(&0) => {
                Place::NodeClose
            }
            (Place::NodeClose, b")") | (Place::EntryOrClose, b")") => self.close_node(),
            (Place::EntryOrClose, b"entry") => Place::EntryOpen,
            (Place::EntryOpen, b"(") => Place::NameTag,
            (Place::NameTag, b"name") => Place::Name,
            (Place::Name, name) if is_file_name(name) => Place::NodeTag,
            (Place::NodeTag, b"node") => self.open_entry()?,
            (Place::EntryClose, b")") => Place::EntryOrClose,
            (place, _) => return Err(expected(place).to_owned()),
        };
        Ok(())
    }

    fn open_entry(&mut self) -> Result<Place, String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("at most {MAX_DEPTH} directories in each other"));
        }
        self.depth += 1;
        Ok(Place::NodeOpen)
    }

    fn close_node(&mut self) -> Place {
        if self.depth == 0 {
            return Place::End;
        }
        self.depth -= 1;
        Place::EntryClose
    }
}

fn is_file_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

pub(super) fn expected(place: Place) -> &'static str {
    match place {
        Place::Magic => "`nix-archive-1`",
        Place::NodeOpen | Place::EntryOpen => "`(`",
        Place::TypeTag => "`type`",
        Place::Type => "`regular`, `symlink` or `directory`",
        Place::ExecutableOrContents => "`executable` or `contents`",
        Place::ExecutableMark => "an empty string",
        Place::ContentsTag => "`contents`",
        Place::Contents => "the content of a file",
        Place::NodeClose | Place::EntryClose => "`)`",
        Place::TargetTag => "`target`",
        Place::Target => "the target of a symbolic link",
        Place::EntryOrClose => "`entry` or `)`",
        Place::NameTag => "`name`",
        Place::Name => "a file name",
        Place::NodeTag => "`node`",
        Place::End => "nothing more",
    }
}
