//! A page: one file with its plots inside, readable without a network, on light and dark screens, large and
//! small.

mod plot;
mod run;

use std::fmt::{Display, Write};

pub(crate) use self::plot::{Line, Scale};
pub(crate) use self::run::page;
use super::text::grouped;

const STYLE: &str = include_str!("style.css");

/// How a page's subject ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Held,
    Broken,
    /// It says nothing either way.
    Other,
}

/// A page that is being written. Writing to a string cannot fail: what it returns is dropped.
pub(crate) struct Page(String);

impl Page {
    /// Begins a page whose first word is what came out.
    pub(crate) fn new(title: &str, verdict: Verdict, outcome: &str, headline: &str) -> Self {
        let class = match verdict {
            Verdict::Held => "held",
            Verdict::Broken => "broken",
            Verdict::Other => "other",
        };
        let [title, outcome, headline] = [title, outcome, headline].map(escape);
        let mut page = Self(String::new());
        page.add(format_args!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width,initial-scale=1\"><title>{title}: {outcome}</title><style>\
             {STYLE}</style></head><body><h1>{title}</h1><div class=\"card {class}\"><p><strong \
             class=\"verdict\">{outcome}</strong></p><p>{headline}</p></div>"
        ));
        page
    }

    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = self.0.write_fmt(text);
    }

    pub(crate) fn heading(&mut self, text: &str) {
        self.add(format_args!("<h2>{}</h2>", escape(text)));
    }

    pub(crate) fn note(&mut self, text: &str) {
        self.add(format_args!("<p class=\"note\">{}</p>", escape(text)));
    }

    /// A command, to be copied.
    pub(crate) fn command(&mut self, text: &str) {
        self.add(format_args!("<pre>{}</pre>", escape(text)));
    }

    /// Facts by name.
    pub(crate) fn facts(&mut self, facts: &[(&str, String)]) {
        self.0.push_str("<dl>");
        for (name, fact) in facts {
            self.add(format_args!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(fact)));
        }
        self.0.push_str("</dl>");
    }

    /// A table whose first column is text and whose others are figures.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let class = |column: usize| if column == 0 { "" } else { " class=\"n\"" };
        self.0.push_str("<div class=\"wide\"><table><tr>");
        for (column, cell) in head.iter().enumerate() {
            self.add(format_args!("<th{}>{}</th>", class(column), escape(cell)));
        }
        for row in rows {
            self.0.push_str("</tr><tr>");
            for (column, cell) in row.iter().enumerate() {
                self.add(format_args!("<td{}>{}</td>", class(column), escape(cell)));
            }
        }
        self.0.push_str("</tr></table></div>");
    }

    /// Counts by name, to be unfolded.
    pub(crate) fn counts<'a>(
        &mut self,
        summary: &str,
        counts: impl Iterator<Item = (&'a str, u64)>,
    ) {
        self.add(format_args!("<details><summary>{}</summary>", escape(summary)));
        let rows: Vec<_> =
            counts.map(|(name, count)| vec![name.to_owned(), grouped(count)]).collect();
        self.table(&[summary, ""], &rows);
        self.0.push_str("</details>");
    }

    /// A plot over the time of the run.
    pub(crate) fn plot(&mut self, title: &str, seconds: f64, lines: &[Line], scale: Scale) {
        let title = escape(title);
        self.add(format_args!("<figure><figcaption><h3>{title}</h3></figcaption>"));
        // Beside the plot, where it covers no line.
        if lines.len() > 1 {
            self.0.push_str("<p class=\"legend\">");
            for (line, colour) in lines.iter().zip(plot::colours()) {
                let name = escape(&line.name);
                self.add(format_args!("<span style=\"--line:{colour}\">{name}</span> "));
            }
            self.0.push_str("</p>");
        }
        match plot::plot(seconds, lines, scale) {
            Ok(svg) => {
                let label = title.replace('"', "&quot;");
                let svg =
                    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
                self.add(format_args!("<div class=\"wide\">{svg}</div>"));
            }
            Err(error) => self.note(&format!("No plot: {error}")),
        }
        self.0.push_str("</figure>");
    }

    /// The whole of it.
    pub(crate) fn end(mut self) -> String {
        self.0.push_str("</body></html>\n");
        self.0
    }
}

/// A moment of the calendar in UTC, by the seconds since 1970.
pub(crate) fn date(seconds: u64) -> impl Display {
    let moment = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(moment)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\n', "<br>")
}
