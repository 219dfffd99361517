//! Text of other programs as it may be shown: Nix colours its messages even for
//! those who do not ask, and nobody's words shall drive the user's terminal.

use std::iter::Peekable;
use std::str::Chars;

/// `text` without colours and other control sequences. Lines stay, tabs become
/// blanks, and blanks at the end of lines go.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_sequence(&mut chars),
            // What follows an escape as one character.
            '\u{9b}' => skip_control(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut chars),
            '\t' => shown.push(' '),
            '\n' => {
                shown.truncate(shown.trim_end_matches(' ').len());
                shown.push('\n');
            }
            // These reverse what stands before and behind, beyond their line.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {}
            c if c.is_control() => {}
            c => shown.push(c),
        }
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// The same in one line.
pub(crate) fn plain_line(text: &str) -> String {
    plain(text).replace('\n', " ")
}

/// Skips what belongs to an escape: a control sequence, a string for the
/// terminal, or one character, perhaps with others before it that say what it
/// means.
fn skip_sequence(chars: &mut Peekable<Chars<'_>>) {
    match chars.next_if(|c| *c != '\n') {
        Some('[') => skip_control(chars),
        Some(']' | 'P' | 'X' | '^' | '_') => skip_string(chars),
        Some(' '..='/') => {
            while chars.next_if(|c| (' '..='/').contains(c)).is_some() {}
            let _ = chars.next_if(|c| ('0'..='~').contains(c));
        }
        Some(_) | None => {}
    }
}

/// Skips parameters and a final character.
fn skip_control(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| (' '..='?').contains(c)).is_some() {}
    let _ = chars.next_if(|c| ('@'..='~').contains(c));
}

/// Skips everything up to a bell, the end of a string, the next escape or the
/// end of the line.
fn skip_string(chars: &mut Peekable<Chars<'_>>) {
    let is_inside = |c: &char| !matches!(c, '\x07' | '\u{9c}' | '\x1b' | '\n');
    while chars.next_if(is_inside).is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_is_left() {
        let check = |text: &str, expected: &str| assert_eq!(plain(text), expected);
        check("plain\ntext", "plain\ntext");
        check(
            "\x1b[31;1merror:\x1b[0m '\x1b[35;1mx\x1b[0m'  \nb ",
            "error: 'x'\nb",
        );
        check("a\x1b]0;title\x07b\r\n\tc\x08", "ab\n c");
        check("a\x1bP1;2q data\x1b\\b\x1b_more\u{9c}c", "abc");
        check("a\u{9b}31mb\u{9d}0;title\x07c", "abc");
        check("a\x1b(B\x1b)0b\x1b7c", "abc");
        check("left \u{202e}right\u{202c}", "left right");
        check("a\x1b[\nb\x1b]0;\nc\x1b\nd", "a\nb\nc\nd");
        check("ends in \x1b[3", "ends in");
        check("ends in \x1b", "ends in");
        assert_eq!(plain_line("a\r\nb\n"), "a b");
    }
}
