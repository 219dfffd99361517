//! The steps of adding a machine, in their order.

use std::path::PathBuf;

use musher_coordinator::config::{Config, Machine, MachineName};
use musher_coordinator::enrol::{
    Before, Binary, Entry, Login, LoginKey, Mark, Proposal, ShimScript, Survey, install, notes,
    obstacles,
};
use musher_coordinator::setup::replace_file;
use musher_store::ssh::Link;
use musher_store::url::{Authority, HostKey};
use tokio::task::spawn_blocking;

use super::super::configuration::read_text;
use super::super::reload;
use super::super::story::Story;
use super::super::visit::{self, Trust, login_failure, this_host};
use super::AddArgs;
use super::error;
use super::ledger::{Ledger, Line};
use super::record::{self, AddRecord};
use super::worker::try_worker;
use crate::context::Context;
use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::places::absolute;
use crate::remotes::Remotes;
use crate::ui::quantity;

/// A machine being added.
pub(super) struct Enrolment<'a> {
    pub(super) context: &'a Context,
    pub(super) remotes: &'a Remotes,
    pub(super) args: &'a AddArgs,
    pub(super) config: &'a Config,
    pub(super) authority: &'a Authority,
    /// This very machine, if it was added before.
    pub(super) earlier: Option<&'a Machine>,
    pub(super) ledger: Ledger,
}

impl Enrolment<'_> {
    /// Makes every step. What an error leaves behind stands in the ledger.
    pub(super) async fn run(&mut self) -> Result<Outcome, Failure> {
        let mut story = Story::new(self.context.ui);
        let binary = self.binary();
        let host_key = self.host_key(&mut story).await?;
        let login = visit::login(self.remotes, self.authority, &host_key).await?;
        let binary = binary.await?;
        let survey = self.look(&mut story, &login, &binary).await?;
        let mut wishes = self.args.wishes();
        if let (None, Some(earlier)) = (&wishes.name, self.earlier) {
            wishes.name = Some(earlier.name.clone());
        }
        let proposal = Proposal::new(&survey, self.authority, &wishes);
        self.check_name(&proposal.name)?;
        story.tell("proposal", record::proposal(&proposal))?;
        let key_path = self.key_path(&proposal.name)?;
        let entry = entry(&proposal, self.authority, &host_key, &key_path);
        if self.args.dry_run {
            return self.end(story, &entry, false);
        }

        let shim =
            ShimScript::new(&survey.files.path, &survey.state.path).map_err(error::odd_path)?;
        let shim = match self.args.no_sandbox {
            true => shim.without_sandbox(),
            false => shim,
        };
        let before = login.before(&shim, &binary.hash).await;
        let before = before.map_err(login_failure)?;
        let Ledger {
            login: noted,
            key: made,
            shim: put,
            line,
        } = &mut self.ledger;
        let login = noted.insert(login);
        let is_made = self.args.ssh_key.is_none() && !key_path.exists();
        *made = is_made.then(|| key_path.clone());
        let key = match &self.args.ssh_key {
            Some(_) => LoginKey::given(&key_path).await,
            None => LoginKey::make(&key_path, &format!("musher {}", proposal.name)).await,
        };
        let key = key.map_err(error::key)?;
        let how = if key.is_new { "made" } else { "is there" };
        story.tell("key", format!("`{}` {how}", key_path.display()))?;

        *put = Some((shim.clone(), before.clone(), binary.hash.clone()));
        if !before.has(&shim) {
            login.put_shim(&shim).await.map_err(login_failure)?;
        }
        story.tell("shim", shim_told(&shim, &before))?;

        let mark = Mark::new(proposal.name.as_str(), &this_host());
        let note = |before| {
            *line = Some(Line {
                key: key.public.clone(),
                mark: mark.clone(),
                before,
            });
        };
        let added = login.add_key(&key.public, &shim, &mark, note).await;
        let told = match added.map_err(login_failure)? {
            true => "the key may start the worker, and do nothing else",
            false => "the key is there",
        };
        story.tell("authorized_keys", told)?;

        let mut options = self.remotes.ssh_options().clone();
        options.own_key_only = true;
        let target = visit::target(self.authority, Some(&host_key), Some(&key_path));
        let link = self.remotes.link(target, options);
        self.copy(&mut story, &link, &binary, &before).await?;
        let system = entry.systems.first().map_or("builtin", String::as_str);
        let sandbox_paths = self.config.settings.sandbox_paths(self.earlier);
        try_worker(&mut story, link, &binary.hash, system, &sandbox_paths).await?;
        let written = self.write(&mut story, &entry)?;
        reload::tell_daemon(self.context, &mut story).await?;
        self.end(story, &entry, written)
    }

    /// The program for the machine, read while others are waited for.
    fn binary(&self) -> impl Future<Output = Result<Binary, Failure>> + use<> {
        let path = self.args.binary.clone();
        let opened = spawn_blocking(move || match path {
            Some(path) => Binary::open(&path),
            None => Binary::own(),
        });
        async {
            opened
                .await
                .map_err(Failure::environment)?
                .map_err(error::binary)
        }
    }

    async fn host_key(&self, story: &mut Story) -> Result<HostKey, Failure> {
        let pinned = self
            .earlier
            .and_then(|machine| machine.connect.ssh()?.host_key.clone());
        let trust = match pinned {
            Some(key) => Trust::Pinned(key),
            None => self.args.trust(),
        };
        visit::host_key(self.context, self.remotes, story, self.authority, &trust).await
    }

    /// What the machine is, unless something keeps it from building.
    async fn look(
        &self,
        story: &mut Story,
        login: &Login,
        binary: &Binary,
    ) -> Result<Survey, Failure> {
        let surveyed = login.survey(self.args.dir.as_deref()).await;
        let (survey, noise) = surveyed.map_err(login_failure)?;
        story.tell(
            "login",
            format!("as `{}` on `{}`, by your ssh", survey.user, survey.host),
        )?;
        story.tell("machine", record::survey(&survey, notes(&survey)))?;
        match obstacles(&survey, &noise, binary).as_slice() {
            [] => Ok(survey),
            found => Err(error::obstacles(found)),
        }
    }

    /// A name may only be that of this very machine.
    fn check_name(&self, name: &MachineName) -> Result<(), Failure> {
        match self.config.machine(name.as_str()) {
            Some(machine)
                if self
                    .earlier
                    .is_none_or(|earlier| earlier.name != machine.name) =>
            {
                Err(error::name_taken(machine))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn key_path(&self, name: &MachineName) -> Result<PathBuf, Failure> {
        Ok(match &self.args.ssh_key {
            Some(path) => absolute(path)?,
            None => LoginKey::place(self.context.places.config.path(), name.as_str()),
        })
    }

    async fn copy(
        &self,
        story: &mut Story,
        link: &Link,
        binary: &Binary,
        before: &Before,
    ) -> Result<(), Failure> {
        let size = quantity::size(binary.size);
        let what = format!("{size}, {}", binary.hash.short());
        if before.program {
            return story.tell("program", format!("{what} is there"));
        }
        let mut progress = self.context.ui.progress();
        let installed = install(link, binary, None, |sent| {
            progress.update(|| format!("copying {} of {size}", quantity::size(sent)));
        });
        installed.await.map_err(error::install)?;
        drop(progress);
        story.tell("program", format!("{what} copied"))
    }

    /// Writes the table, and says whether there was none before. From then on
    /// it is a machine, and nothing is taken back.
    fn write(&mut self, story: &mut Story, entry: &Entry) -> Result<bool, Failure> {
        let file = self.context.places.config.path();
        let before = read_text(file)?;
        let written = entry.write(before.as_deref().unwrap_or_default(), file)?;
        if before.as_deref() != Some(written.text.as_str()) {
            replace_file(file, &written.text)?;
        }
        self.ledger.settle();
        let how = if written.existed { "is in" } else { "added to" };
        story.tell(
            "configuration",
            format!("`{}` {how} `{}`", entry.name, file.display()),
        )?;
        Ok(!written.existed)
    }

    fn end(&self, story: Story, entry: &Entry, added: bool) -> Result<Outcome, Failure> {
        let ui = self.context.ui;
        if ui.json {
            ui.json(&AddRecord {
                name: entry.name.as_str(),
                file: self.context.places.config.path(),
                toml: entry.text(),
                added,
                steps: story.into_steps(),
            })?;
        } else if self.args.dry_run {
            ui.text(&format!("\n{}", entry.text()))?;
        } else {
            ui.note(&format!(
                "`musher machine remove {}` undoes all of this",
                entry.name
            ));
        }
        Ok(Outcome::Done)
    }
}

fn entry(
    proposal: &Proposal,
    authority: &Authority,
    host_key: &HostKey,
    key: &std::path::Path,
) -> Entry {
    Entry {
        name: proposal.name.clone(),
        authority: authority.clone(),
        systems: proposal.systems.clone(),
        max_jobs: proposal.max_jobs,
        features: proposal.features.clone(),
        ssh_key: key.to_string_lossy().into_owned(),
        host_key: host_key.clone(),
    }
}

fn shim_told(shim: &ShimScript, before: &Before) -> String {
    let how = match before.has_some_shim() {
        true if before.has(shim) => "is there",
        true => "brought up to date",
        false => "put there",
    };
    format!("`{}` {how}", shim.path())
}
