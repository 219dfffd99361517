//! A client for HTTP, and HTTPS, that takes certificates and passwords from its
//! order, and names from the files of the host. It asks no library of the
//! system for names: a static program has none.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderMap;
use reqwest::{Request, Response, redirect};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::super::error::BuiltinError;
use super::super::order::Hosted;
use super::netrc::Netrc;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(15);
/// How long to wait for the next byte, as Nix does (`stalled-download-timeout`).
const STALLED: Duration = Duration::from_secs(300);

/// Asks servers, one question at a time.
pub(super) struct Client {
    http: reqwest::Client,
    runtime: Runtime,
    netrc: Netrc,
}

impl Client {
    pub(super) fn new(hosted: &Hosted) -> Result<Self, BuiltinError> {
        let netrc = Netrc::parse(hosted.netrc.as_deref().unwrap_or(""));
        let http = reqwest::Client::builder()
            .user_agent(concat!("musher/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls(hosted.certificates.as_deref())?)
            .dns_resolver(Names::default())
            // Each hop is our own, with the password of its own host.
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(STALLED)
            .build()
            .map_err(unprepared)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        Ok(Self {
            http,
            runtime: runtime.map_err(unprepared)?,
            netrc,
        })
    }

    /// Asks for `url`, with `headers`.
    pub(super) fn get(&self, url: &Url, headers: HeaderMap) -> Result<Response, reqwest::Error> {
        let mut request = self.http.get(url.clone()).headers(headers);
        if let Some(login) = url.host_str().and_then(|host| self.netrc.login(host))
            && url.username().is_empty()
        {
            request = request.basic_auth(&login.name, Some(&login.password));
        }
        let request: Request = request.build()?;
        // Within the runtime from the first: it sets its clocks.
        self.runtime
            .block_on(async { self.http.execute(request).await })
    }

    /// The next bytes of an answer; none at its end.
    pub(super) fn chunk(&self, response: &mut Response) -> Result<Option<Vec<u8>>, reqwest::Error> {
        let chunk = self.runtime.block_on(response.chunk())?;
        Ok(chunk.map(|chunk| chunk.to_vec()))
    }
}

/// What is trusted: the certificates of the host, or those that come with us.
fn tls(certificates: Option<&str>) -> Result<ClientConfig, BuiltinError> {
    let mut roots = RootCertStore::empty();
    match certificates {
        Some(pem) => {
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
            // A bundle may hold a few that are too old to be understood.
            roots.add_parsable_certificates(found.map_err(unprepared)?);
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unprepared)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn unprepared(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BuiltinError {
    BuiltinError::Client {
        source: source.into(),
    }
}

/// A name nobody knows.
#[derive(Debug, thiserror::Error)]
#[error("no address is known for `{0}`")]
struct Unknown(String);

/// Finds addresses as `/etc/hosts` and `/etc/resolv.conf` say.
#[derive(Clone, Default)]
struct Names(Arc<OnceLock<TokioResolver>>);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move {
            let resolver = match resolver.get() {
                Some(resolver) => resolver,
                None => {
                    let made = TokioResolver::builder_tokio()?.build()?;
                    resolver.get_or_init(|| made)
                }
            };
            let found = resolver.lookup_ip(name.as_str()).await;
            let found = found.map_err(|error| match error.is_no_records_found() {
                true => Unknown(name.as_str().to_owned()).into(),
                false => Box::<dyn std::error::Error + Send + Sync>::from(error),
            })?;
            let addresses: Vec<SocketAddr> =
                found.iter().map(|address| (address, 0).into()).collect();
            let addresses: Addrs = Box::new(addresses.into_iter());
            Ok(addresses)
        })
    }
}
