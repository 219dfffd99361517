//! What is known of one thing, a line each: a label and a value.

/// Labels and values to print.
#[derive(Debug, Default)]
pub(crate) struct Fields {
    rows: Vec<(&'static str, String)>,
    indent: usize,
}

impl Fields {
    /// Fields whose lines begin with this many blanks.
    pub(crate) fn indented(indent: usize) -> Self {
        Self {
            rows: Vec::new(),
            indent,
        }
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, label: &'static str, value: impl Into<String>) {
        self.rows.push((label, value.into()));
    }

    /// Adds a line if there is a value.
    pub(crate) fn add_some(&mut self, label: &'static str, value: Option<impl Into<String>>) {
        if let Some(value) = value {
            self.add(label, value);
        }
    }

    /// The lines, the values under each other; so are the further lines of one
    /// value.
    pub(crate) fn render(&self) -> String {
        let label_width = self.rows.iter().map(|(label, _)| label.len()).max();
        let width = label_width.unwrap_or(0) + 2;
        let indent = " ".repeat(self.indent);
        let next_line = format!("\n{indent}{}", " ".repeat(width));
        let line = |(label, value): &(&str, String)| {
            let value = value.replace('\n', &next_line);
            format!("{}\n", format!("{indent}{label:width$}{value}").trim_end())
        };
        self.rows.iter().map(line).collect()
    }
}
