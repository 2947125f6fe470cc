//! Geometry of the anytime-valid band over time: an area between lower and upper end, the ratio as a line, on a logarithmic axis. Each step
//! to the right is as many first successes as any other.
//!
//! Cast: [`BandChart`], made by [`band_chart`].
//!
//! Areas and lines stretch with the column (a square of 100 × 100 without a fixed aspect), words do not: they are placed in per cent.

use jiff::Timestamp;

use super::chart::Tick;
use super::format::lift;
use crate::report::page::BandPoint;
use crate::report::wording::moment;

/// Ratios that may be marked, the most telling first.
const MARKS: [f64; 11] = [1.0, 2.0, 0.5, 4.0, 0.25, 1.5, 1.2, 0.8, 1.1, 0.9, 8.0];
/// Marks closer than this share of the height would cover each other.
const MARKS_APART: f64 = 0.15;
/// Its words stand above a mark: nearer to the top than so many hundredths of the height they would be cut off.
const ROOM_FOR_WORDS: f64 = 9.0;
/// The axis reaches at least a fifth up and down and at most a factor of eight, where early bands are endless.
const NARROWEST: f64 = 1.25;
const WIDEST: f64 = 8.0;

/// A band over time.
#[derive(Debug, Clone)]
pub struct BandChart {
    /// The area as points of a polygon in the square of 100 × 100.
    pub area: String,
    /// The ratio as points of a line in the same square.
    pub line: String,
    /// Marks of the axis: position from the top, relative change.
    pub marks: Vec<Tick>,
    /// Where the line of no difference stands.
    pub zero: String,
    /// The first moment.
    pub from: String,
    /// The last moment; empty where it reads as the first: moments are cut to the hour in time.
    pub to: String,
}

/// Places a band; none without two points.
pub fn band_chart(points: &[BandPoint]) -> Option<BandChart> {
    let (first, last) = (points.first()?, points.last()?);
    if points.len() < 2 {
        return None;
    }
    let reach = reach(last);
    let height = |ratio: f64| ((reach - ratio.ln()) / (2.0 * reach)).clamp(0.0, 1.0) * 100.0;
    // Most people open at once and a few after days: on an axis of hours everything would happen at the left edge.
    let across = |index: usize| index as f64 * 100.0 / (points.len() - 1) as f64;
    let corner = |x: f64, y: f64| format!("{x:.2},{y:.2}");
    let upper = points.iter().enumerate().map(|(index, point)| corner(across(index), point.upper.map_or(0.0, height)));
    let lower = points.iter().enumerate().rev().map(|(index, point)| corner(across(index), height(point.lower)));
    let line = points.iter().enumerate().filter_map(|(index, point)| Some(corner(across(index), height(point.ratio?))));
    let mut placed: Vec<f64> = Vec::new();
    for ratio in MARKS {
        let apart = placed.iter().all(|other| (height(ratio) - height(*other)).abs() >= MARKS_APART * 100.0);
        if ratio.ln().abs() <= reach && height(ratio) >= ROOM_FOR_WORDS && apart {
            placed.push(ratio);
        }
    }
    Some(BandChart {
        area: upper.chain(lower).collect::<Vec<_>>().join(" "),
        line: line.collect::<Vec<_>>().join(" "),
        marks: placed.iter().map(|ratio| Tick { x: format!("{:.2}%", height(*ratio)), label: mark(*ratio) }).collect(),
        zero: format!("{:.2}%", height(1.0)),
        to: if when(last.at) == when(first.at) { String::new() } else { when(last.at) },
        from: when(first.at),
    })
}

/// How far the axis reaches up and down, as a logarithm: half as far again as the last band.
fn reach(last: &BandPoint) -> f64 {
    let upper = last.upper.map_or(WIDEST, |upper| upper.max(1.0)).ln();
    let lower = if last.lower > 0.0 { -last.lower.min(1.0).ln() } else { WIDEST.ln() };
    (1.5 * upper.max(lower)).clamp(NARROWEST.ln(), WIDEST.ln())
}

fn mark(ratio: f64) -> String {
    lift(ratio).replace(".0 %", " %")
}

fn when(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map_or_else(|_| String::new(), moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(at: i64, lower: f64, upper: Option<f64>) -> BandPoint {
        BandPoint { at, ratio: (at > 0).then_some(1.2), lower, upper, p_value: 0.5, varies: false }
    }

    #[test]
    fn a_band_narrows_towards_its_end_and_an_endless_one_is_drawn_to_the_edge() {
        let chart = band_chart(&[point(0, 0.0, None), point(500, 0.5, Some(3.0)), point(1000, 0.9, Some(1.6))]).unwrap();
        let corners: Vec<&str> = chart.area.split(' ').collect();
        assert_eq!((corners.first(), corners.last(), corners.len()), (Some(&"0.00,0.00"), Some(&"0.00,100.00"), 6));
        assert_eq!(chart.zero, "50.00%");
        assert_eq!(chart.line.split(' ').count(), 2, "before the control has a success there is no ratio");
        assert_eq!(chart.marks.first().map(|mark| mark.label.as_str()), Some("0 %"));
        assert!(chart.marks.iter().any(|mark| mark.label == "+50 %"), "{:?}", chart.marks);
    }

    #[test]
    fn a_mark_stands_only_where_there_is_room_for_its_words() {
        let chart = band_chart(&[point(0, 0.0, None), point(1000, 0.9, Some(1.33))]).unwrap();
        assert!(chart.marks.iter().all(|mark| mark.x.trim_end_matches('%').parse::<f64>().unwrap() >= ROOM_FOR_WORDS), "{:?}", chart.marks);
        assert!(chart.marks.iter().any(|mark| mark.label == "+20 %"), "{:?}", chart.marks);
    }

    #[test]
    fn points_stand_equally_far_apart_and_one_point_is_no_band() {
        let chart = band_chart(&[point(7, 0.5, Some(3.0)), point(7, 0.5, Some(3.0))]).unwrap();
        assert!(chart.area.starts_with("0.00,") && chart.area.contains(" 100.00,"), "{}", chart.area);
        assert_eq!((chart.from.as_str(), chart.to.as_str()), ("1970-01-01 00:00 UTC", ""));
        assert!(band_chart(&[point(7, 0.5, None)]).is_none());
    }
}
