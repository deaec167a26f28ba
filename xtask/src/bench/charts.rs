//! The report's plots. Each is empty if the run has nothing for it.

use super::results::{ISAS, Run};
use super::svg::{Anchor, Svg};
use super::table::{OF_KINDS, digits, is_main, kind_time, kinds as kinds_of, ratio, time};

const WIDTH: f64 = 1100.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = WIDTH - 130.0;
const BAR: f64 = 22.0;
const ROW: f64 = 32.0;

/// The stages of a batch in order: with fresh randomness, and what is left of it with encryptions of
/// zero made ahead.
const FRESH: [&str; 6] = ["encode", "encrypt", "blind", "templates", "fold", "decide"];
const POOLED: [&str; 5] = ["encode", "add", "templates", "fold", "decide"];

/// Where a batch's time goes: a bar an instruction set, in microseconds or in shares of its sum.
pub fn stages(run: &Run, shares: bool) -> String {
    let bar = |isa: &'static str, names: &[&'static str], note: &str| {
        let time = |name: &&'static str| Some((*name, run.median(&format!("stage/{name}"), isa)?));
        let stages: Vec<_> = names.iter().filter_map(time).collect();
        let sum = stages.iter().map(|(_, ns)| ns).sum::<f64>();
        (stages.len() == names.len()).then(|| (format!("{isa}{note}"), sum, stages))
    };
    let kinds: [(&[_], _); 2] = [(&FRESH, ""), (&POOLED, ", pooled")];
    let bars = kinds.iter().flat_map(|(names, note)| ISAS.map(|isa| bar(isa, names, note)));
    let bars: Vec<_> = bars.flatten().collect();
    if bars.is_empty() {
        return String::new();
    }
    let longest = bars.iter().map(|(_, sum, _)| *sum).fold(0.0, f64::max);
    let mut legend: Vec<&str> = Vec::new();
    for (name, _) in bars.iter().flat_map(|(_, _, stages)| stages) {
        if !legend.contains(name) {
            legend.push(name);
        }
    }

    let mut svg = Svg::new(WIDTH, 40.0 + ROW * bars.len() as f64);
    for (at, name) in legend.iter().enumerate() {
        let x = LEFT + 110.0 * at as f64;
        svg.rect((x, 8.0), (12.0, 12.0), &class(at), name);
        svg.text((x + 17.0, 14.0), Anchor::Start, "small", name);
    }
    for (row, (label, sum, stages)) in bars.iter().enumerate() {
        let y = 36.0 + ROW * row as f64;
        let scale = (RIGHT - LEFT) / if shares { *sum } else { longest };
        let mut x = LEFT;
        for (name, ns) in stages {
            let at = legend.iter().position(|known| known == name).unwrap_or(0);
            let percent = format!("{:.0} %", ns / sum * 100.0);
            let hint = format!("{label}, {name}: {} ({percent})", time(*ns));
            svg.rect((x, y), (ns * scale, BAR), &class(at), &hint);
            let inside = if shares { percent } else { time(*ns) };
            if ns * scale > 8.0 * inside.len() as f64 {
                svg.text((x + ns * scale / 2.0, y + BAR / 2.0), Anchor::Middle, "on", inside);
            }
            x += ns * scale;
        }
        svg.text((LEFT - 10.0, y + BAR / 2.0), Anchor::End, "", label);
        svg.text((x + 8.0, y + BAR / 2.0), Anchor::Start, "strong", time(*sum));
    }
    svg.finish("Time of a batch by stage, for each instruction set")
}

/// 1, 2 and 5 of every power of ten between two values.
fn ticks(low: f64, high: f64) -> impl Iterator<Item = f64> {
    let all = (-3..10).flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * 10f64.powi(power)));
    all.filter(move |tick| (low..=high).contains(tick))
}

fn class(at: usize) -> String {
    format!("c{}", at % 8)
}

fn colour(isa: &str) -> String {
    class(ISAS.iter().position(|known| *known == isa).unwrap_or(0))
}

/// The peer's time over ours on a logarithmic axis; to the left of 1 the peer is faster.
pub fn ratios(run: &Run) -> String {
    let names = run.names();
    let rows: Vec<_> = names
        .iter()
        .filter(|name| is_main(name))
        .map(|name| run.rows_of(name).into_iter().filter(|row| row.peer.is_some()).collect())
        .filter(|rows: &Vec<_>| !rows.is_empty())
        .collect();
    let all = || rows.iter().flatten().filter_map(|row| row.ratio);
    let Some(most) = all().max_by(f64::total_cmp) else { return String::new() };
    let (low, high) = (all().fold(1.0, f64::min) / 1.1, most.max(1.0) * 1.1);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * (value / low).ln() / (high / low).ln();

    let lines: usize = rows.iter().map(|rows| rows.len()).sum();
    let height = 30.0 + 18.0 * lines as f64 + 30.0 * rows.len() as f64;
    let mut svg = Svg::new(WIDTH, height);
    for tick in ticks(low, high) {
        let class = if tick == 1.0 { "axis" } else { "grid" };
        svg.line(&[(x(tick), 20.0), (x(tick), height - 6.0)], class);
        svg.text((x(tick), 10.0), Anchor::Middle, "small", format!("{tick}x"));
    }
    let mut y = 26.0;
    for rows in rows {
        svg.text((4.0, y + 9.0), Anchor::Start, "strong", rows[0].name);
        y += 20.0;
        for row in rows {
            let (Some(peer), Some(peer_ns), Some(times)) = (row.peer, row.peer_ns, row.ratio)
            else {
                continue;
            };
            let hint = format!(
                "{}, {}: {}; {peer}: {}",
                row.name,
                row.isa,
                time(row.median_ns),
                time(peer_ns)
            );
            let (from, to) = (x(times.min(1.0)), x(times.max(1.0)));
            svg.rect((from, y + 1.0), (to - from, 14.0), &colour(row.isa), &hint);
            svg.text((16.0, y + 8.0), Anchor::Start, "small", format!("{} / {peer}", row.isa));
            svg.text((to + 6.0, y + 8.0), Anchor::Start, "small", ratio(times));
            y += 18.0;
        }
        y += 10.0;
    }
    svg.finish("Time of the peers divided by ours")
}

/// A key of each kind: made, ready, used; a bar each on a logarithmic axis.
pub fn kinds(run: &Run) -> String {
    let kinds = kinds_of(run);
    let bars = |kind| {
        let bar =
            move |&(what, name): &(&str, &'static str)| Some((name, kind_time(run, what, kind)?));
        OF_KINDS.iter().take(3).filter_map(bar).collect::<Vec<_>>()
    };
    let rows: Vec<_> = kinds.iter().map(|kind| (*kind, bars(kind))).collect();
    let all = || rows.iter().flat_map(|(_, bars)| bars).map(|(_, ns)| *ns);
    let Some(most) = all().max_by(f64::total_cmp) else { return String::new() };
    let (low, high) = (all().fold(most, f64::min) / 2.0, most * 1.3);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * (value / low).ln() / (high / low).ln();

    let lines: usize = rows.iter().map(|(_, bars)| bars.len()).sum();
    let height = 30.0 + 18.0 * lines as f64 + 10.0 * rows.len() as f64;
    let mut svg = Svg::new(WIDTH, height);
    for tick in ticks(low, high).filter(|tick| tick.log10().fract() == 0.0) {
        svg.line(&[(x(tick), 20.0), (x(tick), height - 6.0)], "grid");
        svg.text((x(tick), 10.0), Anchor::Middle, "small", time(tick));
    }
    let mut y = 26.0;
    for (kind, bars) in rows {
        svg.text((4.0, y + 9.0), Anchor::Start, "strong", kind);
        for (at, (name, ns)) in bars.into_iter().enumerate() {
            let hint = format!("{kind}, {name}: {}", time(ns));
            svg.rect((LEFT, y + 1.0), (x(ns) - LEFT, 14.0), &class(at), &hint);
            svg.text((LEFT - 10.0, y + 8.0), Anchor::End, "small", name);
            svg.text((x(ns) + 6.0, y + 8.0), Anchor::Start, "small", time(ns));
            y += 18.0;
        }
        y += 10.0;
    }
    svg.finish("Time of a key of each kind: made, ready, used once")
}

/// A line of a plot.
struct Series {
    name: String,
    class: String,
    points: Vec<(f64, f64)>,
}

/// A line a series over powers of two, both axes logarithmic.
struct Lines<'a> {
    series: Vec<Series>,
    across: &'a str,
    description: &'a str,
    label: fn(f64) -> String,
}

impl Lines<'_> {
    fn draw(self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        if points().next().is_none() {
            return String::new();
        }
        let (height, top, bottom) = (340.0, 16.0, 290.0);
        let least = points().map(|p| p.1).fold(f64::MAX, f64::min) / 1.3;
        let most = points().map(|p| p.1).fold(0.0, f64::max) * 1.3;
        let first = points().map(|p| p.0).fold(f64::MAX, f64::min).log2();
        let last = points().map(|p| p.0).fold(0.0, f64::max).log2();
        let left = 90.0;
        let x = |v: f64| left + (RIGHT - left) * (v.log2() - first) / (last - first).max(1.0);
        let y = |v: f64| bottom - (bottom - top) * (v / least).ln() / (most / least).ln();

        let mut svg = Svg::new(WIDTH, height);
        for tick in ticks(least, most) {
            svg.line(&[(left, y(tick)), (RIGHT, y(tick))], "grid");
            svg.text((left - 8.0, y(tick)), Anchor::End, "small", (self.label)(tick));
        }
        let mut ticks: Vec<_> = points().map(|p| p.0).collect();
        ticks.sort_by(f64::total_cmp);
        ticks.dedup();
        for tick in ticks {
            svg.text((x(tick), bottom + 14.0), Anchor::Middle, "small", tick);
        }
        svg.line(&[(left, bottom), (RIGHT, bottom)], "axis");
        svg.text(((left + RIGHT) / 2.0, height - 14.0), Anchor::Middle, "small", self.across);
        // Labels at the ends of lines, from the top, each below the last.
        let end = |series: &Series| series.points.last().map_or(0.0, |&(_, value)| value);
        let mut series: Vec<_> = self.series.iter().collect();
        series.sort_by(|a, b| end(b).total_cmp(&end(a)));
        let mut free = 0.0f64;
        for Series { name, class, points } in series {
            let path: Vec<_> = points.iter().map(|&(a, b)| (x(a), y(b))).collect();
            svg.line(&path, &format!("line {class}"));
            for &(a, b) in points {
                svg.dot((x(a), y(b)), class, &format!("{name}, {a}: {}", (self.label)(b)));
            }
            if let (Some(&at), Some(&(_, value))) = (path.last(), points.last()) {
                let label = format!("{name} {}", (self.label)(value));
                let level = at.1.max(free);
                svg.text((at.0 + 10.0, level), Anchor::Start, "small", label);
                free = level + 15.0;
            }
        }
        svg.finish(self.description)
    }
}

/// Points of the names `start/NUMBER`.
fn numbered(run: &Run, start: &str, isa: &str, value: impl Fn(f64, f64) -> f64) -> Vec<(f64, f64)> {
    let point = |name: &str| {
        let number: f64 = name.strip_prefix(start)?.parse().ok()?;
        Some((number, value(number, run.median(name, isa)?)))
    };
    run.names().into_iter().filter_map(point).collect()
}

/// What one person costs in batches that are not full.
pub fn fill(run: &Run) -> String {
    let series = |isa: &str| Series {
        name: isa.to_owned(),
        class: colour(isa),
        points: numbered(run, "fill/", isa, |people, ns| ns / people),
    };
    Lines {
        series: ISAS.into_iter().map(series).filter(|series| !series.points.is_empty()).collect(),
        across: "people in the batch",
        description: "Time per person against people in the batch",
        label: time,
    }
    .draw()
}

/// Batches a second over threads, beside as many times one thread.
pub fn scaling(run: &Run) -> String {
    let mut series = Vec::new();
    for isa in ISAS {
        let points = numbered(run, "scaling/", isa, |threads, ns| threads * 1e9 / ns);
        if let Some(&(_, one)) = points.iter().find(|(threads, _)| *threads == 1.0) {
            let ideal = points.iter().map(|&(threads, _)| (threads, threads * one)).collect();
            series.push(Series { name: "ideal".into(), class: "ideal".into(), points: ideal });
        }
        if !points.is_empty() {
            series.push(Series { name: isa.into(), class: colour(isa), points });
        }
    }
    Lines {
        series,
        across: "threads",
        description: "Batches a second against threads",
        label: |rate| format!("{} k/s", digits(rate / 1e3)),
    }
    .draw()
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::run;
    use super::*;

    #[test]
    fn nothing_measured_draws_nothing() {
        let run = run(&[("ntt/forward", "scalar", 1e3)]);
        for drawn in [stages(&run, true), ratios(&run), kinds(&run), fill(&run), scaling(&run)] {
            assert_eq!(drawn, "");
        }
    }

    #[test]
    fn a_bar_is_as_long_as_its_time() {
        let of = |name, ns| (name, "avx2", ns);
        let mut measures = vec![
            of("stage/encode", 1e4),
            of("stage/add", 2e4),
            of("stage/templates", 1e4),
            of("stage/fold", 5e3),
            of("stage/decide", 5e3),
        ];
        let width = |share: f64| format!("width=\"{:.1}\"", (RIGHT - LEFT) * share);
        let drawn = stages(&run(&measures), false);
        assert!(drawn.contains(&width(0.4)) && drawn.contains(">50.0 us<"), "{drawn}");
        assert!(drawn.contains("avx2, pooled, add: 20.0 us (40 %)"), "{drawn}");
        assert!(!drawn.contains("encrypt"), "{drawn}");

        measures.extend([of("stage/encrypt", 3e4), of("stage/blind", 4e4)]);
        let drawn = stages(&run(&measures), false);
        assert!(drawn.contains(&width(0.3)) && drawn.contains(">100 us<"), "{drawn}");
        let drawn = stages(&run(&measures), true);
        assert!(drawn.contains(&width(0.4)) && drawn.contains(">40 %<"), "{drawn}");
    }

    #[test]
    fn axes_are_marked_at_round_numbers() {
        assert_eq!(ticks(0.4, 11.0).collect::<Vec<_>>(), [0.5, 1.0, 2.0, 5.0, 10.0]);
    }

    #[test]
    fn a_ratio_shows_both_times() {
        let run = run(&[("bfv/encrypt", "avx2", 2e4), ("bfv/encrypt", "fhe <1>", 3e5)]);
        let drawn = ratios(&run);
        assert!(drawn.contains(">15.0x<"), "{drawn}");
        assert!(drawn.contains("avx2: 20.0 us; fhe &lt;1&gt;: 300 us"), "{drawn}");
    }

    #[test]
    fn a_kind_has_a_bar_for_each_of_its_times() {
        let drawn = kinds(&run(&[
            ("pool/direct/ml-kem-768", "any", 1e5),
            ("pool/pooled/ml-kem-768", "any", 1e2),
            ("pool/cold/ml-kem-768", "any", 1e4),
        ]));
        assert!(drawn.contains("ml-kem-768, direct: 100 us"), "{drawn}");
        assert!(drawn.contains("ml-kem-768, pooled: 100 ns"), "{drawn}");
        assert!(!drawn.contains("cold"), "{drawn}");
    }

    #[test]
    fn lines_take_the_number_from_the_name() {
        let run = run(&[
            ("fill/1", "scalar", 4e5),
            ("fill/32", "scalar", 6.4e5),
            ("scaling/1", "avx2", 1e5),
            ("scaling/2", "avx2", 1.25e5),
        ]);
        let drawn = fill(&run);
        assert!(drawn.contains("scalar, 32: 20.0 us"), "{drawn}");
        let drawn = scaling(&run);
        assert!(
            drawn.contains("avx2, 2: 16.0 k/s") && drawn.contains("ideal, 2: 20.0 k/s"),
            "{drawn}"
        );
    }
}
