//! Figures in rows and columns, for terminals and for pages.

use std::fmt::{self, Write};

use super::{Entry, Quantity, Scenario};

/// The table of one scenario.
#[derive(Debug)]
pub struct Table {
    title: String,
    /// The first row is the head, the first column the contender.
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// Of all that was measured in it.
    pub fn new(scenario: &Scenario) -> Self {
        let measured = |quantity: &Quantity| {
            let figure = scenario.entries.iter().find_map(|entry| entry.figures.get(quantity))?;
            Some((*quantity, figure.unit.clone()))
        };
        let columns: Vec<_> = Quantity::ALL.iter().filter_map(measured).collect();
        let mut head = vec![String::new()];
        head.extend(columns.iter().map(|(quantity, unit)| {
            if unit.is_empty() { quantity.to_string() } else { format!("{quantity} ({unit})") }
        }));
        let row = |entry: &Entry| {
            let mut row = vec![format!("{}{}", entry.contender, if entry.limited { " *" } else { "" })];
            row.extend(columns.iter().map(|(quantity, _)| cell(entry, *quantity)));
            row
        };
        let rows = std::iter::once(head).chain(scenario.entries.iter().map(row)).collect();
        Self { title: format!("{} ({})", scenario.title, scenario.name), rows, notes: notes(scenario) }
    }

    /// As a table of a page in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n", self.title);
        for (at, row) in self.rows.iter().enumerate() {
            writeln!(text, "| {} |", row.join(" | ")).expect("text grows");
            if at == 0 {
                let marks: Vec<_> = (0..row.len()).map(|at| if at == 0 { "---" } else { "---:" }).collect();
                writeln!(text, "| {} |", marks.join(" | ")).expect("text grows");
            }
        }
        for note in &self.notes {
            write!(text, "\n{note}\n").expect("text grows");
        }
        text
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        let columns = self.rows.first().map_or(0, Vec::len);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| Some(row.get(column)?.chars().count())).max();
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if at == 0 { write!(line, "{cell:<width$}")? } else { write!(line, "  {cell:>width$}")? }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "{note}"))
    }
}

/// A median with its spread, if it was measured.
fn cell(entry: &Entry, quantity: Quantity) -> String {
    let Some(figure) = entry.figures.get(&quantity) else { return String::new() };
    let spread = &figure.spread;
    if quantity == Quantity::Failed || spread.most - spread.least <= spread.median / 1e3 {
        return number(spread.median);
    }
    format!("{} ({}–{})", number(spread.median), number(spread.least), number(spread.most))
}

fn notes(scenario: &Scenario) -> Vec<String> {
    let mut notes: Vec<_> = scenario
        .entries
        .iter()
        .filter_map(|entry| Some(format!("{}: {}", entry.contender, entry.note.as_ref()?)))
        .collect();
    if scenario.entries.iter().any(|entry| entry.limited) {
        notes.push("With a star: the load generator limited the rate; the server may do more.".into());
    }
    notes
}

/// Three digits that count, and no more.
pub(super) fn number(figure: f64) -> String {
    let size = figure.abs();
    match size {
        _ if size < 1e-9 => "0".into(),
        _ if size >= 99.95 => format!("{figure:.0}"),
        _ if size >= 9.995 => format!("{figure:.1}"),
        _ if size >= 0.9995 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Quantity, Sample};
    use super::*;

    fn scenario() -> Scenario {
        let round = |rate| Sample::new().with(Quantity::Rate, rate, "1/s").limited(true);
        let entries = vec![
            Entry::of("socksd", &[round(1000.0), round(1200.0), round(1100.0)]),
            Entry::of("direct", &[Sample::new().with(Quantity::P50, 12.345, "µs").note("half of it")]),
        ];
        Scenario { name: "trips/1".into(), title: "Round trips".into(), entries }
    }

    #[test]
    fn terminals_get_columns() {
        let expected = "
Round trips (trips/1)
                rate (1/s)  p50 (µs)
socksd *  1100 (1000–1200)
direct                          12.3
direct: half of it
With a star: the load generator limited the rate; the server may do more.
";
        assert_eq!(Table::new(&scenario()).to_string(), expected);
    }

    #[test]
    fn pages_get_markdown() {
        let text = Table::new(&scenario()).markdown();
        assert!(text.starts_with(
            "**Round trips (trips/1)**\n\n|  | rate (1/s) | p50 (µs) |\n| --- | ---: | ---: |\n"
        ));
        assert!(text.contains("| socksd * | 1100 (1000–1200) |  |\n"), "{text}");
        assert!(text.contains("\ndirect: half of it\n"), "{text}");
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        let numbers = [0.0, 0.0123, 0.99949, 1.0, 9.994, 12.345, 99.96, 123_456.7].map(number);
        assert_eq!(numbers, ["0", "0.012", "0.999", "1.00", "9.99", "12.3", "100", "123457"]);
    }
}
