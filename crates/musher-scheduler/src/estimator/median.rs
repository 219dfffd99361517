//! The middle of numbers of which some may be far off.

/// The median of `values`, each with a weight above zero; none of nothing.
///
/// It is one of the values: the smallest that at least half of the weight does
/// not exceed.
pub(super) fn weighted(mut values: Vec<(f64, f64)>) -> Option<f64> {
    values.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let half = values.iter().map(|(_, weight)| weight).sum::<f64>() / 2.0;
    let mut below = 0.0;
    for (value, weight) in &values {
        below += weight;
        if below >= half {
            return Some(*value);
        }
    }
    // Sums of the same weights in another order may differ in the last digit.
    values.last().map(|(value, _)| *value)
}

/// The median of `values`, between the two in the middle where these are two.
pub(super) fn plain(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::{plain, weighted};

    #[test]
    fn the_middle_is_where_half_of_the_weight_is() {
        assert_eq!(weighted(vec![]), None);
        assert_eq!(weighted(vec![(7.0, 0.1)]), Some(7.0));
        assert_eq!(
            weighted(vec![(9.0, 1.0), (1.0, 0.7), (2.0, 0.49)]),
            Some(2.0)
        );
        assert_eq!(weighted(vec![(9.0, 1.0), (1.0, 0.7)]), Some(9.0));
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert_eq!(plain(vec![]), None);
        assert_eq!(plain(vec![3.0, 1.0, 9.0]), Some(3.0));
        assert_eq!(plain(vec![4.0, 1.0, 9.0, 2.0]), Some(3.0));
    }
}
