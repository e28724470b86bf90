//! Pictures in SVG: shapes and words, readable on light and on dark pages.

use std::fmt::{self, Display, Write};

/// A picture that grows.
#[derive(Debug)]
pub(super) struct Svg {
    body: String,
    title: String,
    width: f64,
    height: f64,
}

/// Where a text stands at its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Colours of the paper, the words and the lines, and of the contenders by their class.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1f2328}.title{font-size:15px;font-weight:600}.small{fill:#59636e;font-size:11px}
.paper{fill:#fff}.grid{stroke:#d1d9e0}.whisker{stroke:#1f2328}
.ours{fill:#0969da;stroke:#0969da}.ours-full{fill:#54aeff;stroke:#54aeff}.base{fill:#8c959f;stroke:#8c959f}
.peer-0{fill:#bc4c00;stroke:#bc4c00}.peer-1{fill:#bf8700;stroke:#bf8700}.peer-2{fill:#1a7f37;stroke:#1a7f37}
.peer-3{fill:#8250df;stroke:#8250df}.peer-4{fill:#bf3989;stroke:#bf3989}.peer-5{fill:#1b7c83;stroke:#1b7c83}
polyline{fill:none !important;stroke-width:2}
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.small{fill:#9198a1}.paper{fill:#0d1117}
.grid{stroke:#3d444d}.whisker{stroke:#f0f6fc}}
";

impl Svg {
    /// An empty one of that size.
    pub(super) fn new(title: &str, width: f64, height: f64) -> Self {
        let svg = Self { body: String::new(), title: title.into(), width, height };
        svg.with_paper()
    }

    fn with_paper(mut self) -> Self {
        let (width, height, title) = (self.width, self.height, self.title.clone());
        self.rectangle([0.0, 0.0], [width, height], "paper");
        self.text([16.0, 26.0], (Anchor::Start, "title"), title);
        self
    }

    /// Words; what XML would read otherwise is escaped.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], (anchor, class): (Anchor, &str), words: impl Display) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let words = Escaped(words.to_string());
        self.add(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{words}</text>"
        ));
    }

    /// A filled rectangle.
    pub(super) fn rectangle(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], class: &str) {
        self.add(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" class=\"{class}\"/>"
        ));
    }

    /// A straight line.
    pub(super) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], class: &str) {
        self.add(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    /// Points with lines between them.
    pub(super) fn path(&mut self, points: &[[f64; 2]], class: &str) {
        let all: Vec<_> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!("<polyline points=\"{}\" class=\"{class}\"/>", all.join(" ")));
        for [x, y] in points {
            self.add(format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" class=\"{class}\"/>"));
        }
    }

    fn add(&mut self, element: fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("text grows");
    }
}

impl Display for Svg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { body, title, width, height } = self;
        let title = Escaped(title.clone());
        write!(
            f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n\
             <style>{STYLE}</style>\n{body}</svg>\n"
        )
    }
}

/// Text in which nothing is a mark of XML.
struct Escaped(String);

impl Display for Escaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            // XML has no other control characters.
            letter if letter.is_control() && !"\t\n\r".contains(letter) => f.write_char('\u{fffd}'),
            letter => f.write_char(letter),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Checks that every element is closed in order, and that nothing else looks like one.
    #[track_caller]
    pub(in crate::bench) fn assert_well_formed(text: &str) {
        let mut open = Vec::new();
        for part in text.split('<').skip(1) {
            let (tag, words) = part.split_once('>').expect("an element is closed");
            assert!(!words.contains('>'), "a mark in the words: {words}");
            for entity in words.split('&').skip(1).chain(tag.split('&').skip(1)) {
                let known = ["amp;", "lt;", "gt;", "quot;"].iter().any(|name| entity.starts_with(name));
                assert!(known, "no entity: {entity}");
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "a value is not closed: {tag}");
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name), "{tag}");
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().expect("a name"));
            }
        }
        assert!(open.is_empty(), "{open:?} is not closed");
    }

    #[test]
    fn words_are_escaped_and_every_element_is_closed() {
        let mut svg = Svg::new("a < b & \"c\"", 200.0, 100.0);
        svg.text([1.0, 2.0], (Anchor::End, "small"), "</text><script>&\u{1}");
        svg.rectangle([0.0, 0.0], [1.0, 1.0], "ours");
        svg.line([0.0, 0.0], [1.0, 1.0], "grid");
        svg.path(&[[0.0, 0.0], [1.0, 1.5]], "ours");
        let text = svg.to_string();
        assert_well_formed(&text);
        assert!(text.contains("<title>a &lt; b &amp; &quot;c&quot;</title>"), "{text}");
        assert!(text.contains(">&lt;/text&gt;&lt;script&gt;&amp;\u{fffd}</text>"), "{text}");
        assert!(text.contains("points=\"0.0,0.0 1.0,1.5\""), "{text}");
    }
}
