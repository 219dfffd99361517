//! Durations and sizes as people write them: `1h30m`, `100M`.

use std::time::Duration;

pub(super) const DURATION: &str = "a duration like `1h`, `30m` or `90s`, or whole seconds";
pub(super) const SIZE: &str = "a size like `100M`, `2G` (powers of 1024), or bytes";

/// Reads `1d`, `1h30m`, `90s`: numbers each followed by a unit, added up.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text.is_empty() {
        return None;
    }
    let mut rest = text;
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest)?;
        let unit = after.chars().next()?;
        let scale = match unit {
            'd' => 86_400,
            'h' => 3_600,
            'm' => 60,
            's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(number.checked_mul(scale)?)?;
        rest = &after[unit.len_utf8()..];
    }
    Some(Duration::from_secs(seconds))
}

/// Reads `100M`: a number and one of `K`, `M`, `G`, `T`, as powers of 1024
/// like Nix's own sizes.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = leading_number(text)?;
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        let seconds = |text| duration(text).map(|d| d.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("2d"), Some(172_800));
        for bad in [
            "",
            "90",
            "1h30",
            "h",
            "1 h",
            "-1s",
            "1y",
            "1ß",
            "99999999999999999999s",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(seconds("999999999999999999d"), None, "overflow");
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(size("17"), Some(17));
        assert_eq!(size("100M"), Some(104_857_600));
        assert_eq!(size("1T"), Some(1 << 40));
        for bad in ["", "M", "1MB", "1.5G", "-1", "99999999999T"] {
            assert_eq!(size(bad), None, "{bad}");
        }
    }
}
