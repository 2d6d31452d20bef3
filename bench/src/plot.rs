//! Results as charts: the cost of an operation with the others, where its cost with this crate is
//! 1.
//!
//! No font is known here: the viewer of the chart chooses one. So the width of text is estimated by
//! its letters, generously, and text is placed where it may be wider without overlapping other
//! text.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::report::{self, Group};
use crate::results::{Comparison, Results};

/// The workloads of the overview, with their names there.
const OVERVIEW: [(&str, &str); 9] = [
    ("wake/pending", "wake-up, one pending"),
    ("messages/1-thread", "message, each with a wake-up"),
    ("timeout/50us", "timeout of 50 µs"),
    ("timeout/500us", "timeout of 500 µs"),
    ("turn/1/none/threads", "one event a turn"),
    ("turn/64/none/threads", "64 events a turn"),
    ("register/add", "registration"),
    ("echo/tcp/64", "TCP echo of 64 bytes"),
    ("idle/100000", "100 000 idle connections"),
];

/// The subjects of the overview. (A raw loop is no library.)
const OVERVIEW_OTHERS: [&str; 4] = ["mio 1.2.5", "polling", "libuv", "libevent"];

/// Okabe and Ito's colours, which colour-blind readers can tell apart. They are the same in all
/// charts.
const COLOURS: [(&str, RGBColor); 5] = [
    ("mio 1.2.5", RGBColor(0, 114, 178)),
    ("raw epoll", RGBColor(119, 119, 119)),
    ("polling", RGBColor(230, 159, 0)),
    ("libuv", RGBColor(0, 158, 115)),
    ("libevent", RGBColor(204, 121, 167)),
];

/// For subjects that the table does not have.
const OTHER_COLOURS: [RGBColor; 3] = [
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(240, 228, 66),
];

const TEXT: RGBColor = RGBColor(34, 34, 34);
const FAINT_TEXT: RGBColor = RGBColor(96, 96, 96);
const GRID: RGBColor = RGBColor(221, 221, 221);
const STRIPE: RGBColor = RGBColor(246, 246, 246);

const WIDTH: i32 = 900;
const MARGIN: i32 = 16;
const BAR: i32 = 11;
/// The distance from one bar to the next.
const BAR_STEP: i32 = 14;
/// The margin above and below the bars of a row.
const ROW_MARGIN: i32 = 6;
/// The space for the number at the end of a bar.
const NUMBER_ROOM: i32 = 52;
/// A chart that is taller than a screen has its scale at both ends.
const TALL: i32 = 700;

/// The heights of text in pixels.
const TITLE: f64 = 17.0;
const LABEL: f64 = 13.0;
const SMALL: f64 = 11.0;

/// Writes `overview.svg`, and one chart for each group. If no workload of the overview was
/// measured, it is not written.
pub fn all(results: &Results, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let write = |name: &str, chart: &Chart| {
        let path = folder.join(format!("{name}.svg"));
        fs::write(&path, draw(chart)?).with_context(|| path.display().to_string())
    };

    let overview = overview(results);
    if !overview.rows.is_empty() {
        write("overview", &overview)?;
    }
    for group in report::groups(results) {
        let chart = of_group(results, &group);
        if !chart.rows.is_empty() {
            write(&file_name(group.name), &chart)?;
        }
    }
    Ok(())
}

/// A name without characters that have a meaning in a file system or in a link.
fn file_name(group: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    group
        .chars()
        .map(|c| if plain(c) { c } else { '-' })
        .collect()
}

struct Chart<'a> {
    title: String,
    /// The bars, in the order in which they are drawn.
    legend: Vec<(&'a str, RGBColor)>,
    rows: Vec<Row>,
}

struct Row {
    label: String,
    bars: Vec<Bar>,
}

struct Bar {
    colour: RGBColor,
    /// The other's cost, as a multiple of this crate's.
    times: f64,
}

impl Row {
    /// `None` if there is nothing to show.
    fn new<'a>(
        label: String,
        legend: &[(&str, RGBColor)],
        comparisons: impl Iterator<Item = &'a Comparison> + Clone,
    ) -> Option<Row> {
        let bar = |&(other, colour): &(&str, RGBColor)| {
            let comparison = comparisons
                .clone()
                .find(|comparison| comparison.other == other)?;
            let times = comparison.p10.recip();
            // A cost of zero has no position on this scale.
            (times.is_normal() && times > 0.0).then_some(Bar { colour, times })
        };
        let bars: Vec<Bar> = legend.iter().filter_map(bar).collect();
        (!bars.is_empty()).then_some(Row { label, bars })
    }

    fn height(&self) -> i32 {
        2 * ROW_MARGIN + BAR_STEP * self.bars.len() as i32 - (BAR_STEP - BAR)
    }
}

fn overview(results: &Results) -> Chart<'_> {
    let mut legend = legend(results);
    legend.retain(|(other, _)| OVERVIEW_OTHERS.contains(other));
    let rows = OVERVIEW.iter().filter_map(|&(workload, label)| {
        let mut comparisons = results.comparisons.iter();
        // The backend that is measured first is the usual one.
        let backend = &comparisons.find(|row| row.workload == workload)?.backend;
        let comparisons = results.comparisons.iter();
        let row = comparisons.filter(|row| row.workload == workload && row.backend == *backend);
        Row::new(label.to_owned(), &legend, row)
    });
    let rows = rows.collect();
    Chart {
        title: "What an operation costs".to_owned(),
        legend,
        rows,
    }
}

fn of_group<'a>(results: &'a Results, group: &Group<'a>) -> Chart<'a> {
    let has_backends = group.has_backends();
    let mut legend = legend(results);
    legend.retain(|(other, _)| {
        let mut comparisons = group.rows.iter().flat_map(|row| &row.comparisons);
        comparisons.any(|comparison| comparison.other == *other)
    });
    let rows = group.rows.iter().filter_map(|row| {
        let label = if has_backends {
            format!("{}, {}", row.label, row.backend)
        } else {
            row.label.to_owned()
        };
        Row::new(label, &legend, row.comparisons.iter().copied())
    });
    let rows = rows.collect();
    Chart {
        title: format!("What an operation costs: {}", group.name),
        legend,
        rows,
    }
}

fn legend(results: &Results) -> Vec<(&str, RGBColor)> {
    let mut spare = OTHER_COLOURS.iter().cycle();
    let colour = |other: &str| {
        let known = COLOURS.iter().find(|(name, _)| *name == other);
        let known = known.map(|(_, colour)| colour);
        *known.unwrap_or_else(|| spare.next().expect("it goes round"))
    };
    let others = report::others(results);
    let colours: Vec<RGBColor> = others.iter().copied().map(colour).collect();
    others.into_iter().zip(colours).collect()
}

/// A position on a logarithmic scale.
struct Scale {
    left: i32,
    right: i32,
    /// The position of 1, and the distance from there to e.
    one: f64,
    unit: f64,
}

impl Scale {
    fn new(left: i32, right: i32, times: impl Iterator<Item = f64> + Clone) -> Scale {
        // At least up to 2: a difference of a few per cent must not look large.
        let low = times.clone().fold(1.0, f64::min).ln();
        let high = times.fold(2.0, f64::max).ln();
        let unit = f64::from(right - left - 2 * NUMBER_ROOM) / (high - low);
        Scale {
            left,
            right,
            one: f64::from(left + NUMBER_ROOM) - low * unit,
            unit,
        }
    }

    fn x(&self, times: f64) -> i32 {
        (self.one + self.unit * times.ln()).round() as i32
    }

    /// As many round numbers as fit.
    fn ticks(&self) -> Vec<f64> {
        /// Sets of round numbers, in tenths of a power of ten: from fine to coarse.
        const ROUND: [&[u32]; 5] = [
            &[
                10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 26, 28, 30, 35, 40, 45, 50, 60,
                70, 80, 90,
            ],
            &[10, 12, 14, 16, 18, 20, 25, 30, 40, 50, 60, 80],
            &[10, 15, 20, 30, 50, 70],
            &[10, 20, 50],
            &[10],
        ];
        const APART: i32 = 46;

        let first = self.power_of_ten(self.left) - 1;
        let last = self.power_of_ten(self.right) + 1;
        let mut ticks = Vec::new();
        for tenths in ROUND {
            ticks = (first..=last)
                .flat_map(|power| tenths.iter().map(move |tenths| (tenths, power - 1)))
                // Parsed from text, which gives the number nearest to the decimal one.
                .map(|(tenths, power)| format!("{tenths}e{power}").parse().expect("a number"))
                // Not so near to the edge that its text would leave the chart.
                .filter(|tick| (self.left + 20..=self.right - 20).contains(&self.x(*tick)))
                .collect();
            let mut pairs = ticks.windows(2);
            if pairs.all(|pair| self.x(pair[1]) - self.x(pair[0]) >= APART) {
                break;
            }
        }
        ticks
    }

    fn power_of_ten(&self, x: i32) -> i32 {
        ((f64::from(x) - self.one) / self.unit / std::f64::consts::LN_10).floor() as i32
    }
}

/// More digits where small differences matter.
fn number(times: f64) -> String {
    if times < 0.0995 {
        format!("{times:.3}×")
    } else if times < 1.995 {
        format!("{times:.2}×")
    } else if times < 9.95 {
        format!("{times:.1}×")
    } else {
        format!("{times:.0}×")
    }
}

/// The maximum width of text, in the widest of the usual fonts.
fn text_width(text: &str, size: f64) -> i32 {
    (0.64 * size * text.chars().count() as f64).ceil() as i32
}

fn font<'a>(size: f64, colour: RGBColor, h_pos: HPos, v_pos: VPos) -> TextStyle<'a> {
    // An SVG's font size differs from that of plotters.
    let style = ("sans-serif", size * 1.24).into_font().color(&colour);
    style.pos(Pos::new(h_pos, v_pos))
}

/// The entries of the legend, and their positions: a full line is broken.
fn lay_out_legend<'a>(
    legend: &[(&'a str, RGBColor)],
    top: i32,
) -> Vec<(&'a str, RGBColor, (i32, i32))> {
    const SWATCH_AND_GAPS: i32 = 18 + 16;
    let (mut x, mut y) = (MARGIN, top);
    let mut places = Vec::new();
    for &(other, colour) in legend {
        let width = SWATCH_AND_GAPS + text_width(other, LABEL);
        if x > MARGIN && x + width > WIDTH - MARGIN {
            (x, y) = (MARGIN, y + 20);
        }
        places.push((other, colour, (x, y)));
        x += width;
    }
    places
}

/// The chart, as SVG.
fn draw(chart: &Chart) -> Result<String> {
    let rows_height: i32 = chart.rows.iter().map(Row::height).sum();
    let is_tall = rows_height > TALL;

    // From top to bottom: title, how to read it, legend, the label of 1, scale, rows, scale.
    let legend = lay_out_legend(&chart.legend, 66);
    let legend_bottom = legend.last().map_or(52, |(_, _, (_, y))| y + 10);
    let top = legend_bottom + if is_tall { 42 } else { 24 };
    let bottom = top + rows_height;
    let height = bottom + 30;

    let labels = chart.rows.iter().map(|row| text_width(&row.label, LABEL));
    let left = MARGIN + labels.max().unwrap_or(0) + 8;
    let bars = chart.rows.iter().flat_map(|row| &row.bars);
    let scale = Scale::new(left, WIDTH - MARGIN, bars.map(|bar| bar.times));

    let mut svg = String::new();
    {
        let area =
            SVGBackend::with_string(&mut svg, (WIDTH as u32, height as u32)).into_drawing_area();
        area.fill(&WHITE)?;
        let text = |text: &str, style: &TextStyle, at| area.draw_text(text, style, at);
        let line = |x, from, to, colour: RGBColor, width| {
            let style = colour.stroke_width(width);
            area.draw(&PathElement::new([(x, from), (x, to)], style))
        };
        let fill =
            |from, to, colour: RGBColor| area.draw(&Rectangle::new([from, to], colour.filled()));

        let mut title = font(TITLE, TEXT, HPos::Left, VPos::Center);
        title.font = title.font.style(FontStyle::Bold);
        text(&chart.title, &title, (MARGIN, 22))?;
        text(
            "Times the cost with this crate, on a logarithmic scale. Bars to the right: slower \
             than this crate; to the left: faster.",
            &font(LABEL, FAINT_TEXT, HPos::Left, VPos::Center),
            (MARGIN, 44),
        )?;
        for (other, colour, (x, y)) in legend {
            fill((x, y - 6), (x + 12, y + 6), colour)?;
            let style = font(LABEL, TEXT, HPos::Left, VPos::Center);
            text(other, &style, (x + 18, y))?;
        }

        let mut y = top;
        for (index, row) in chart.rows.iter().enumerate() {
            if index % 2 == 0 {
                fill((MARGIN, y), (WIDTH - MARGIN, y + row.height()), STRIPE)?;
            }
            y += row.height();
        }

        let ticks = font(SMALL, FAINT_TEXT, HPos::Center, VPos::Center);
        for tick in scale.ticks() {
            let x = scale.x(tick);
            line(x, top, bottom, GRID, 1)?;
            let name = format!("{tick}×");
            text(&name, &ticks, (x, bottom + 12))?;
            if is_tall {
                text(&name, &ticks, (x, top - 10))?;
            }
        }

        let mut y = top;
        for row in &chart.rows {
            let style = font(LABEL, TEXT, HPos::Right, VPos::Center);
            text(&row.label, &style, (left - 8, y + row.height() / 2))?;
            for (index, bar) in row.bars.iter().enumerate() {
                let bar_top = y + ROW_MARGIN + BAR_STEP * index as i32;
                draw_bar(&scale, bar, bar_top, fill, text)?;
            }
            y += row.height();
        }

        // Drawn last, over the beginnings of the bars.
        let one = scale.x(1.0);
        line(one, top - 2, bottom + 2, TEXT, 2)?;
        let style = font(LABEL, TEXT, HPos::Center, VPos::Center);
        text("this crate", &style, (one, legend_bottom + 12))?;

        area.present()?;
    }
    Ok(svg)
}

type Point = (i32, i32);

/// A bar from 1 to its value, with the number at its end.
fn draw_bar<E>(
    scale: &Scale,
    bar: &Bar,
    top: i32,
    fill: impl Fn(Point, Point, RGBColor) -> Result<(), E>,
    text: impl Fn(&str, &TextStyle, Point) -> Result<(), E>,
) -> Result<(), E> {
    /// The minimum length of a bar, so that its colour is visible beside the line.
    const SHORTEST: i32 = 4;

    let one = scale.x(1.0);
    let slower = bar.times >= 1.0;
    let end = if slower {
        scale.x(bar.times).max(one + SHORTEST)
    } else {
        scale.x(bar.times).min(one - SHORTEST)
    };
    fill(
        (one.min(end), top),
        (one.max(end), top + BAR - 1),
        bar.colour,
    )?;

    let (at, side) = if slower {
        (end + 4, HPos::Left)
    } else {
        (end - 4, HPos::Right)
    };
    let style = font(SMALL, TEXT, side, VPos::Center);
    text(&number(bar.times), &style, (at, top + BAR / 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::Class;

    fn comparison(workload: &str, backend: &str, other: &str, p10: f64) -> Comparison {
        Comparison {
            workload: workload.to_owned(),
            class: Class::Single,
            backend: backend.to_owned(),
            other: other.to_owned(),
            p10,
            quartiles: [p10; 3],
            target: None,
        }
    }

    fn results(comparisons: Vec<Comparison>) -> Results {
        Results {
            facts: Vec::new(),
            comparisons,
        }
    }

    #[test]
    fn a_bar_is_what_the_other_costs() {
        let results = results(vec![comparison("turn/1", "epoll", "libuv", 0.25)]);
        let chart = of_group(&results, &report::groups(&results)[0]);
        assert_eq!(chart.rows[0].bars[0].times, 4.0);
        assert!(draw(&chart).unwrap().contains("4.0×"));
    }

    #[test]
    fn a_cost_of_nothing_has_no_bar() {
        let results = results(vec![
            comparison("turn/1", "epoll", "libuv", 0.0),
            comparison("turn/1", "epoll", "polling", f64::NAN),
            comparison("turn/1", "epoll", "libevent", f64::INFINITY),
        ]);
        assert!(of_group(&results, &report::groups(&results)[0])
            .rows
            .is_empty());
    }

    #[test]
    fn the_overview_has_its_rows_of_the_usual_backend_and_no_others() {
        let (workload, label) = OVERVIEW[1];
        let results = results(vec![
            comparison("unknown/1", "epoll", "libuv", 0.5),
            comparison(workload, "epoll", "raw epoll", 1.0),
            comparison(workload, "epoll", "libuv", 0.5),
            comparison(workload, "poll(2)", "libuv", 0.25),
        ]);
        let chart = overview(&results);
        let [row] = &chart.rows[..] else {
            panic!("{} rows", chart.rows.len());
        };
        let times: Vec<f64> = row.bars.iter().map(|bar| bar.times).collect();
        assert_eq!((row.label.as_str(), times), (label, vec![2.0]));
        assert_eq!(chart.legend.len(), 1);
    }

    #[test]
    fn a_row_names_its_backend_where_there_are_several() {
        let results = results(vec![
            comparison("turn/1", "epoll", "libuv", 0.5),
            comparison("turn/1", "poll(2)", "libuv", 0.5),
        ]);
        let chart = of_group(&results, &report::groups(&results)[0]);
        let labels: Vec<&str> = chart.rows.iter().map(|row| row.label.as_str()).collect();
        assert_eq!(labels, ["1, epoll", "1, poll(2)"]);
    }

    #[test]
    fn everybody_has_a_colour_of_their_own() {
        let names = ["new", "libuv", "newer", "mio 1.2.5", "newest"];
        let rows = names.map(|other| comparison("turn/1", "epoll", other, 1.0));
        let results = results(rows.to_vec());
        let mut colours: Vec<RGBColor> = legend(&results).into_iter().map(|one| one.1).collect();
        colours.sort_by_key(|colour| (colour.0, colour.1, colour.2));
        colours.dedup();
        assert_eq!(colours.len(), names.len());
    }

    #[test]
    fn ticks_are_round_and_1_is_among_them() {
        let ticks = |times: [f64; 2]| Scale::new(200, 880, times.into_iter()).ticks();
        assert_eq!(ticks([0.8, 60.0]), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(ticks([1.0, 1e5]), [1.0, 10.0, 100.0, 1e3, 1e4, 1e5]);
        assert_eq!(ticks([0.97, 1.03]), [1.0, 1.2, 1.4, 1.6, 1.8, 2.0]);
        assert!(ticks([0.02, 0.5]).contains(&1.0));
    }

    #[test]
    fn numbers_fit_beside_the_longest_bars() {
        let scale = Scale::new(200, 880, [0.8, 60.0].into_iter());
        assert_eq!(scale.x(0.8), 200 + NUMBER_ROOM);
        assert_eq!(scale.x(60.0), 880 - NUMBER_ROOM);
    }

    #[test]
    fn a_file_name_is_plain() {
        assert_eq!(file_name("timeout 50µs/..b_1"), "timeout-50-s---b_1");
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0213, 0.8, 1.0, 1.996, 9.96, 47.2].map(number);
        assert_eq!(numbers, ["0.021×", "0.80×", "1.00×", "2.0×", "10×", "47×"]);
    }

    #[test]
    fn the_legend_breaks_its_lines() {
        let legend = [("a name that is long for a subject", WHITE); 5];
        let places = lay_out_legend(&legend, 0);
        let lines: Vec<i32> = places.iter().map(|(_, _, (_, y))| *y).collect();
        assert_eq!(lines, [0, 0, 20, 20, 40]);
    }
}
