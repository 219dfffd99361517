//! Times, sizes and rates as people read them: three digits say enough.

use std::time::Duration;

/// `0.42 ms`, `12.3 ms`, `1.24 s`, `3 min 5 s`, `2 h 10 min`, `4 d 3 h`.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", digits(time.as_secs_f64() * 1e3)),
        1..60 => format!("{} s", digits(time.as_secs_f64())),
        seconds => age(seconds),
    }
}

/// How long ago something was: `0 s`, `59 s`, `3 min 5 s`, `2 h 10 min`.
pub(crate) fn age(seconds: u64) -> String {
    let two = |big, unit, small, small_unit| match small {
        0 => format!("{big} {unit}"),
        small => format!("{big} {unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// A time that nobody knows exactly: `about 3 min`, `about 20 s`, `some seconds`.
pub(crate) fn about(time: Duration) -> String {
    let rounded = |unit: u64| (time.as_secs() + unit / 2) / unit;
    match time.as_secs() {
        0..8 => "some seconds".to_owned(),
        8..55 => format!("about {} s", rounded(5) * 5),
        55..3570 => format!("about {} min", rounded(60)),
        3570..=86_400 => {
            let quarters = rounded(900);
            match (quarters / 4, quarters % 4) {
                (hours, 0) => format!("about {hours} h"),
                (hours, quarters) => format!("about {hours} h {} min", quarters * 15),
            }
        }
        _ => format!("about {} d", rounded(86_400).max(1)),
    }
}

/// `about 3 min left`, and whether anybody knows.
pub(crate) fn left(time: Duration, is_guess: bool) -> String {
    match is_guess {
        true => format!("{} left at a guess", about(time)),
        false => format!("{} left", about(time)),
    }
}

/// `512 B`, `4.00 MiB`, `17.3 GiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut rest = bytes;
    while rest >= 1024 * 1024 && unit + 1 < UNITS.len() {
        rest /= 1024;
        unit += 1;
    }
    format!("{} {}", digits(to_f64(rest) / 1024.0), UNITS[unit])
}

/// Bytes a second; none for a time too short to say.
pub(crate) fn per_second(bytes: u64, time: Duration) -> Option<u64> {
    let nanos = u64::try_from(time.as_nanos()).ok().filter(|n| *n > 0)?;
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(nanos);
    u64::try_from(rate).ok()
}

fn digits(number: f64) -> String {
    match number {
        n if n < 10.0 => format!("{n:.2}"),
        n if n < 100.0 => format!("{n:.1}"),
        n => format!("{n:.0}"),
    }
}

/// Exact for what [`size`] asks: its numbers are below 2^50.
fn to_f64(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        let check = |micros, text: &str| assert_eq!(duration(Duration::from_micros(micros)), text);
        check(0, "0.00 ms");
        check(420, "0.42 ms");
        check(12_340, "12.3 ms");
        check(999_000, "999 ms");
        check(1_240_000, "1.24 s");
        check(60_000_000, "1 min");
        check(185_900_000, "3 min 5 s");
        check(7_800_000_000, "2 h 10 min");
        check(356_400_000_000, "4 d 3 h");
    }

    #[test]
    fn what_is_expected_is_not_said_too_exactly() {
        let check = |seconds, text: &str| assert_eq!(about(Duration::from_secs(seconds)), text);
        check(0, "some seconds");
        check(9, "about 10 s");
        check(54, "about 55 s");
        check(55, "about 1 min");
        check(185, "about 3 min");
        check(3569, "about 59 min");
        check(3570, "about 1 h");
        check(6400, "about 1 h 45 min");
        check(86_400, "about 24 h");
        check(200_000, "about 2 d");
    }

    #[test]
    fn sizes_have_the_unit_that_fits() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1024), "1.00 KiB");
        assert_eq!(size(4 << 20), "4.00 MiB");
        assert_eq!(size(18_575_000_000), "17.3 GiB");
        assert_eq!(size(u64::MAX), "16384 PiB");
    }

    #[test]
    fn rates_need_time() {
        assert_eq!(per_second(100, Duration::from_millis(500)), Some(200));
        assert_eq!(per_second(100, Duration::ZERO), None);
    }
}
