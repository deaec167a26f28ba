//! Tables as text: for the terminal and for the README.

use super::bound;
use super::results::{ISAS, Others, Row, Run};

/// The head of the main table.
pub const HEAD: [&str; 10] = [
    "name",
    "isa",
    "ours",
    "±",
    "peer",
    "peer's time",
    "ratio",
    "bound",
    "% of bound",
    "elsewhere",
];

/// Its columns that hold numbers.
pub const NUMBERS: [usize; 6] = [2, 3, 5, 6, 7, 8];

/// A line of the main table, as text.
pub type Line = [String; HEAD.len()];

/// Whether a name belongs into the main table; kinds of keys, stages, fill, cores and what was rejected do
/// not.
pub fn is_main(name: &str) -> bool {
    let whole = ["ntt/", "bfv/", "batch/", "wire/", "pool/", "cache/", "identity/", "session/"];
    whole.iter().any(|start| name.starts_with(start)) && of_kind(name).is_none()
}

/// What is timed of each kind of key: the part of the name, and the head of the column.
pub const OF_KINDS: [(&str, &str); 5] = [
    ("direct", "direct"),
    ("pooled", "pooled"),
    ("first-use", "first use"),
    ("dry", "dry"),
    ("cold", "cold"),
];

/// What was timed, and the kind, of `pool/direct/ml-kem-768`.
fn of_kind(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("pool/")?.split_once('/')
}

/// Our time, whoever of us took it.
pub fn kind_time(run: &Run, what: &str, kind: &str) -> Option<f64> {
    run.ours(&format!("pool/{what}/{kind}")).first().map(|measure| measure.median_ns)
}

/// The kinds of keys that were made, slowest first.
pub fn kinds(run: &Run) -> Vec<&str> {
    let mut kinds: Vec<_> =
        run.names().into_iter().filter_map(|name| Some(of_kind(name)?.1)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let direct = |kind: &&str| kind_time(run, "direct", kind).unwrap_or(0.0);
    kinds.sort_by(|a, b| direct(b).total_cmp(&direct(a)));
    kinds
}

/// Keys made and keys ready, a line a kind. Head first.
pub fn of_kinds(run: &Run) -> Vec<Vec<String>> {
    let kinds = kinds(run);
    if kinds.is_empty() {
        return Vec::new();
    }
    let heads = OF_KINDS.iter().map(|(_, head)| (*head).to_owned());
    let mut lines = vec![std::iter::once("key".to_owned()).chain(heads).collect()];
    for kind in kinds {
        let times = OF_KINDS.iter().map(|(what, _)| kind_time(run, what, kind));
        let times = times.map(|ns| ns.map(time).unwrap_or_default());
        lines.push(std::iter::once(kind.to_owned()).chain(times).collect());
    }
    lines
}

/// The main table: a group of lines for each name.
pub fn main(run: &Run, others: &Others) -> Vec<Vec<Line>> {
    let names = run.names().into_iter().filter(|name| is_main(name));
    names.map(|name| group(run, others, name)).filter(|group| !group.is_empty()).collect()
}

/// One name's lines. Figures from elsewhere go down the last column, beside nothing in particular.
fn group(run: &Run, others: &Others, name: &str) -> Vec<Line> {
    let mut lines: Vec<_> = run.rows_of(name).iter().map(|row| line(row, run)).collect();
    if lines.is_empty() {
        return lines;
    }
    for (at, figure) in others.of(name).enumerate() {
        if at == lines.len() {
            lines.push(Line::default());
        }
        lines[at][HEAD.len() - 1] = format!("{}: {}", figure.who, figure.text);
    }
    lines
}

fn line(row: &Row<'_>, run: &Run) -> Line {
    let bound = bound::nanoseconds(row.name, row.isa, &run.machine.id, run.machine.clock_ghz);
    let spread =
        run.ours(row.name).iter().find(|ours| ours.by == row.isa).map(|ours| ours.spread());
    let percent = bound.map(|bound| format!("{:.0} %", bound / row.median_ns * 100.0));
    [
        row.name.to_owned(),
        row.isa.to_owned(),
        time(row.median_ns),
        spread.map(|spread| format!("{:.0} %", spread * 100.0)).unwrap_or_default(),
        row.peer.unwrap_or_default().to_owned(),
        row.peer_ns.map(time).unwrap_or_default(),
        row.ratio.map(ratio).unwrap_or_default(),
        bound.map(time).unwrap_or_default(),
        percent.unwrap_or_default(),
        String::new(),
    ]
}

/// What is not in the main table: a line a name, a column an instruction set. Head first.
pub fn rest(run: &Run) -> Vec<Vec<String>> {
    let names = run.names().into_iter();
    let names: Vec<_> = names.filter(|name| !is_main(name) && of_kind(name).is_none()).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let measured = |isa: &&str| names.iter().any(|name| run.median(name, isa).is_some());
    let isas: Vec<_> = ISAS.into_iter().filter(measured).collect();
    let head = std::iter::once("name").chain(isas.iter().copied()).map(str::to_owned).collect();
    let mut lines = vec![head];
    for name in names {
        let times = isas.iter().map(|isa| run.median(name, isa).map(time).unwrap_or_default());
        lines.push(std::iter::once(name.to_owned()).chain(times).collect());
    }
    lines
}

/// What caches answered of the traces, a line a cache. Head first.
pub fn rates(run: &Run) -> Vec<Vec<String>> {
    let (mut names, mut whose) = (Vec::new(), Vec::new());
    for rate in &run.rates {
        for (list, word) in [(&mut names, &rate.name), (&mut whose, &rate.by)] {
            if !list.contains(&word) {
                list.push(word);
            }
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    let head = std::iter::once("hits, %").chain(names.iter().map(|name| name.as_str()));
    let mut lines = vec![head.map(str::to_owned).collect::<Vec<_>>()];
    for by in whose {
        let found = |name: &&String| run.rates.iter().find(|r| r.by == *by && r.name == **name);
        let cell =
            |name| found(name).map(|rate| format!("{:.1}", rate.percent)).unwrap_or_default();
        lines.push(std::iter::once(by.clone()).chain(names.iter().map(cell)).collect());
    }
    lines
}

/// Everything, for a terminal.
pub fn terminal(run: &Run, others: &Others) -> String {
    let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
    for group in main(run, others) {
        lines.push(Vec::new());
        lines.extend(group.iter().map(|line| line.to_vec()));
    }
    let mut text = aligned(&lines, &NUMBERS);
    for table in [rates(run), of_kinds(run), rest(run)] {
        if !table.is_empty() {
            text += &format!("\n{}", aligned(&table, &[1, 2, 3, 4, 5]));
        }
    }
    text += &format!("\n{}, commit {}\n{}\n", run.date, run.machine.commit, run.machine.line());
    text + "±: half of the median's 95 % interval. ratio: peer's time / ours. bound: see xtask/src/bench/bound.rs. elsewhere: other \
            machines, see benches/data/others.json; no ratio.\n"
}

/// What the README shows.
const README: [&str; 24] = [
    "ntt/forward",
    "ntt/inverse",
    "ntt/pointwise",
    "bfv/encrypt",
    "bfv/decrypt",
    "bfv/decrypt-folded",
    "bfv/rotate",
    "bfv/rotate/Q81",
    "bfv/hoisted",
    "bfv/slot-sum",
    "bfv/multiply/Q81",
    "bfv/keyset",
    "batch/sealed-probe",
    "batch/sealed-probe-pooled",
    "attest/tree",
    "attest/batch-window64",
    "attest/batch-window512",
    "attest/verify",
    "pool/acquire",
    "pool/acquire-contended",
    "pool/acquire-sharded",
    "pool/supply",
    "pool/lifo",
    "pool/fifo",
];

/// The README's table, with where it comes from: of a peer in several forms, the fastest.
pub fn markdown(run: &Run, others: &Others) -> String {
    let head = ["work", "isa", "here", "peer here", "ratio", "bound", "elsewhere, Nov 2026"];
    let mut text = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for name in README {
        let mut figures = others.of(name).map(|figure| format!("{}: {}", figure.who, figure.text));
        let fastest =
            run.peers(name).into_iter().min_by(|a, b| a.median_ns.total_cmp(&b.median_ns));
        let fastest = fastest.map(|peer| peer.by.as_str());
        let rows = run.rows_of(name).into_iter().filter(|row| row.peer == fastest);
        for (at, row) in rows.enumerate() {
            let [_, isa, ours, _, peer, peer_time, ratio, bound, percent, _] = line(&row, run);
            let name = if at == 0 { format!("`{name}`") } else { String::new() };
            let peer = [peer_time, peer].join(" ");
            let bound = if bound.is_empty() { bound } else { format!("{bound} ({percent})") };
            let elsewhere = figures.next().unwrap_or_default();
            let cells = [&name, &isa, &ours, peer.trim(), &ratio, &bound, &elsewhere];
            text += &format!("| {} |\n", cells.join(" | "));
        }
        for figure in figures {
            text += &format!("| | | | | | | {figure} |\n");
        }
    }
    text + &format!(
        "\nMedians of `{}`, {}, commit {}: {}. Ratio: the peer's time by ours. Bound: what \
         multiplications and the issue of instructions allow (its share of our time). Elsewhere: {}.\n",
        run.command,
        run.date,
        run.machine.commit,
        run.machine.line(),
        places(others)
    )
}

/// Who measured the figures from elsewhere, each place once.
pub fn places(others: &Others) -> String {
    let mut places = Vec::new();
    for figure in &others.figures {
        let place = format!("{}, {}", figure.when, figure.place);
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places.join("; ")
}

/// Columns as wide as they need to be; those listed are aligned to the right.
fn aligned(lines: &[Vec<String>], right: &[usize]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for line in lines {
        let mut padded = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            padded += &if right.contains(&column) {
                format!("{cell:>width$}  ")
            } else {
                format!("{cell:width$}  ")
            };
        }
        text += padded.trim_end();
        text.push('\n');
    }
    text
}

/// Three digits and a unit.
pub fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ns if ns < 999.5 => (ns, "ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "us"),
        ns => (ns / 1e6, "ms"),
    };
    format!("{} {unit}", digits(value))
}

/// Three digits.
pub fn digits(value: f64) -> String {
    let places = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}

/// `15.2x`.
pub fn ratio(ratio: f64) -> String {
    format!("{}x", digits(ratio))
}

/// A word for a shell: in quotes if it has anything in it that a shell reads.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+%@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Lower-case words with hyphens, for a file's name.
pub fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::run;
    use super::super::results::{Figure, Others, Rate};
    use super::*;

    fn others() -> Others {
        let figure = |who: &str| Figure {
            name: "bfv/encrypt".into(),
            who: who.into(),
            text: "490 us".into(),
            when: "2026".into(),
            place: "Zen 4".into(),
        };
        Others { peers: Vec::new(), figures: vec![figure("SEAL"), figure("OpenFHE")] }
    }

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(time(0.5), "0.50 ns");
        assert_eq!(time(999.4), "999 ns");
        assert_eq!(time(999.6), "1.00 us");
        assert_eq!(time(9_994.0), "9.99 us");
        assert_eq!(time(9_996.0), "10.0 us");
        assert_eq!(time(99_960.0), "100 us");
        assert_eq!(time(1_751_000.0), "1.75 ms");
        assert_eq!(ratio(15.16), "15.2x");
    }

    #[test]
    fn columns_line_up() {
        let line = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = [line(["a", "b", "c"]), Vec::new(), line(["long", "1", "µs"])];
        assert_eq!(aligned(&lines, &[1]), "a     b  c\n\nlong  1  µs\n");
    }

    #[test]
    fn elsewhere_goes_down_its_column_and_gets_no_ratio() {
        let run = run(&[("bfv/encrypt", "scalar", 2e5), ("bfv/encrypt", "fhe", 4e5)]);
        let groups = main(&run, &others());
        assert_eq!(groups.len(), 1);
        let [first, second] = &groups[0][..] else { panic!("two lines") };
        let expected =
            ["bfv/encrypt", "scalar", "200 us", "10 %", "fhe", "400 us", "2.00x", "", ""];
        assert_eq!(first[..9], expected);
        assert_eq!(first[9], "SEAL: 490 us");
        assert_eq!(second[..9], [""; 9]);
        assert_eq!(second[9], "OpenFHE: 490 us");
    }

    #[test]
    fn the_bound_is_a_share_of_our_time() {
        let mut run = run(&[("ntt/forward", "avx512", 3_840.0)]);
        run.machine.id = "AuthenticAMD 25.17".into();
        run.machine.clock_ghz = 4.0;
        let line = &main(&run, &others())[0][0];
        assert_eq!((line[7].as_str(), line[8].as_str()), ("1.92 us", "50 %"));
    }

    #[test]
    fn kinds_have_a_table_of_their_own() {
        let run = run(&[
            ("pool/acquire", "any", 12.0),
            ("pool/direct/ml-kem-768", "any", 7e4),
            ("pool/pooled/ml-kem-768", "any", 60.0),
            ("pool/direct/bfv-set-q54", "avx2", 3e5),
        ]);
        assert_eq!(main(&run, &others()).len(), 1, "what hands out");
        assert!(rest(&run).is_empty());
        let table = of_kinds(&run);
        assert_eq!(table[0], ["key", "direct", "pooled", "first use", "dry", "cold"]);
        assert_eq!(table[1], ["bfv-set-q54", "300 us", "", "", "", ""]);
        assert_eq!(table[2], ["ml-kem-768", "70.0 us", "60.0 ns", "", "", ""]);
    }

    #[test]
    fn hit_rates_have_a_table_of_their_own() {
        let mut run = run(&[("cache/trace/zipf", "any", 60.0)]);
        assert!(rates(&run).is_empty());
        let rate = |name: &str, by: &str, percent| {
            let name = format!("cache/trace/{name}");
            Rate { name, by: by.into(), percent }
        };
        run.rates = vec![rate("zipf", "any", 80.09), rate("zipf", "moka", 80.5)];
        run.rates.push(rate("one-hit", "any", 51.0));
        let expected = [
            ["hits, %", "cache/trace/zipf", "cache/trace/one-hit"],
            ["any", "80.1", "51.0"],
            ["moka", "80.5", ""],
        ];
        assert_eq!(rates(&run), expected);
        assert!(terminal(&run, &others()).contains("80.1"));
    }

    #[test]
    fn stages_have_a_table_of_their_own() {
        let run = run(&[("stage/fold", "scalar", 9e3), ("fill/8", "avx2", 2e3)]);
        assert!(main(&run, &others()).is_empty());
        let expected =
            [["name", "scalar", "avx2"], ["stage/fold", "9.00 us", ""], ["fill/8", "", "2.00 us"]];
        assert_eq!(rest(&run), expected);
    }

    #[test]
    fn markdown_is_a_table() {
        let run = run(&[
            ("bfv/encrypt", "scalar", 2e5),
            ("bfv/encrypt", "fhe", 4e5),
            ("bfv/encrypt", "slow", 6e5),
        ]);
        let text = markdown(&run, &others());
        let mut lines = text.lines();
        assert_eq!(lines.next().unwrap().matches('|').count(), 8);
        assert_eq!(lines.next().unwrap(), "|---|---|---|---|---|---|---|");
        let first = "| `bfv/encrypt` | scalar | 200 us | 400 us fhe | 2.00x |  | SEAL: 490 us |";
        assert_eq!(lines.next().unwrap(), first);
        assert_eq!(lines.next().unwrap(), "| | | | | | | OpenFHE: 490 us |");
        assert!(!text.contains("slow"), "{text}");
        assert!(text.ends_with("Elsewhere: 2026, Zen 4.\n"), "{text}");
    }

    #[test]
    fn words_are_safe() {
        assert_eq!(quoted("--json"), "--json");
        assert_eq!(quoted("ntt|bfv"), "'ntt|bfv'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(slug("AMD EPYC (26.2) Zen 5"), "amd-epyc-26-2-zen-5");
    }
}
