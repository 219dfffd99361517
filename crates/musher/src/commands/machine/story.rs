//! The steps of adding or removing a machine, told as they are made.

use crate::check::{Check, Finding};
use crate::failure::Failure;
use crate::ui::Ui;

/// As long as the longest name of a step.
const WIDTH: usize = "authorized_keys".len();

/// The steps so far.
#[derive(Debug)]
pub(super) struct Story {
    ui: Ui,
    steps: Vec<Check>,
}

impl Story {
    pub(super) fn new(ui: Ui) -> Self {
        Self {
            ui,
            steps: Vec::new(),
        }
    }

    /// Tells of a step that was made.
    pub(super) fn tell(
        &mut self,
        step: &'static str,
        finding: impl Into<Finding>,
    ) -> Result<(), Failure> {
        let step = Check::new(step, Ok(finding.into()));
        if !self.ui.json {
            self.ui.text(&step.text("", WIDTH))?;
        }
        self.steps.push(step);
        Ok(())
    }

    /// Every step, for whoever reads JSON.
    pub(super) fn into_steps(self) -> Vec<Check> {
        self.steps
    }
}

impl From<String> for Finding {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

impl From<&str> for Finding {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}
