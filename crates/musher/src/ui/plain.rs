//! Text of other programs as it may be shown: Nix colours its messages even for
//! those who do not ask, and nobody's words shall drive the user's terminal.

/// `text` without colours and other control sequences. Lines stay, tabs become
/// blanks, and blanks at the end of lines go.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => skip_sequence(&mut chars),
            '\t' => shown.push(' '),
            '\n' => {
                shown.truncate(shown.trim_end_matches(' ').len());
                shown.push('\n');
            }
            c if c.is_control() => {}
            c => shown.push(c),
        }
    }
    shown.truncate(shown.trim_end().len());
    shown
}

/// Skips what follows an escape: `[`, parameters and a final character, or
/// `]` and everything up to a bell or the next escape, or one character.
fn skip_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            let is_final = |c: &char| ('@'..='~').contains(c);
            chars.find(is_final);
        }
        Some(']') => while chars.next_if(|c| !matches!(c, '\x07' | '\x1b')).is_some() {},
        Some(_) | None => {}
    }
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
        check("ends in \x1b[3", "ends in");
        check("ends in \x1b", "ends in");
    }
}
