//! Where files are: what the command line says, or else `/etc`, `/run` and
//! `/var/lib` for root and the XDG directories for everyone else.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use musher_coordinator::config::ConfigFile;
use musher_worker::places::WorkerPlaces;

use crate::cli::GlobalArgs;

/// The files and directories of one installation. All paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    /// The configuration.
    pub(crate) config: ConfigFile,
    /// Where sockets are.
    pub(crate) run: PathBuf,
    /// Where logs, stores and the like are kept.
    pub(crate) state: PathBuf,
    /// Where Nix keeps its configuration; none for a user without a home.
    nix_conf_dir: Option<PathBuf>,
    /// Where this user's worker keeps what. Its sockets are with the rest: what
    /// `XDG_RUNTIME_DIR` says differs from one session of a user to another.
    pub(crate) worker: WorkerPlaces,
    /// The options by which another process finds the same places.
    pub(crate) options: Vec<String>,
    /// Whether the command line names the state.
    state_is_named: bool,
}

/// What a coordinator has to have where the command line names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Config,
    State,
}

impl Named {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Config => "configuration",
            Self::State => "state",
        }
    }
}

/// Places that cannot be known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlacesError {
    /// A user without a home.
    #[error("cannot find {what}: `HOME` is not set")]
    NoHome {
        what: &'static str,
        /// The option by which to do without.
        option: &'static str,
    },
    /// A relative path, in a directory that is gone.
    #[error("cannot make `{}` an absolute path", path.display())]
    Relative {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl PlacesError {
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::NoHome { option, .. } => Some(format!("set it, or give `{option}`")),
            Self::Relative { .. } => None,
        }
    }
}

/// The directories used where the command line says nothing; none for a user
/// without a home.
struct Usual {
    config: Option<PathBuf>,
    run: Option<PathBuf>,
    state: Option<PathBuf>,
    nix_conf_dir: Option<PathBuf>,
}

impl Places {
    /// The places of this process.
    pub(crate) fn find(args: &GlobalArgs) -> Result<Self, PlacesError> {
        let usual = Usual::find(rustix::process::geteuid().is_root(), |name| {
            env::var_os(name)
        });
        Self::with(args, usual)
    }

    fn with(args: &GlobalArgs, usual: Usual) -> Result<Self, PlacesError> {
        let config = args.config.as_deref().map(absolute).transpose()?;
        let run = args.run.as_deref().map(absolute).transpose()?;
        let state = args.state.as_deref().map(absolute).transpose()?;
        let given = [("--config", &config), ("--run", &run), ("--state", &state)];
        let options = given.into_iter().filter_map(|(option, path)| {
            let path = path.as_ref()?.to_string_lossy().into_owned();
            Some([option.to_owned(), path])
        });
        let options = options.flatten().collect();
        let without = |what, option| move || PlacesError::NoHome { what, option };
        let worker = match (&state, &usual.state) {
            (Some(state), _) => state.clone(),
            (None, usual) => {
                let usual = usual.as_ref();
                let usual = usual.ok_or_else(without("where things are kept", "--state"))?;
                usual.join("worker")
            }
        };
        Ok(Self {
            options,
            worker: WorkerPlaces {
                run: run.clone().unwrap_or_else(|| worker.join("run")),
                state: worker,
            },
            config: match config {
                Some(path) => ConfigFile::Given(path),
                None => {
                    let dir = usual.config;
                    let dir = dir.ok_or_else(without("the configuration", "--config"))?;
                    ConfigFile::Usual(dir.join("musher.toml"))
                }
            },
            run: (run.or(usual.run)).ok_or_else(without("where sockets are", "--run"))?,
            state_is_named: state.is_some(),
            state: (state.or(usual.state))
                .ok_or_else(without("where things are kept", "--state"))?,
            nix_conf_dir: usual.nix_conf_dir,
        })
    }

    /// Where Nix keeps its configuration.
    pub(crate) fn nix_conf_dir(&self) -> Result<&Path, PlacesError> {
        self.nix_conf_dir.as_deref().ok_or(PlacesError::NoHome {
            what: "Nix's configuration",
            option: "--nix-conf",
        })
    }

    /// What of a coordinator's the command line names, and where it is.
    pub(crate) fn named(&self) -> Vec<(Named, &Path)> {
        let config = match &self.config {
            ConfigFile::Given(path) => Some((Named::Config, path.as_path())),
            ConfigFile::Usual(_) => None,
        };
        let state = self
            .state_is_named
            .then_some((Named::State, self.state.as_path()));
        config.into_iter().chain(state).collect()
    }
}

/// A path as it reads from any directory.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf, PlacesError> {
    std::path::absolute(path).map_err(|source| PlacesError::Relative {
        path: path.to_path_buf(),
        source,
    })
}

impl Usual {
    fn find(is_root: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        // The XDG specification wants relative paths ignored.
        let dir = |name: &str| {
            variable(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        if is_root {
            return Self {
                config: Some(PathBuf::from("/etc/musher")),
                run: Some(PathBuf::from("/run/musher")),
                state: Some(PathBuf::from("/var/lib/musher")),
                nix_conf_dir: dir("NIX_CONF_DIR").or_else(|| Some(PathBuf::from("/etc/nix"))),
            };
        }
        let below_home = |name: &str, usual: &str| {
            dir(name).or_else(|| dir("HOME").map(|home| home.join(usual)))
        };
        let config = below_home("XDG_CONFIG_HOME", ".config");
        let state = below_home("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("musher"));
        let beside = |name: &str| config.as_ref().map(|config| config.join(name));
        let of_session = dir("XDG_RUNTIME_DIR").map(|dir| dir.join("musher"));
        Self {
            nix_conf_dir: dir("NIX_CONF_DIR").or_else(|| beside("nix")),
            config: beside("musher"),
            run: of_session.or_else(|| state.as_ref().map(|state| state.join("run"))),
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The usual places, given the environment as `NAME=value` words.
    fn places(is_root: bool, environment: &str) -> Result<Places, PlacesError> {
        with(&NOTHING, is_root, environment)
    }

    fn with(args: &GlobalArgs, is_root: bool, environment: &str) -> Result<Places, PlacesError> {
        let variable = |name: &str| {
            let mut words = environment
                .split(' ')
                .filter_map(|word| word.split_once('='));
            words
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.into())
        };
        Places::with(args, Usual::find(is_root, variable))
    }

    const NOTHING: GlobalArgs = GlobalArgs {
        config: None,
        run: None,
        state: None,
        json: false,
        verbose: false,
    };

    #[test]
    fn root_has_the_system_directories() {
        let places = places(true, "HOME=/root XDG_CONFIG_HOME=/x").expect("places");
        assert_eq!(places.config.path(), "/etc/musher/musher.toml");
        assert_eq!(places.run, Path::new("/run/musher"));
        assert_eq!(places.state, Path::new("/var/lib/musher"));
        assert_eq!(places.nix_conf_dir().ok(), Some(Path::new("/etc/nix")));
        assert_eq!(places.worker.state, Path::new("/var/lib/musher/worker"));
        assert_eq!(places.worker.run, Path::new("/var/lib/musher/worker/run"));
        assert!(places.options.is_empty());
    }

    #[test]
    fn others_have_the_xdg_directories() {
        let bare = places(false, "HOME=/home/a XDG_RUNTIME_DIR=relative").expect("places");
        assert_eq!(bare.config.path(), "/home/a/.config/musher/musher.toml");
        assert_eq!(bare.state, Path::new("/home/a/.local/state/musher"));
        assert_eq!(bare.run, bare.state.join("run"));
        let xdg = "XDG_CONFIG_HOME=/c XDG_STATE_HOME=/s XDG_RUNTIME_DIR=/r";
        let full = places(false, xdg).expect("places");
        assert_eq!(full.config.path(), "/c/musher/musher.toml");
        assert_eq!(full.nix_conf_dir().ok(), Some(Path::new("/c/nix")));
        assert_eq!(full.state, Path::new("/s/musher"));
        assert_eq!(full.run, Path::new("/r/musher"));
    }

    #[test]
    fn a_home_is_looked_for_only_where_it_is_needed() {
        let given = GlobalArgs {
            config: Some("/x/c.toml".into()),
            run: Some("/x/run".into()),
            state: Some("/x/state".into()),
            ..NOTHING
        };
        let found = with(&given, false, "").expect("places");
        assert_eq!(found.state, Path::new("/x/state"));
        assert_eq!(found.worker.state, Path::new("/x/state"));
        let missing = |args: GlobalArgs, environment: &str| {
            let error = with(&args, false, environment).expect_err("no home");
            error.help().expect("advice")
        };
        let (config, run, state) = (given.config, given.run, given.state);
        let no_config = GlobalArgs {
            run,
            state,
            ..NOTHING
        };
        assert_eq!(missing(no_config, ""), "set it, or give `--config`");
        let no_state = GlobalArgs { config, ..NOTHING };
        let session = "XDG_RUNTIME_DIR=/r";
        assert_eq!(missing(no_state, session), "set it, or give `--state`");
        let nix = found.nix_conf_dir().expect_err("no home");
        assert_eq!(nix.help().as_deref(), Some("set it, or give `--nix-conf`"));
    }

    #[test]
    fn what_is_given_is_handed_on() {
        let usual = Usual::find(true, |_| None);
        let args = GlobalArgs {
            config: Some("/x/c.toml".into()),
            run: Some("/x/run".into()),
            ..NOTHING
        };
        let places = Places::with(&args, usual).expect("places");
        assert_eq!(places.config, ConfigFile::Given("/x/c.toml".into()));
        assert_eq!(places.options, ["--config", "/x/c.toml", "--run", "/x/run"]);
        assert_eq!(places.worker.run, Path::new("/x/run"));
    }
}
