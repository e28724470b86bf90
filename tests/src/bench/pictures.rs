//! The charts that are made of a report, and the tables of a page.

use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

use super::growth::Growth;
use super::{Quantity, Report, Scenario, Table, bars};

use Quantity::{Cpu, P99, Rate, Tunnel};

/// A chart with bars: its file, its title, what it shows, and of which scenarios.
const BARS: [(&str, &str, Quantity, &str); 10] = [
    ("bulk-cpu", "Large transfers: processor time of the server for a GiB", Cpu, "bulk/"),
    ("bulk-rate", "Large transfers: GiB in a second", Rate, "bulk/"),
    ("connections-cpu", "Short sessions: processor time of the server for each", Cpu, "connections/"),
    ("connections-rate", "Short sessions in a second", Rate, "connections/"),
    ("trips-cpu", "Round trips: processor time of the server for each", Cpu, "trips/"),
    ("trips-p99", "Round trips: the time that 99 of a hundred take at most", P99, "trips/"),
    ("idle", "Memory of an idle tunnel", Tunnel, "idle/"),
    ("udp-cpu", "Datagrams: processor time of the server for each", Cpu, "udp/"),
    (
        "gssapi-bulk-cpu",
        "Kerberos, large transfers: processor time of the server for a GiB",
        Cpu,
        "gssapi/bulk/",
    ),
    ("gssapi-udp-cpu", "Kerberos, datagrams: processor time of the server for each", Cpu, "gssapi/udp/"),
];

/// A chart with lines: its file, what it shows, and of which scenarios.
const LINES: [(&str, Growth<'_>, &str); 4] = [
    (
        "growth-tunnels",
        Growth { title: "Processor time for a GiB to clients, by streams", quantity: Cpu, by: "streams" },
        "bulk/down/",
    ),
    (
        "growth-sessions",
        Growth {
            title: "Processor time for a short session, by sessions in flight",
            quantity: Cpu,
            by: "in flight",
        },
        "connections/",
    ),
    (
        "growth-rules",
        Growth { title: "Processor time for a short session, by rules", quantity: Cpu, by: "rules" },
        "rules/",
    ),
    (
        "growth-cores",
        Growth {
            title: "Short sessions in a second, by processors of the server",
            quantity: Rate,
            by: "processors",
        },
        "cores/connections/",
    ),
];

impl Report {
    /// Writes all charts for which there are figures into a folder, as `PREFIX-NAME.svg`.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn write_pictures(&self, folder: &Path, prefix: &str) -> io::Result<()> {
        let bars = BARS.iter().filter_map(|(name, title, quantity, group)| {
            Some((*name, bars::draw(title, *quantity, &self.group(group))?))
        });
        let lines =
            LINES.iter().filter_map(|(name, growth, group)| Some((*name, growth.draw(&self.group(group))?)));
        for (name, picture) in bars.chain(lines) {
            fs::write(folder.join(format!("{prefix}{name}.svg")), picture)?;
        }
        Ok(())
    }

    /// The scenarios whose names begin so.
    fn group(&self, beginning: &str) -> Vec<&Scenario> {
        self.scenarios.iter().filter(|scenario| scenario.name.starts_with(beginning)).collect()
    }

    /// All tables and bounds as a page in Markdown.
    pub fn page(&self) -> String {
        let mut text = String::from(
            "# Results of a benchmark\n\nMade by `make bench-pictures`; what the figures mean stands in [performance.md](performance.md).\n\n",
        );
        let machine = &self.machine;
        let mut line = |words: String| writeln!(text, "{words}").expect("text grows");
        line(format!(
            "* {} processors ({}), {} MiB of memory",
            machine.cores, machine.processor, machine.memory
        ));
        line(format!("* Linux {}", machine.kernel));
        line(format!("* {} rounds of {} ms", self.rounds, self.milliseconds));
        for (name, version) in &machine.programs {
            line(format!("* {name}: {version}"));
        }
        for left_out in &machine.left_out {
            line(format!("* left out: {left_out}"));
        }
        for scenario in &self.scenarios {
            line(format!("\n{}", Table::new(scenario).markdown().trim_end()));
        }
        line("\n## Bounds\n\n| scenario | bound | figure | |\n| --- | --- | ---: | --- |".into());
        for verdict in &self.bounds {
            let kept = if verdict.kept { "kept" } else { "**missed**" };
            line(format!("| {} | {} | {:.2} | {kept} |", verdict.scenario, verdict.what, verdict.figure));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{report, scenario};
    use super::super::svg::tests::assert_well_formed;
    use super::*;
    use crate::Folder;

    #[test]
    fn a_report_becomes_the_pictures_that_it_has_figures_for_and_a_page() {
        let cost = |name: &str| scenario(name, Cpu, &[("socksd", 1.0), ("danted", 2.0)]);
        let mut report = report(vec![cost("bulk/down/1"), cost("bulk/down/16"), cost("bulk/up/1")]);
        report.machine.left_out.push("3proxy: not on the PATH".into());
        let folder = Folder::new();
        report.write_pictures(folder.path(), "performance-").expect("a folder of our own");
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .expect("a folder of our own")
            .map(|file| file.expect("a file").file_name().into_string().expect("a name"))
            .collect();
        names.sort();
        assert_eq!(names, ["performance-bulk-cpu.svg", "performance-growth-tunnels.svg"]);
        for name in names {
            assert_well_formed(&fs::read_to_string(folder.file(&name)).expect("it was written"));
        }
        let page = report.page();
        assert!(
            page.contains("* left out: 3proxy") && page.contains("**bulk/down/16 (bulk/down/16)**"),
            "{page}"
        );
    }
}
