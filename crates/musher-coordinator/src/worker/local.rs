//! A worker that is a child process of ours, with a store of its own. It ends
//! when we do, however we end: its standard input is a pipe that only we hold.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use musher_store::open_files;
use musher_store::transport::{Transport, TransportError, last_words};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::debug;

/// How long it may take to listen, in which it may wait for one before it to go,
/// and to end once its input is closed.
const READY: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(6);

/// A worker on this host that only we use.
pub struct LocalWorker {
    program: PathBuf,
    state: PathBuf,
    run: PathBuf,
    child: Mutex<Option<Child>>,
}

impl LocalWorker {
    /// A worker of `program`, this release of Musher's, that keeps its store
    /// below `state` and its socket below `run`. It is started when it is
    /// needed.
    pub fn new(program: PathBuf, state: PathBuf, run: PathBuf) -> Self {
        Self {
            program,
            state,
            run,
            child: Mutex::new(None),
        }
    }

    /// Starts the worker if it does not run, however long that takes within its
    /// own bound.
    ///
    /// Must be called within a tokio runtime.
    pub async fn started(&self) -> Result<(), TransportError> {
        let mut child = self.child.lock().await;
        let runs = match child.as_mut() {
            Some(child) => matches!(child.try_wait(), Ok(None)),
            None => false,
        };
        if !runs {
            *child = Some(self.start().await?);
        }
        Ok(())
    }

    /// One more connection to the worker that was started.
    pub async fn transport(&self) -> Result<Transport, TransportError> {
        Transport::unix(&self.socket()).await
    }

    /// Ends the worker, and waits until it has gone.
    pub async fn close(&self) {
        let Some(mut child) = self.child.lock().await.take() else {
            return;
        };
        drop(child.stdin.take());
        if timeout(GRACE, child.wait()).await.is_err() {
            debug!(state = %self.state.display(), "a local worker does not end");
            // The child may have gone meanwhile, which is as good.
            let _ = child.kill().await;
        }
    }

    /// As the worker itself calls it.
    fn socket(&self) -> PathBuf {
        self.run.join("worker/socket")
    }

    async fn start(&self) -> Result<Child, TransportError> {
        let log = self.log()?;
        let started = self.start_into(log).await;
        started.map_err(|source| TransportError::Start {
            program: self.program.display().to_string(),
            source,
        })
    }

    async fn start_into(&self, log: fs::File) -> io::Result<Child> {
        let mut child = Command::new(&self.program)
            .args(["worker", "--foreground", "--tied", "--announce"])
            .arg("--state")
            .arg(&self.state)
            .arg("--run")
            .arg(&self.run)
            .env(open_files::VARIABLE, open_files::told())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Ctrl-C is for us; it ends when we have tidied up.
            .process_group(0)
            .spawn()?;
        let stdout =
            (child.stdout.take()).ok_or_else(|| io::Error::other("its pipe is missing"))?;
        let mut line = String::new();
        let mut stdout = BufReader::new(stdout);
        let said = timeout(READY, stdout.read_line(&mut line)).await;
        match said {
            Ok(Ok(_)) if line == "ready\n" => Ok(child),
            Ok(Ok(_)) => {
                let said = last_words(&self.log_path());
                let said = said.unwrap_or_else(|| "it said nothing".to_owned());
                Err(io::Error::other(format!("it ended at once: {said}")))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn log_path(&self) -> PathBuf {
        self.state.join("worker.log")
    }

    fn log(&self) -> Result<fs::File, TransportError> {
        let failed = |attempt, path: &Path| {
            let path = path.to_owned();
            move |source| TransportError::File {
                attempt,
                path,
                source,
            }
        };
        let mut dir = fs::DirBuilder::new();
        let made = dir.recursive(true).mode(0o700).create(&self.state);
        made.map_err(failed("make the directory", &self.state))?;
        let path = self.log_path();
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o600);
        options.open(&path).map_err(failed("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::LocalWorker;

    #[tokio::test]
    async fn what_is_in_the_way_of_its_directory_is_named() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let state = dir.path().join("file/state");
        fs::write(dir.path().join("file"), "").expect("written");
        let worker = LocalWorker::new("/bin/true".into(), state.clone(), dir.path().join("run"));
        let Err(error) = worker.started().await else {
            panic!("there is no such directory");
        };
        let text = crate::error_text(&error);
        let expected = format!("cannot make the directory `{}`: ", state.display());
        assert!(text.starts_with(&expected), "{text}");
    }
}
