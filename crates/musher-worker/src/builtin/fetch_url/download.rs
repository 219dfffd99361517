//! One file, from a server, in as many attempts as it takes. What has come is
//! kept from one attempt to the next where the server can go on from there.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::header::{CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LOCATION, RANGE};
use reqwest::{Response, StatusCode};
use url::Url;

use super::super::error::BuiltinError;
use super::super::log::{Log, Transfer};
use super::client::Client;
use super::wait::{ATTEMPTS, Failure, wait};

/// How often a server may send us elsewhere.
const HOPS: usize = 10;
/// How much of an answer that is no file is shown.
const REPLY: usize = 1024;
/// How often it is said how far a download is.
const REPORT: Duration = Duration::from_millis(500);

pub(super) struct Download<'a> {
    client: &'a Client,
    url: Url,
    /// The URL as it is shown: without a password.
    shown: String,
    file: &'a mut File,
    /// What the file is called.
    to: &'a Path,
    /// How many bytes are in the file.
    here: u64,
    /// What the server calls this version of the file.
    tag: Option<HeaderValue>,
}

/// An attempt that did not succeed.
struct Failed {
    error: BuiltinError,
    /// Why, if another attempt may be better.
    failure: Option<Failure>,
}

impl From<BuiltinError> for Failed {
    fn from(error: BuiltinError) -> Self {
        Self {
            error,
            failure: None,
        }
    }
}

impl<'a> Download<'a> {
    /// A download of `url` into `file`, which is empty and called `to`.
    pub(super) fn new(client: &'a Client, url: Url, file: &'a mut File, to: &'a Path) -> Self {
        let mut shown = url.clone();
        // Only a URL that can have none has no place for it.
        let _ = shown.set_password(None);
        Self {
            client,
            url,
            shown: shown.into(),
            file,
            to,
            here: 0,
            tag: None,
        }
    }

    pub(super) fn run(mut self, log: &mut Log<'_>) -> Result<(), BuiltinError> {
        let transfer = log.downloading(&self.shown);
        let done = self.attempts(log, transfer);
        log.ended(transfer);
        done
    }

    fn attempts(&mut self, log: &mut Log<'_>, transfer: Transfer) -> Result<(), BuiltinError> {
        let mut attempt = 1;
        loop {
            let Err(Failed { error, failure }) = self.attempt(log, transfer) else {
                return Ok(());
            };
            let pause = failure.and_then(|failure| wait(failure, attempt, rand::random()));
            let Some(pause) = pause else {
                return Err(error);
            };
            let from = match self.here {
                0 => String::new(),
                here => format!(" from offset {here}"),
            };
            log.warn(&format!(
                "{}; retrying{from} in {} ms (attempt {attempt}/{ATTEMPTS})",
                with_cause(&error),
                pause.as_millis(),
            ));
            std::thread::sleep(pause);
            attempt += 1;
        }
    }

    fn attempt(&mut self, log: &mut Log<'_>, transfer: Transfer) -> Result<(), Failed> {
        let mut response = self.answer()?;
        let status = response.status();
        if status == StatusCode::PARTIAL_CONTENT && self.goes_on(&response) {
            // What is here stays.
        } else if status == StatusCode::OK {
            self.start_again()?;
        } else {
            if status == StatusCode::RANGE_NOT_SATISFIABLE || status.is_success() {
                self.start_again()?;
            }
            return Err(self.refused(response));
        }
        self.tag = strong_tag(&response);
        let expected = response.content_length().map_or(0, |rest| self.here + rest);
        let mut reported: Option<Instant> = None;
        while let Some(chunk) = self
            .client
            .chunk(&mut response)
            .map_err(|error| self.broken(error))?
        {
            let written = self.file.write_all(&chunk);
            written.map_err(BuiltinError::file("write", self.to))?;
            self.here += chunk.len() as u64;
            if reported.is_none_or(|last| last.elapsed() >= REPORT) {
                log.progress(transfer, self.here, expected);
                reported = Some(Instant::now());
            }
        }
        log.progress(transfer, self.here, self.here);
        Ok(())
    }

    /// The answer of whichever server has the file.
    fn answer(&self) -> Result<Response, Failed> {
        let mut url = self.url.clone();
        for _ in 0..=HOPS {
            let mut headers = HeaderMap::new();
            if self.here > 0 {
                let range = HeaderValue::try_from(format!("bytes={}-", self.here));
                headers.insert(RANGE, range.expect("bug: digits are text"));
                if let Some(tag) = &self.tag {
                    headers.insert(IF_RANGE, tag.clone());
                }
            }
            let response = self.client.get(&url, headers);
            let response = response.map_err(|error| self.broken(error))?;
            let location = response.headers().get(LOCATION);
            match location.filter(|_| response.status().is_redirection()) {
                None => return Ok(response),
                Some(location) => url = self.next(&url, location)?,
            }
        }
        Err(self
            .wrong(format!("it leads on more than {HOPS} times"))
            .into())
    }

    /// Where `location`, in an answer from `url`, leads.
    fn next(&self, url: &Url, location: &HeaderValue) -> Result<Url, BuiltinError> {
        let text = String::from_utf8_lossy(location.as_bytes());
        let next = url.join(&text).map_err(|error| {
            self.wrong(format!("it leads to '{text}', which is no URL: {error}"))
        })?;
        match next.scheme() {
            "http" | "https" => Ok(next),
            _ => Err(self.wrong(format!("it leads to '{next}'"))),
        }
    }

    /// Whether an answer goes on where the file ends.
    fn goes_on(&self, response: &Response) -> bool {
        let range = response.headers().get(CONTENT_RANGE);
        let range = range.and_then(|range| range.to_str().ok());
        let begins = format!("bytes {}-", self.here);
        range.is_some_and(|range| range.starts_with(&begins))
    }

    fn start_again(&mut self) -> Result<(), BuiltinError> {
        let emptied = self
            .file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(BuiltinError::file("write", self.to))?;
        self.here = 0;
        self.tag = None;
        Ok(())
    }

    fn refused(&self, mut response: Response) -> Failed {
        let status = response.status().as_u16();
        let mut reply = Vec::new();
        // It says why it failed, or does not: no reason to fail otherwise.
        while let Ok(Some(chunk)) = self.client.chunk(&mut response) {
            reply.extend_from_slice(&chunk);
            if reply.len() >= REPLY {
                reply.truncate(REPLY);
                break;
            }
        }
        let reply = String::from_utf8_lossy(&reply);
        let failure = match status {
            // A part that was not asked for, or cannot be had: the whole may.
            200..=299 | 416 => Failure::Connection,
            status => Failure::Status(status),
        };
        Failed {
            error: BuiltinError::Status {
                url: self.shown.clone(),
                status,
                reply: reply.trim().to_owned(),
            },
            failure: Some(failure),
        }
    }

    fn broken(&self, error: reqwest::Error) -> Failed {
        Failed {
            error: BuiltinError::Download {
                url: self.shown.clone(),
                source: Box::new(error.without_url()),
            },
            failure: Some(Failure::Connection),
        }
    }

    fn wrong(&self, reason: String) -> BuiltinError {
        BuiltinError::Url {
            url: self.shown.clone(),
            reason,
        }
    }
}

/// A tag that names these very bytes.
fn strong_tag(response: &Response) -> Option<HeaderValue> {
    let tag = response.headers().get(ETAG)?;
    (!tag.as_bytes().starts_with(b"W/")).then(|| tag.clone())
}

fn with_cause(error: &BuiltinError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
