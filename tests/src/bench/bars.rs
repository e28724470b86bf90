//! A chart with a bar for each contender in each scenario, with its spread.

use super::svg::{Anchor, Svg};
use super::table::number;
use super::{Contender, Figure, Quantity, Scenario, class};

/// The width of the picture, of the names at its left, and of the figures at its right.
const WIDTH: f64 = 860.0;
const NAMES: f64 = 150.0;
const FIGURES: f64 = 70.0;
/// The height of the title, of a scenario's name, of a bar, and of what is below.
const TITLE: f64 = 44.0;
const GROUP: f64 = 24.0;
const BAR: f64 = 16.0;
const FOOT: f64 = 40.0;
/// How many times our greatest bar another one may be long.
const CUT: f64 = 6.0;

/// Draws one quantity of these scenarios; `None` when nobody has it.
pub(super) fn draw(title: &str, quantity: Quantity, scenarios: &[&Scenario]) -> Option<String> {
    let groups: Vec<_> = scenarios.iter().map(|scenario| (scenario, rows(scenario, quantity))).collect();
    let groups: Vec<_> = groups.into_iter().filter(|(_, rows)| !rows.is_empty()).collect();
    let all = || groups.iter().flat_map(|(_, rows)| rows);
    let unit = all().next()?.1.unit.clone();
    let most = round_up(most(&all().collect::<Vec<_>>()));
    #[expect(clippy::cast_precision_loss, reason = "some dozen")]
    let count = |count: usize| count as f64;
    let height = TITLE + GROUP * count(groups.len()) + BAR * count(all().count()) + FOOT;
    let mut svg = Svg::new(title, WIDTH, height);
    let scale = Scale { most };
    let place = |figure: f64| scale.place(figure);
    let bottom = height - FOOT + 4.0;
    for step in 0..=4 {
        let figure = most * f64::from(step) / 4.0;
        svg.line([place(figure), TITLE - 4.0], [place(figure), bottom], "grid");
        svg.text([place(figure), bottom + 15.0], (Anchor::Middle, "small"), number(figure));
    }
    svg.text([WIDTH - 16.0, bottom + 30.0], (Anchor::End, "small"), format!("{quantity} in {unit}"));
    let mut y = TITLE;
    for (scenario, rows) in &groups {
        svg.text([16.0, y + GROUP - 8.0], (Anchor::Start, "small"), &scenario.title);
        y += GROUP;
        for &row in rows {
            scale.bar(&mut svg, y, row);
            y += BAR;
        }
    }
    Some(svg.to_string())
}

/// The end of the scale: the greatest figure, but no more than [`CUT`] times the greatest of ours, so that ours
/// can be seen.
fn most(rows: &[&(&str, &Figure)]) -> f64 {
    let greatest = |wanted: &dyn Fn(&str) -> bool| {
        let wanted = rows.iter().filter(|(name, _)| wanted(name));
        wanted.map(|(_, figure)| figure.spread.most).reduce(f64::max)
    };
    let all = greatest(&|_| true).unwrap_or(0.0);
    let ours = greatest(&|name| [Contender::OURS, Contender::FULL].contains(&name));
    ours.map_or(all, |ours| all.min(ours * CUT))
}

fn rows(scenario: &Scenario, quantity: Quantity) -> Vec<(&str, &Figure)> {
    let of = |entry: &'_ super::Entry| entry.figures.contains_key(&quantity);
    let entries = scenario.entries.iter().filter(|entry| of(entry));
    entries.filter_map(|it| Some((it.contender.as_str(), it.figures.get(&quantity)?))).collect()
}

/// How long a bar is for a figure.
struct Scale {
    most: f64,
}

impl Scale {
    fn place(&self, figure: f64) -> f64 {
        NAMES + (figure / self.most).min(1.0) * (WIDTH - NAMES - FIGURES)
    }

    /// One contender's, with its name before and its median behind.
    fn bar(&self, svg: &mut Svg, y: f64, (name, figure): (&str, &Figure)) {
        let (spread, middle) = (&figure.spread, y + BAR / 2.0);
        svg.text([NAMES - 8.0, y + BAR - 4.0], (Anchor::End, ""), name);
        let width = (self.place(spread.median) - NAMES).max(1.0);
        svg.rectangle([NAMES, y + 2.0], [width, BAR - 4.0], class(name));
        svg.line([self.place(spread.least), middle], [self.place(spread.most), middle], "whisker");
        for end in [spread.least, spread.most].map(|end| self.place(end)) {
            svg.line([end, middle - 3.0], [end, middle + 3.0], "whisker");
        }
        let beside = [self.place(spread.most) + 6.0, y + BAR - 4.0];
        let mark = if spread.median > self.most { "» " } else { "" };
        svg.text(beside, (Anchor::Start, "small"), format!("{mark}{}", number(spread.median)));
    }
}

/// The next number with one digit that counts, so that a scale has round marks.
pub(super) fn round_up(figure: f64) -> f64 {
    if figure <= 0.0 {
        return 1.0;
    }
    let size = 10_f64.powf(figure.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0];
    steps.into_iter().map(|step| step * size).find(|mark| *mark >= figure).unwrap_or(figure)
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::scenario;
    use super::super::svg::tests::assert_well_formed;
    use super::*;

    #[test]
    fn a_chart_has_a_bar_and_a_figure_for_each_contender() {
        let one = scenario("bulk/down/1", Quantity::Cpu, &[("socksd", 0.25), ("<danted>", 0.75)]);
        let text = draw("CPU & time", Quantity::Cpu, &[&one]).expect("there are figures");
        assert_well_formed(&text);
        assert_eq!(text.matches("<rect").count(), 3, "paper and two bars: {text}");
        assert!(text.contains(">0.250</text>") && text.contains(">&lt;danted&gt;</text>"), "{text}");
        assert!(text.contains("CPU &amp; time") && text.contains("CPU time in 1/s"), "{text}");
        assert_eq!(draw("CPU", Quantity::P99, &[&one]), None);
    }

    #[test]
    fn what_is_much_longer_than_ours_is_cut_and_says_so() {
        let one = scenario("bulk/down/1", Quantity::Cpu, &[("socksd", 1.0), ("danted", 100.0)]);
        let text = draw("CPU", Quantity::Cpu, &[&one]).expect("there are figures");
        assert!(text.contains(">» 100</text>") && text.contains(">6.00</text>"), "{text}");
    }

    #[test]
    fn scales_end_at_round_marks() {
        let marks = [0.0, 0.9, 1.0, 1.3, 7.0, 950.0].map(|figure| number(round_up(figure)));
        assert_eq!(marks, ["1.00", "1.00", "1.00", "1.60", "8.00", "1000"]);
    }
}
