//! The report: one file, no scripts, nothing from the network.

use super::results::{Others, Run};
use super::svg::escape;
use super::{charts, instructions, table};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1c2128; --soft: #5b6470; --paper: #ffffff; --card: #f6f7f9;
  --rule: #dfe3e8; --c0: #4269d0; --c1: #e2871a; --c2: #3a9a52; --c3: #c9425b; --c4: #8a5fc4;
  --c5: #2f9fb0; --c6: #9c6b4e; --c7: #7d8795; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --soft: #9aa4b0; --paper: #14171b;
  --card: #1d2126; --rule: #343a42; } }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 80rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .3rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .4rem; }
p { margin: .3rem 0 .8rem; max-width: 62rem; } .soft { color: var(--soft); }
.row { display: flex; flex-wrap: wrap; gap: .8rem; margin-top: 1.2rem; }
.row strong { font-size: 1.5rem; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: 8px;
  padding: 1rem 1.2rem; overflow-x: auto; margin-bottom: .8rem; }
svg { display: block; width: 100%; height: auto; font-size: 13px; }
svg text { fill: var(--ink); } svg .small { font-size: 12px; fill: var(--soft); }
svg .strong { font-weight: 600; } svg text.on { fill: #ffffff; font-size: 11px; font-weight: 600; }
svg polyline { fill: none; stroke: var(--rule); } svg polyline.axis { stroke: var(--soft); }
svg polyline.line { stroke-width: 2.5; }
svg polyline.ideal { stroke: var(--soft); stroke-dasharray: 5 4; } svg circle.ideal { fill: none; }
.c0 { fill: var(--c0); stroke: var(--c0); } .c1 { fill: var(--c1); stroke: var(--c1); }
.c2 { fill: var(--c2); stroke: var(--c2); } .c3 { fill: var(--c3); stroke: var(--c3); }
.c4 { fill: var(--c4); stroke: var(--c4); } .c5 { fill: var(--c5); stroke: var(--c5); }
.c6 { fill: var(--c6); stroke: var(--c6); } .c7 { fill: var(--c7); stroke: var(--c7); }
svg rect { stroke: none; } svg polyline.line { fill: none; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--rule); }
th, td { padding: .18rem .7rem .18rem 0; white-space: nowrap; } td.n { text-align: right; }
tr.first td { border-top: 1px solid var(--rule); } dt { font-weight: 600; } dd { margin: 0 0 .4rem; }
code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: .92em; }
";

/// The whole page.
pub fn page(run: &Run, others: &Others) -> String {
    let main = table::main(run, others);
    let mut body = format!(
        "<h1>Symbolon: what it costs</h1>\n<p class=\"soft\">{}, commit {}, <code>{}</code><br>{}</p>\n",
        escape(&run.date),
        escape(&run.machine.commit),
        escape(&run.command),
        escape(&run.machine.line())
    );
    if run.machine.is_busy() {
        body += "<p><strong>Other programs were running: times may be too high.</strong></p>\n";
    }
    body += &headline(run);
    body += &section(
        "A batch of 32, by stage",
        "Embeddings to decisions on one core, Q54: fresh randomness, re-randomised, flooded. Stages \
         are timed alone, each over and over, so their sum may differ from the batch in the table.",
        &[charts::stages(run, false), charts::stages(run, true)],
    );
    body += &section(
        "What a person costs in a batch that is not full",
        "A batch has 32 lanes, and an empty one costs as much as a full one.",
        &[charts::fill(run)],
    );
    body += &section(
        "Beside other libraries",
        "Their time divided by ours, same process, same run. To the right of 1x we are faster. Both \
         times show under the pointer and in the table; how they are run stands below it.",
        &[charts::ratios(run)],
    );
    body += &section("Cores", "Whole batches, one pipeline a thread.", &[charts::scaling(run)]);
    if !main.is_empty() {
        let groups: Vec<_> = main.iter().map(|group| without_repeats(group)).collect();
        let table = html_table(&table::HEAD, &groups, &table::NUMBERS);
        body += &section("All figures", &legend(others), &[table]);
    }
    body += &rates(run);
    body += &kinds(run);
    let rest = table::rest(run);
    if let Some((head, lines)) = rest.split_first() {
        let head: Vec<_> = head.iter().map(String::as_str).collect();
        let table = html_table(&head, &[lines.to_vec()], &[1, 2, 3, 4]);
        body += &section("Stages, fill, cores, and what was rejected", "", &[table]);
    }
    body += &section(
        "Instructions",
        "Executed by one call, counted under valgrind: they do not move with the load, so they show \
         regressions on busy machines. Transforms and products of two limbs. Valgrind knows no AVX-512.",
        &[counts(run)],
    );
    if !others.peers.is_empty() {
        let peers: String = others
            .peers
            .iter()
            .map(|peer| {
                let [name, runs, work] = [&peer.peer, &peer.runs, &peer.work].map(|t| escape(t));
                format!("<dt>{name}</dt><dd>{runs}. {work}</dd>\n")
            })
            .collect();
        body += &section("The peers", "", &[format!("<dl>{peers}</dl>")]);
    }
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <title>Symbolon: what it costs</title><style>{STYLE}</style></head>\n\
         <body>\n{body}</body></html>\n"
    )
}

/// What caches answered.
fn rates(run: &Run) -> String {
    let table = table::rates(run);
    let Some((head, lines)) = table.split_first() else { return String::new() };
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    section(
        "What a cache answers",
        "Percent of the accesses of a trace that find their verdict, where a tenth of a million digests fit; what is \
         not there is put in. The first line knows the trace and never changes what it keeps.",
        &[html_table(&head, &[lines.to_vec()], &[1, 2, 3])],
    )
}

/// What a key costs, kind by kind.
fn kinds(run: &Run) -> String {
    let table = table::of_kinds(run);
    let Some((head, lines)) = table.split_first() else { return String::new() };
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    section(
        "Keys, made and ready",
        "Direct: a key made when it is asked for. Pooled: one that was ready, taken and wiped after its one \
         use. First use: the same, used in between. Dry: a supply that had none. Cold: a sealed key opened. \
         Taking a key is not making one: what was made ahead was paid before.",
        &[charts::kinds(run), html_table(&head, &[lines.to_vec()], &[1, 2, 3, 4, 5])],
    )
}

/// The figures that people ask for first: a batch, and what a person costs.
fn headline(run: &Run) -> String {
    let mut boxes = String::new();
    for (name, what) in [
        ("batch/sealed-probe", "32 people, probes to decisions"),
        ("batch/sealed-probe-pooled", "with encryptions of zero made ahead"),
    ] {
        let Some(best) =
            run.ours(name).into_iter().min_by(|a, b| a.median_ns.total_cmp(&b.median_ns))
        else {
            continue;
        };
        let (whole, person) = (table::time(best.median_ns), table::time(best.median_ns / 32.0));
        boxes += &format!(
            "<div class=\"card\"><strong>{whole}</strong> {what}, {}<br>{person} a person</div>\n",
            escape(&best.by)
        );
    }
    if boxes.is_empty() { boxes } else { format!("<div class=\"row\">{boxes}</div>\n") }
}

fn legend(others: &Others) -> String {
    format!(
        "Medians, and half of their 95 % interval. Ratio: the peer's time divided by ours. Bound: the least time that multiplications \
         and the issue of instructions allow for the arithmetic modulo q, at the measured clock; blank \
         where this processor's rates are not known. Elsewhere: quoted, not measured in this run and \
         not divided ({}).",
        table::places(others)
    )
}

/// A heading, a sentence and cards; nothing if all cards are empty.
fn section(title: &str, text: &str, cards: &[String]) -> String {
    let cards: String = cards
        .iter()
        .filter(|card| !card.is_empty())
        .map(|card| format!("<div class=\"card\">{card}</div>\n"))
        .collect();
    if cards.is_empty() {
        return String::new();
    }
    let (title, text) = (escape(title), escape(text));
    format!("<h2>{title}</h2>\n<p class=\"soft\">{text}</p>\n{cards}")
}

/// The lines of one name: what stands in the line above is not said again.
fn without_repeats(group: &[table::Line]) -> Vec<Vec<String>> {
    let mut lines: Vec<_> = group.iter().map(|line| line.to_vec()).collect();
    for at in 1..group.len() {
        lines[at][0].clear();
        if group[at][1] == group[at - 1][1] {
            for column in [1, 2, 3, 7, 8] {
                lines[at][column].clear();
            }
        }
    }
    lines
}

/// Groups of lines with a rule between them; the columns of `numbers` are aligned to the right.
fn html_table(head: &[&str], groups: &[Vec<Vec<String>>], numbers: &[usize]) -> String {
    let class = |column| if numbers.contains(&column) { " class=\"n\"" } else { "" };
    let cells = head.iter().map(|cell| format!("<th>{}</th>", escape(cell)));
    let mut text = format!("<table>\n<tr>{}</tr>\n", cells.collect::<String>());
    for lines in groups {
        for (at, line) in lines.iter().enumerate() {
            let cells = line.iter().enumerate();
            let cells =
                cells.map(|(column, cell)| format!("<td{}>{}</td>", class(column), escape(cell)));
            let first = if at == 0 { " class=\"first\"" } else { "" };
            text += &format!("<tr{first}>{}</tr>\n", cells.collect::<String>());
        }
    }
    text + "</table>\n"
}

fn counts(run: &Run) -> String {
    if run.instructions.is_empty() {
        return String::new();
    }
    let line = |count: &instructions::Count| {
        let change = count.before.map(|before| instructions::change(count.instructions, before));
        vec![
            count.name.clone(),
            count.isa.clone(),
            count.instructions.to_string(),
            change.unwrap_or_default(),
        ]
    };
    let lines = run.instructions.iter().map(line).collect();
    html_table(&["name", "isa", "instructions", "since the last run"], &[lines], &[2, 3])
}

#[cfg(test)]
mod tests {
    use super::super::instructions::Count;
    use super::super::results::tests::run;
    use super::*;

    fn others() -> Others {
        Others { peers: Vec::new(), figures: Vec::new() }
    }

    #[test]
    fn the_page_stands_alone() {
        let mut run = run(&[
            ("ntt/forward", "avx2", 1e3),
            ("ntt/forward", "tfhe", 2e3),
            ("stage/fold", "avx2", 1e3),
            ("fill/1", "avx2", 1e3),
            ("fill/2", "avx2", 1e3),
        ]);
        run.command = "cargo xtask bench --filter '<b>'".into();
        let count =
            Count { name: "ntt/forward".into(), isa: "avx2".into(), instructions: 4, before: None };
        run.instructions.push(count);
        let page = page(&run, &others());
        assert!(!page.contains("<b>") && !page.contains("<script") && !page.contains("http"));
        for expected in ["Beside other libraries", "2.00x", "<td class=\"n\">4</td>", "</html>"] {
            assert!(page.contains(expected), "{expected}: {page}");
        }
        for element in ["svg", "table", "tr", "td", "div", "h2", "p"] {
            let count = |tag: String| page.matches(&tag).count();
            let opened = count(format!("<{element}>")) + count(format!("<{element} "));
            assert_eq!(opened, count(format!("</{element}>")), "{element}");
        }
    }

    #[test]
    fn repeats_are_left_out_of_a_group() {
        let line = |isa: &str, peer: &str| {
            ["a", isa, "1 us", "3 %", peer, "", "", "2 us", "50 %", ""].map(str::to_owned)
        };
        let lines = without_repeats(&[line("avx2", "x"), line("avx2", "y"), line("avx512", "x")]);
        assert_eq!(lines[0][..5], ["a", "avx2", "1 us", "3 %", "x"]);
        assert_eq!(lines[1], ["", "", "", "", "y", "", "", "", "", ""]);
        assert_eq!(lines[2][..5], ["", "avx512", "1 us", "3 %", "x"]);
    }

    #[test]
    fn empty_sections_are_left_out() {
        assert!(!page(&run(&[]), &others()).contains("<h2>"));
    }
}
