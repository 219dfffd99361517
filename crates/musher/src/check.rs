//! Things that were looked at, and how they are: what `doctor` and `machine test`
//! have to tell, for people and as JSON.

use musher_api::worker as api;
use serde::Serialize;

use crate::failure::Failure;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Check {
    pub(crate) check: String,
    pub(crate) state: State,
    /// What was found out, or what is wrong.
    pub(crate) text: String,
    /// Why it is, the nearest cause first.
    pub(crate) causes: Vec<String>,
    /// What follows from it or could be done.
    pub(crate) help: Vec<String>,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Well.
    Ok,
    /// Well, but there is something to know.
    Warning,
    /// Not well.
    Failed,
}

/// What there is to say of a thing that is well.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) text: String,
    /// What there is to know about it.
    pub(crate) warnings: Vec<String>,
}

impl Finding {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn warn(mut self, warning: impl Into<Option<String>>) -> Self {
        self.warnings.extend(warning.into());
        self
    }
}

/// What a worker found out about its machine, and what to do about it.
pub(crate) fn advice(finding: &api::Finding) -> String {
    match finding.help.is_empty() {
        true => finding.text.clone(),
        false => format!("{}; {}", finding.text, finding.help),
    }
}

impl Check {
    pub(crate) fn new(check: impl Into<String>, result: Result<Finding, Failure>) -> Self {
        let check = check.into();
        match result {
            Ok(finding) => Self {
                check,
                state: match finding.warnings.is_empty() {
                    true => State::Ok,
                    false => State::Warning,
                },
                text: finding.text,
                causes: Vec::new(),
                help: finding.warnings,
            },
            Err(failure) => {
                let mut texts = failure.texts().into_iter();
                Self {
                    check,
                    state: State::Failed,
                    text: texts.next().unwrap_or_default(),
                    causes: texts.collect(),
                    help: failure.advice().map(str::to_owned).into_iter().collect(),
                }
            }
        }
    }

    /// Whether nothing is wrong, though there may be something to know.
    pub(crate) fn is_well(&self) -> bool {
        self.state != State::Failed
    }

    /// A line, and further ones under it for causes and advice. `before` stands
    /// before the name, which has at most `width` characters.
    pub(crate) fn text(&self, before: &str, width: usize) -> String {
        let state = match self.state {
            State::Ok => "ok",
            State::Warning => "warning",
            State::Failed => "FAILED",
        };
        let head = format!("{before}{:width$}  {state:<7}  ", self.check);
        let indent = format!("\n{}", " ".repeat(head.chars().count()));
        let causes = self.causes.iter().map(|cause| format!("cause: {cause}"));
        let help = self.help.iter().map(|help| format!("help:  {help}"));
        let rest: String = (causes.chain(help))
            .map(|line| indent.clone() + &line.replace('\n', &format!("{indent}       ")))
            .collect();
        format!("{head}{}{rest}\n", self.text.replace('\n', &indent))
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn what_there_is_to_know_stands_under_its_step() {
        let steps = [
            Ok(Finding::new("ssh in 80.1 ms")),
            Ok(Finding::new("not trusted").warn("it wants\nsignatures".to_owned())),
            Err(Failure::environment("it ended").help("look\nthere".to_owned())),
        ];
        let text: String = steps
            .map(|result| Check::new("connect", result).text("b1    ", 10))
            .concat();
        expect![[r#"
            b1    connect     ok       ssh in 80.1 ms
            b1    connect     warning  not trusted
                                       help:  it wants
                                              signatures
            b1    connect     FAILED   it ended
                                       help:  look
                                              there
        "#]]
        .assert_eq(&text);
    }
}
