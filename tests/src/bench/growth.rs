//! A chart of how one figure grows from scenario to scenario, with a line for each contender.

use super::bars::round_up;
use super::svg::{Anchor, Svg};
use super::table::number;
use super::{Quantity, Scenario, class};

const SIZE: [f64; 2] = [860.0, 340.0];
/// What is left beside the lines: at the left, above, at the right and below.
const LEFT: f64 = 70.0;
const TOP: f64 = 50.0;
const RIGHT: f64 = 150.0;
const BELOW: f64 = 56.0;
/// The least distance of names at the right.
const NAME: f64 = 14.0;

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Growth<'a> {
    pub(super) title: &'a str,
    pub(super) quantity: Quantity,
    /// What grows, such as `tunnels`; the last part of a scenario's name says how much of it there is.
    pub(super) by: &'a str,
}

impl Growth<'_> {
    /// Draws it over these scenarios, in their order; `None` when nobody has the quantity in two of them.
    pub(super) fn draw(&self, scenarios: &[&Scenario]) -> Option<String> {
        let mut names: Vec<&str> = Vec::new();
        for entry in scenarios.iter().flat_map(|scenario| &scenario.entries) {
            if !names.contains(&entry.contender.as_str()) {
                names.push(&entry.contender);
            }
        }
        let line = |name: &str| -> Vec<(usize, f64)> {
            let figures = scenarios.iter().map(|scenario| scenario.median(name, self.quantity));
            figures.enumerate().filter_map(|(at, figure)| Some((at, figure?))).collect()
        };
        let lines: Vec<_> =
            names.iter().map(|name| (*name, line(name))).filter(|(_, it)| it.len() > 1).collect();
        let most = lines.iter().flat_map(|(_, it)| it).map(|(_, figure)| *figure).reduce(f64::max)?;
        let unit = scenarios.iter().flat_map(|scenario| &scenario.entries);
        let unit = unit.filter_map(|entry| entry.figures.get(&self.quantity)).next()?.unit.clone();
        let mut svg = Svg::new(self.title, SIZE[0], SIZE[1]);
        let place = Place { steps: scenarios.len(), most: round_up(most), unit };
        self.axes(&mut svg, &place, scenarios);
        draw_lines(&mut svg, &place, &lines);
        Some(svg.to_string())
    }

    fn axes(&self, svg: &mut Svg, place: &Place, scenarios: &[&Scenario]) {
        for step in 0..=4 {
            let figure = place.most * f64::from(step) / 4.0;
            let y = place.y(figure);
            svg.line([LEFT, y], [SIZE[0] - RIGHT, y], "grid");
            svg.text([LEFT - 8.0, y + 4.0], (Anchor::End, "small"), number(figure));
        }
        for (at, scenario) in scenarios.iter().enumerate() {
            let amount = scenario.name.rsplit('/').next().unwrap_or_default();
            svg.text([place.x(at), SIZE[1] - BELOW + 18.0], (Anchor::Middle, "small"), amount);
        }
        let middle = LEFT + (SIZE[0] - LEFT - RIGHT) / 2.0;
        svg.text([middle, SIZE[1] - 14.0], (Anchor::Middle, "small"), self.by);
        svg.text([LEFT - 8.0, TOP - 8.0], (Anchor::End, "small"), &place.unit);
    }
}

/// Where a figure is in the picture.
struct Place {
    steps: usize,
    most: f64,
    unit: String,
}

impl Place {
    #[expect(clippy::cast_precision_loss, reason = "a few steps")]
    fn x(&self, at: usize) -> f64 {
        let width = SIZE[0] - LEFT - RIGHT - 40.0;
        LEFT + 20.0 + width * at as f64 / self.steps.saturating_sub(1).max(1) as f64
    }

    fn y(&self, figure: f64) -> f64 {
        let height = SIZE[1] - TOP - BELOW;
        TOP + height * (1.0 - figure / self.most)
    }
}

/// The lines, and their names at the right without one over the other.
fn draw_lines(svg: &mut Svg, place: &Place, lines: &[(&str, Vec<(usize, f64)>)]) {
    let mut ends: Vec<(f64, &str)> = Vec::new();
    for (name, figures) in lines {
        let points: Vec<_> = figures.iter().map(|(at, figure)| [place.x(*at), place.y(*figure)]).collect();
        svg.path(&points, class(name));
        ends.extend(points.last().map(|[_, y]| (*y, *name)));
    }
    ends.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut free = f64::NEG_INFINITY;
    for (y, name) in ends {
        let y = y.max(free);
        free = y + NAME;
        svg.rectangle([SIZE[0] - RIGHT + 8.0, y - 4.0], [8.0, 8.0], class(name));
        svg.text([SIZE[0] - RIGHT + 22.0, y + 4.0], (Anchor::Start, ""), name);
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::scenario;
    use super::super::svg::tests::assert_well_formed;
    use super::*;

    #[test]
    fn a_line_goes_through_what_was_measured_of_each_contender() {
        let few = scenario("bulk/down/1", Quantity::Cpu, &[("socksd", 0.25), ("danted", 0.5)]);
        let many =
            scenario("bulk/down/256", Quantity::Cpu, &[("socksd", 0.35), ("danted", 0.7), ("late", 1.0)]);
        let growth = Growth { title: "Growth", quantity: Quantity::Cpu, by: "streams" };
        let text = growth.draw(&[&few, &many]).expect("two have two figures");
        assert_well_formed(&text);
        assert_eq!(text.matches("<polyline").count(), 2, "who was measured once has no line: {text}");
        assert!(text.contains(">256</text>") && text.contains(">streams</text>"), "{text}");
        assert_eq!(growth.draw(&[&few]), None, "one scenario is no growth");
    }
}
