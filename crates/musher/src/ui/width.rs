//! How wide text is on a terminal: lines that are to be replaced must not wrap.

use unicode_width::UnicodeWidthChar as _;

/// Selects the picture of the character before it, which is two columns wide.
const PICTURE: char = '\u{fe0f}';

/// The columns that `text` takes at most; terminals differ in what they join.
pub(super) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

/// As much of `text` as fits into `room` columns; if that is not all, it ends in
/// `…`.
pub(super) fn cut(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let kept = text.chars().take_while(|c| {
        let fits = columns(*c) <= left;
        left = left.saturating_sub(columns(*c));
        fits
    });
    let mut kept: String = kept.collect();
    if room > 0 {
        kept.push('…');
    }
    kept
}

/// `text` with blanks behind it, `room` columns wide, or cut to them.
pub(super) fn fit(text: &str, room: usize) -> String {
    let text = cut(text, room);
    let blanks = " ".repeat(room.saturating_sub(width(&text)));
    text + &blanks
}

fn columns(c: char) -> usize {
    match c {
        PICTURE => 1,
        c => c.width().unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_fits() {
        let check = |text: &str, room, expected: &str| {
            assert_eq!(cut(text, room), expected);
            assert!(width(expected) <= room);
        };
        check("äbc", 3, "äbc");
        check("äbcd", 3, "äb…");
        check("日本語", 6, "日本語");
        check("日本語", 5, "日本…");
        check("日本語", 4, "日…");
        check("e\u{301}fg", 2, "e\u{301}…");
        check("abc", 1, "…");
        check("abc", 0, "");
    }

    #[test]
    fn what_is_padded_fits_exactly() {
        assert_eq!(fit("日", 4), "日  ");
        assert_eq!(fit("日本語", 4), "日… ");
        assert_eq!(width("✈\u{fe0f}"), 2);
    }
}
