//! `musher machine remove`

use std::path::{Path, PathBuf};

use clap::Args;
use musher_coordinator::config::{Machine, MachineKind, MachineName};
use musher_coordinator::enrol::{
    Cleaned, Cleaning, FoundHostKey, Login, LoginKey, Mark, PublicKey, ShimScript, remove_entry,
};
use musher_coordinator::setup::replace_file;
use musher_store::url::SshStore;
use serde::Serialize;

use super::configuration::{existing, read_text};
use super::lookup::machine;
use super::reload;
use super::story::Story;
use super::visit::{self, Trust, login_failure, this_host};
use crate::check::{Check, Finding};
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::remotes::{ConnectArgs, Remotes, with_remotes};

/// Take a machine out of musher.toml, and everything of musher's off it
///
/// Logs in with your own ssh, which may ask for a password, and removes there
/// what `machine add` put there: the key's line in authorized_keys, the
/// programs, and the worker with its store. If another coordinator uses them
/// too, only the key's line goes.
#[derive(Debug, Args)]
pub(crate) struct RemoveArgs {
    /// The machine
    name: String,
    /// Ask nothing
    #[arg(long, short)]
    yes: bool,
    /// Take it out of musher.toml even if the host cannot be reached
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, thiserror::Error)]
enum RemoveError {
    #[error("machine `{name}` stands in `{}`, which is not musher's to change", file.display())]
    OtherFile { name: MachineName, file: PathBuf },
    #[error("nothing was removed")]
    Declined,
}

/// What was done, in JSON.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct RemoveRecord<'a> {
    name: &'a str,
    /// The configuration.
    file: &'a Path,
    /// Whether nothing of ours is left on the machine, as far as is known.
    cleaned: bool,
    /// What was done, in order.
    steps: Vec<Check>,
}

impl RemoveArgs {
    pub(crate) fn run(self, context: &Context) -> Result<Outcome, Failure> {
        let config = existing(context)?;
        let machine = machine(&config, &self.name)?;
        let file = context.places.config.path();
        if machine.origin.file != file {
            let name = machine.name.clone();
            let file = machine.origin.file.clone();
            let help = "take its line out by hand".to_owned();
            return Err(Failure::user(RemoveError::OtherFile { name, file }).help(help));
        }
        with_remotes(context, &self.connect, async |remotes| {
            let mut story = Story::new(context.ui);
            let cleaned = match worker_host(machine) {
                Some(store) => {
                    self.clean(context, remotes, &mut story, machine, store)
                        .await?
                }
                // Stock Nix, or a command: nothing of ours was put there.
                None => {
                    let file = file.display();
                    let question = format!("take `{}` out of `{file}`?", machine.name);
                    self.confirm(context, &question)?;
                    true
                }
            };
            take_out(context, &mut story, machine)?;
            reload::tell_daemon(context, &mut story).await?;
            if context.ui.json {
                context.ui.json(&RemoveRecord {
                    name: machine.name.as_str(),
                    file,
                    cleaned,
                    steps: story.into_steps(),
                })?;
            }
            Ok(Outcome::Done)
        })
    }

    /// Removes what is ours on the machine. False if it cannot be reached, and
    /// that was to be no obstacle.
    async fn clean(
        &self,
        context: &Context,
        remotes: &Remotes,
        story: &mut Story,
        machine: &Machine,
        store: &SshStore,
    ) -> Result<bool, Failure> {
        let key = match &store.key {
            Some(path) => LoginKey::given(path).await.ok().map(|key| key.public),
            None => None,
        };
        let visit = Visit {
            key,
            mark: Mark::new(machine.name.as_str(), &this_host()),
        };
        let login = match self.log_in(context, remotes, story, store).await {
            Ok(login) => login,
            Err(failure) if self.force => {
                let question = format!(
                    "`{}` cannot be reached; take it out of musher.toml and leave what is there?",
                    machine.name
                );
                self.confirm(context, &question)?;
                story.tell("login", unreachable(&failure, &visit.mark))?;
                return Ok(false);
            }
            Err(failure) => {
                let help = failure.advice().map(|help| format!("{help}\n"));
                let help =
                    help.unwrap_or_default() + "`--force` takes it out of musher.toml all the same";
                return Err(failure.help(help));
            }
        };
        let found = login.find_shim(visit.key.as_ref(), &visit.mark).await;
        let found = found.map_err(login_failure)?;
        let name = &machine.name;
        self.confirm(
            context,
            &match &found {
                Some(shim) => format!(
                    "remove `{name}` with all of musher's that is in `{}` and `{}` there?",
                    shim.files, shim.state
                ),
                None => format!(
                    "remove `{name}`, where no files of musher's are known, with its key's line \
                     in `authorized_keys`?"
                ),
            },
        )?;
        visit.clean(story, &login, found).await?;
        Ok(true)
    }

    async fn log_in(
        &self,
        context: &Context,
        remotes: &Remotes,
        story: &mut Story,
        store: &SshStore,
    ) -> Result<Login, Failure> {
        let host_key = match &store.host_key {
            Some(key) => key.clone(),
            None => {
                let trust = if self.yes {
                    Trust::FirstUse
                } else {
                    Trust::Ask
                };
                visit::host_key(context, remotes, story, &store.authority, &trust).await?
            }
        };
        let prints = FoundHostKey {
            key: host_key.clone(),
            known: true,
        };
        let login = visit::login(remotes, &store.authority, &host_key).await?;
        let prints = prints.fingerprints().join(", ");
        story.tell(
            "login",
            format!("at `{}`, which has {prints}", store.authority),
        )?;
        Ok(login)
    }

    /// Asks, unless nothing shall be asked.
    fn confirm(&self, context: &Context, question: &str) -> Result<(), Failure> {
        if self.yes || context.ui.confirm(question, "`--yes` asks nothing")? {
            return Ok(());
        }
        Err(Failure::user(RemoveError::Declined))
    }
}

/// By what our line is known.
struct Visit {
    key: Option<PublicKey>,
    mark: Mark,
}

impl Visit {
    async fn clean(
        &self,
        story: &mut Story,
        login: &Login,
        shim: Option<ShimScript>,
    ) -> Result<(), Failure> {
        let removed = login.remove_key(self.key.as_ref(), &self.mark).await;
        let line = match removed.map_err(login_failure)? {
            true => "the key may no longer log in",
            false => "the key was not there",
        };
        story.tell("authorized_keys", line)?;
        let Some(shim) = shim else {
            return story.tell("files", "none of ours are known there");
        };
        if login.is_in_use(&shim).await.map_err(login_failure)? {
            return story.tell("files", "left there: another coordinator uses them");
        }
        let cleaned = login.clean(&shim, &Cleaning::All).await;
        story.tell("files", told(&cleaned.map_err(login_failure)?))
    }
}

/// What was removed, as a person reads it.
fn told(cleaned: &Cleaned) -> String {
    let names = |paths: &[String]| {
        let names: Vec<String> = paths.iter().map(|path| format!("`{path}`")).collect();
        names.join(" and ")
    };
    let removed = match cleaned.removed.as_slice() {
        [] => "nothing was left".to_owned(),
        paths => format!("{} removed", names(paths)),
    };
    match cleaned.left.as_slice() {
        [] => removed,
        paths => format!("{removed}; {} left, where others keep files", names(paths)),
    }
}

/// The host of a machine where a worker of ours was put.
fn worker_host(machine: &Machine) -> Option<&SshStore> {
    let store = machine.connect.ssh()?;
    (machine.kind == MachineKind::Musher && store.remote_program.is_empty()).then_some(store)
}

fn unreachable(failure: &Failure, mark: &Mark) -> Finding {
    let why = failure.texts().join(": ");
    let text = format!("the machine was not reached, and was left as it is: {why}");
    // What `machine add --dir` was given is known there alone.
    let help = format!(
        "on the machine the line that ends with `{}` in `~/.ssh/authorized_keys` names a script, \
         whose second line has the directories of the programs, `files=`, and of the worker, \
         `state=`; remove these two, then the line. Without `--dir` they are `~/.cache/musher` \
         and `~/.local/state/musher/worker`",
        mark.as_str()
    );
    Finding::new(text).warn(help)
}

/// Takes the machine out of the configuration, and removes its key if it is one
/// that was made for it.
fn take_out(context: &Context, story: &mut Story, machine: &Machine) -> Result<(), Failure> {
    let file = context.places.config.path();
    let text = read_text(file)?.unwrap_or_default();
    if let Some(after) = remove_entry(&text, file, &machine.name)? {
        replace_file(file, &after)?;
    }
    let what = format!("`{}` taken out of `{}`", machine.name, file.display());
    story.tell("configuration", what)?;
    let own = LoginKey::place(file, machine.name.as_str());
    let key = machine.connect.ssh().and_then(|store| store.key.as_ref());
    if key == Some(&own) {
        LoginKey::remove(&own).map_err(|error| {
            let help = error.help();
            Failure::environment(error).help(help)
        })?;
        story.tell("key", format!("`{}` removed", own.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever `--dir` was, who follows the advice finds what is left.
    #[test]
    fn what_is_left_can_be_found() {
        let mark = Mark::new("big", "here");
        let failure = Failure::environment("nobody answers");
        let help = unreachable(&failure, &mark).warnings.concat();
        assert!(help.contains(mark.as_str()), "{help}");
        let shim =
            ShimScript::new("/scratch/musher/cache", "/scratch/musher/state").expect("a shim");
        let text = shim.text();
        let line = text.lines().nth(1).expect("a second line");
        for word in ["files=", "state="] {
            assert!(line.contains(word), "{line}");
            assert!(help.contains(word), "{help}");
        }
    }
}
