//! Geometry of the inline SVG charts: positions as per cent of the width, so that a chart stretches with its column and its text does not.
//!
//! Cast: [`IntervalChart`] (estimates with their intervals over a shared axis), [`Segment`] (part of a stacked bar).
//! It never draws: templates place the numbers into presentation attributes, because the content security policy forbids inline styles.

/// Share of the width kept free on either side, so that dots and labels at the ends are not cut.
const MARGIN: f64 = 4.0;

/// One mark of the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Position, for example `12.50%`.
    pub x: String,
    /// Its label.
    pub label: String,
}

/// One estimate with its interval.
#[derive(Debug, Clone)]
pub struct IntervalRow {
    /// Letter of the arm, or empty.
    pub letter: String,
    /// Number of the arm's colour, 0 is the control.
    pub colour: usize,
    /// What is estimated.
    pub label: String,
    /// The numbers in words; also what a screen reader hears.
    pub text: String,
    /// Positions, or `None` when not estimable.
    pub marks: Option<Marks>,
}

/// Where an estimate and its interval stand.
#[derive(Debug, Clone, PartialEq)]
pub struct Marks {
    /// Lower end of the interval.
    pub low: String,
    /// The estimate.
    pub point: String,
    /// Upper end.
    pub high: String,
}

/// Estimates with their intervals over a shared axis.
#[derive(Debug, Clone)]
pub struct IntervalChart {
    /// What the axis measures.
    pub axis: String,
    /// Marks of the axis.
    pub ticks: Vec<Tick>,
    /// Position of the line of no difference, if it is shown.
    pub zero: Option<String>,
    /// The rows, control first.
    pub rows: Vec<IntervalRow>,
}

/// A row before it is placed: letter, colour, label, words, and `(low, point, high)` in the axis' unit if estimable.
#[derive(Debug, Clone)]
pub struct Unplaced {
    /// Letter of the arm, or empty.
    pub letter: String,
    /// Number of the arm's colour.
    pub colour: usize,
    /// What is estimated.
    pub label: String,
    /// The numbers in words.
    pub text: String,
    /// `(low, point, high)`; ends that are not finite are drawn to the edge.
    pub values: Option<(f64, f64, f64)>,
}

/// Places rows over a shared axis. With `zero` the axis contains 0 and shows it as a line.
pub fn interval_chart(axis: &str, unplaced: Vec<Unplaced>, zero: bool, tick_label: fn(f64) -> String) -> IntervalChart {
    let mut values: Vec<f64> = unplaced.iter().filter_map(|row| row.values).flat_map(|(low, point, high)| [low, point, high]).collect();
    values.retain(|value| value.is_finite());
    if zero || values.is_empty() {
        values.push(0.0);
    }
    let smallest = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let step = nice_step((largest - smallest) / 4.0);
    let (start, end) = ((smallest / step).floor() * step, (largest / step).ceil() * step);
    let end = if end > start { end } else { start + step };
    let place = |value: f64| position(value, start, end);
    let ticks = (0..=12)
        .map(|number| start + f64::from(number) * step)
        .take_while(|value| *value <= end + step / 2.0)
        .map(|value| Tick { x: place(value), label: tick_label(value) })
        .collect();
    let rows = unplaced
        .into_iter()
        .map(|row| IntervalRow {
            letter: row.letter,
            colour: row.colour,
            label: row.label,
            text: row.text,
            marks: row.values.map(|(low, point, high)| Marks { low: place(low), point: place(point), high: place(high) }),
        })
        .collect();
    IntervalChart { axis: axis.to_owned(), ticks, zero: zero.then(|| place(0.0)), rows }
}

/// The next of 1, 2, 5 × 10ⁿ at or above `raw`; a tiny step when there is no extent at all.
fn nice_step(raw: f64) -> f64 {
    if !raw.is_finite() || raw <= 0.0 {
        return 0.01;
    }
    let magnitude = 10f64.powf(raw.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * magnitude >= raw * 0.999_999).unwrap_or(10.0);
    factor * magnitude
}

fn position(value: f64, start: f64, end: f64) -> String {
    let share = ((value - start) / (end - start)).clamp(0.0, 1.0);
    format!("{:.2}%", MARGIN + share * (100.0 - 2.0 * MARGIN))
}

/// Part of a stacked bar.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Suffix of the style class.
    pub class: &'static str,
    /// What it counts.
    pub label: String,
    /// The count in words.
    pub value: String,
    /// Left edge, for example `12.50%`.
    pub x: String,
    /// Width.
    pub width: String,
}

/// Lays `(class, label, count)` side by side over the full width. All widths are zero when nothing was counted.
pub fn stacked_bar(parts: &[(&'static str, &str, u64)]) -> Vec<Segment> {
    let whole = parts.iter().map(|(_, _, number)| *number as f64).sum::<f64>().max(1.0);
    let mut before = 0.0;
    parts
        .iter()
        .map(|(class, label, number)| {
            let width = *number as f64 * 100.0 / whole;
            let segment = Segment {
                class,
                label: (*label).to_owned(),
                value: super::format::count(*number),
                x: format!("{before:.3}%"),
                width: format!("{width:.3}%"),
            };
            before += width;
            segment
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: Option<(f64, f64, f64)>) -> Unplaced {
        Unplaced { letter: "A".into(), colour: 0, label: "A".into(), text: String::new(), values }
    }

    #[test]
    fn a_chart_of_differences_contains_zero_and_keeps_order() {
        let chart = interval_chart("points", vec![row(Some((0.002, 0.006, 0.010)))], true, |value| format!("{value:.3}"));
        assert_eq!(chart.zero.as_deref(), Some("4.00%"));
        assert_eq!(chart.ticks.first().map(|tick| tick.label.as_str()), Some("0.000"));
        let Some(Some(marks)) = chart.rows.first().map(|row| row.marks.clone()) else { panic!("the row is estimable") };
        assert!(marks.low < marks.point && marks.point < marks.high, "{marks:?}");
    }

    #[test]
    fn nothing_estimable_still_makes_an_axis() {
        let chart = interval_chart("rate", vec![row(None), row(Some((f64::NAN, 0.0, f64::INFINITY)))], false, |value| format!("{value}"));
        assert!(chart.ticks.len() >= 2);
        assert!(chart.rows.first().is_some_and(|row| row.marks.is_none()));
    }

    #[test]
    fn segments_fill_the_bar_and_an_empty_bar_stays_empty() {
        let bar = stacked_bar(&[("sent", "sent", 3), ("waiting", "waiting", 1)]);
        assert_eq!(bar.iter().map(|segment| segment.width.as_str()).collect::<Vec<_>>(), ["75.000%", "25.000%"]);
        assert_eq!(bar.get(1).map(|segment| segment.x.as_str()), Some("75.000%"));
        assert!(stacked_bar(&[("sent", "sent", 0)]).iter().all(|segment| segment.width == "0.000%"));
    }

    #[test]
    fn steps_are_one_two_or_five_times_a_power_of_ten() {
        for (raw, step) in [(0.0011, 0.002), (0.3, 0.5), (1.0, 1.0), (6.0, 10.0), (0.0, 0.01), (f64::NAN, 0.01)] {
            assert!((nice_step(raw) - step).abs() < 1e-12, "{raw} → {}", nice_step(raw));
        }
    }
}
