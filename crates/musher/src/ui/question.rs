//! Asks whoever sits at the terminal.

use std::io::{self, BufRead as _, IsTerminal as _};

use super::Ui;
use crate::failure::Failure;

#[derive(Debug, thiserror::Error)]
enum QuestionError {
    #[error("there is nobody to ask: {question}")]
    Nobody { question: String },
    #[error("cannot read the answer")]
    Read { source: io::Error },
}

impl Ui {
    /// Asks a question that is answered by yes or no; anything but yes is no.
    /// Without a terminal it fails, and `help` says how to do without.
    pub(crate) fn confirm(&self, question: &str, help: &str) -> Result<bool, Failure> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            let question = question.to_owned();
            return Err(Failure::user(QuestionError::Nobody { question }).help(help.to_owned()));
        }
        self.say(&format!("{question} [y/N] "));
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer);
        read.map_err(|source| Failure::environment(QuestionError::Read { source }))?;
        Ok(is_yes(&answer))
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(is_yes("y\n") && is_yes(" YES "));
        assert!(!is_yes("") && !is_yes("yess") && !is_yes("n\n"));
    }
}
