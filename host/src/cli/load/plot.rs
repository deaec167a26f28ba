//! Latency against load, as SVG that stands alone, light and dark.

use std::fmt::Write;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 44.0;
const STYLE: &str = "svg{background:#fff;font:12px system-ui,sans-serif}text{fill:#333}\
.grid{stroke:#ddd}.s0{stroke:#1b6ca8;fill:#1b6ca8}.s1{stroke:#c75b12;fill:#c75b12}.s2{stroke:#2e7d32;fill:#2e7d32}\
polyline{fill:none!important;stroke-width:2}text.name{stroke:none}\
@media(prefers-color-scheme:dark){svg{background:#16181c}text{fill:#ccc}.grid{stroke:#333}\
.s0{stroke:#6db3e8;fill:#6db3e8}.s1{stroke:#f0a060;fill:#f0a060}.s2{stroke:#7fc784;fill:#7fc784}}";

/// A line a series: (answers a second, 99th percentile in microseconds), the latter on a logarithmic axis.
pub fn latency(series: &[(&'static str, Vec<(f64, f64)>)]) -> String {
    let points = || series.iter().flat_map(|(_, points)| points).filter(|(_, us)| *us > 0.0);
    let most = points().map(|(rate, _)| *rate).fold(1.0, f64::max);
    let decade = |us: f64| libm::log10(us);
    let least_us = points().map(|(_, us)| decade(*us).floor()).fold(9.0, f64::min);
    let most_us = points().map(|(_, us)| decade(*us).ceil()).fold(least_us + 1.0, f64::max);
    let x = |rate: f64| LEFT + rate / most * (WIDTH - LEFT - RIGHT);
    let y = |us: f64| {
        let part = (decade(us) - least_us) / (most_us - least_us);
        HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
    };
    let mut body = String::new();
    // Writing into a string does not fail.
    let mut add = |line: String| {
        let _ = writeln!(body, "{line}");
    };
    add(format!("<text x=\"{LEFT}\" y=\"20\">99th percentile of the time to an answer</text>"));
    for power in least_us as i32..=most_us as i32 {
        let us = libm::pow(10.0, f64::from(power));
        let (at, right) = (y(us), WIDTH - RIGHT);
        add(format!(
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
        ));
        let label = if us < 1000.0 { format!("{us} us") } else { format!("{} ms", us / 1000.0) };
        let (left, base) = (LEFT - 6.0, at + 4.0);
        add(format!("<text x=\"{left}\" y=\"{base:.1}\" text-anchor=\"end\">{label}</text>"));
    }
    for quarter in 0..=4 {
        let rate = most * f64::from(quarter) / 4.0;
        let (at, base) = (x(rate), HEIGHT - BOTTOM + 18.0);
        let label = format!("{:.0}k", rate / 1000.0);
        add(format!("<text x=\"{at:.1}\" y=\"{base}\" text-anchor=\"middle\">{label}</text>"));
    }
    let (middle, base) = (x(most / 2.0), HEIGHT - 8.0);
    add(format!(
        "<text x=\"{middle:.1}\" y=\"{base}\" text-anchor=\"middle\">answers a second</text>"
    ));
    for (index, (name, points)) in series.iter().enumerate() {
        let place = |(rate, us): &(f64, f64)| format!("{:.1},{:.1}", x(*rate), y(*us));
        let line: Vec<_> = points.iter().filter(|(_, us)| *us > 0.0).map(place).collect();
        add(format!("<polyline class=\"s{index}\" points=\"{}\"/>", line.join(" ")));
        let (left, base) = (WIDTH - RIGHT + 10.0, TOP + 20.0 * (index as f64 + 1.0));
        add(format!("<text class=\"name s{index}\" x=\"{left}\" y=\"{base}\">{name}</text>"));
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         aria-label=\"99th percentile of latency against load\"><style>{STYLE}</style>\n{body}</svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_a_line_a_series() {
        let points = vec![(1000.0, 400.0), (2000.0, 3000.0), (0.0, 0.0)];
        let svg = latency(&[("window", points.clone()), ("adaptive", points)]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert!(svg.contains("100 us") && svg.contains("10 ms") && svg.contains(">adaptive<"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        // Also of nothing.
        assert!(!latency(&[]).contains("NaN"));
    }
}
