//! Figures: medians, their spread, and the table of both.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use super::{Place, Workload, ways::Way};

/// What was measured several times.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures(Vec<Duration>);

impl Figures {
    /// The one in the middle, or the mean of the two there.
    fn median(&self) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        let middle = sorted.len() / 2;
        match (sorted.len() % 2, sorted.get(middle)) {
            (_, None) => Duration::ZERO,
            (1, Some(one)) => *one,
            (_, Some(upper)) => (sorted[middle - 1] + *upper) / 2,
        }
    }

    /// As it stands in a cell: the median, and the least and the most.
    fn shown(&self) -> String {
        let seconds = |duration: Option<&Duration>| duration.map_or(0.0, Duration::as_secs_f64);
        format!(
            "{:.2} s ({:.2}–{:.2})",
            self.median().as_secs_f64(),
            seconds(self.0.iter().min()),
            seconds(self.0.iter().max())
        )
    }
}

/// One workload over one link, by every way.
#[derive(Clone, Debug)]
pub(super) struct Row {
    workload: Workload,
    place: Place,
    figures: BTreeMap<Way, Figures>,
}

impl Row {
    /// A row with nothing measured yet.
    pub(super) fn new(workload: Workload, place: Place) -> Self {
        Self {
            workload,
            place,
            figures: BTreeMap::new(),
        }
    }

    /// Adds one measurement.
    pub(super) fn add(&mut self, way: Way, taken: Duration) {
        self.figures.entry(way).or_default().0.push(taken);
    }

    /// How many times as long as `other` `way` takes.
    fn ratio(&self, way: Way, other: Way) -> Option<f64> {
        let other = self.figures.get(&other)?.median().as_secs_f64();
        Some(self.figures.get(&way)?.median().as_secs_f64() / other)
    }
}

/// What is set against what in the last columns.
const COMPARED: [(Way, Way); 3] = [
    (Way::Stock, Way::Musher),
    (Way::StockMaster, Way::Musher),
    (Way::Alone, Way::Local),
];

/// The rows as a Markdown table: each way's figures, and how many times as long
/// one takes as another.
pub(super) fn table(rows: &[Row]) -> String {
    let ways: Vec<Way> = Way::ALL
        .into_iter()
        .filter(|way| rows.iter().any(|row| row.figures.contains_key(way)))
        .collect();
    let mut text = String::from("| workload | link |");
    for way in &ways {
        let _ = write!(text, " {} |", way.title());
    }
    let compared: Vec<(Way, Way)> = COMPARED
        .into_iter()
        .filter(|(way, other)| ways.contains(way) && ways.contains(other))
        .collect();
    for (way, other) in &compared {
        let _ = write!(text, " {} ÷ {} |", way.title(), other.title());
    }
    text.push_str("\n|");
    text.push_str(&"---|".repeat(2 + ways.len() + compared.len()));
    for row in rows {
        let _ = write!(
            text,
            "\n| {} | {} |",
            row.workload.title(),
            row.place.title()
        );
        for way in &ways {
            let shown = row.figures.get(way).map(Figures::shown).unwrap_or_default();
            let _ = write!(text, " {shown} |");
        }
        for &(way, other) in &compared {
            let ratio = row
                .ratio(way, other)
                .map(|ratio| format!("{ratio:.2}×"))
                .unwrap_or_default();
            let _ = write!(text, " {ratio} |");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(millis: &[u64]) -> Figures {
        Figures(millis.iter().copied().map(Duration::from_millis).collect())
    }

    #[test]
    fn a_median_does_not_mind_the_order() {
        assert_eq!(figures(&[3000, 1000, 2000]).shown(), "2.00 s (1.00–3.00)");
        assert_eq!(
            figures(&[4000, 1000, 2000, 3000]).shown(),
            "2.50 s (1.00–4.00)"
        );
    }

    #[test]
    fn ratios_are_of_medians_and_only_beside_musher() {
        let mut row = Row::new(Workload::Many, Place::Far);
        row.add(Way::Stock, Duration::from_secs(12));
        assert!(!table(&[row.clone()]).contains('÷'));
        row.add(Way::Musher, Duration::from_secs(2));
        assert!(table(&[row]).ends_with("| 12.00 s (12.00–12.00) | 2.00 s (2.00–2.00) | 6.00× |"));
    }
}
