//! TLS, for servers without a proxy in front that provides it.
//!
//! The certificate and its key are reloaded on SIGHUP and when their files change. Open connections keep the certificate
//! that they began with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use actix_web::web;
use anyhow::Context as _;
use lexivec_models::text;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use self::stamp::Stamp;

mod stamp;

/// The interval of checks of the files. A change is loaded once it has lasted from one check to the next.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// TLS settings whose certificate can be replaced while the server runs.
#[derive(Debug)]
pub struct Tls {
    config: ServerConfig,
    certificate: Arc<Certificate>,
}

/// Reads a certificate chain and its key, both PEM; TLS 1.2 and 1.3.
///
/// # Errors
/// A file cannot be read, or the two do not belong together.
pub fn tls(certificate: &Path, key: &Path) -> anyhow::Result<Tls> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = Arc::new(Certificate::open(certificate, key, Arc::clone(&provider))?);
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    // The only protocol that is served.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Tls {
        config,
        certificate,
    })
}

impl Tls {
    /// Splits the settings for connections from the task that keeps the certificate up to date.
    pub(crate) fn split(self) -> (Arc<ServerConfig>, Reloader) {
        let seen = self.certificate.stamps();
        (
            Arc::new(self.config),
            Reloader {
                certificate: self.certificate,
                seen,
            },
        )
    }
}

/// Reloads the certificate on request, and when its files have changed.
#[derive(Debug)]
pub(crate) struct Reloader {
    certificate: Arc<Certificate>,
    /// The files at the last check.
    seen: Stamps,
}

impl Reloader {
    /// Checks the files every few seconds, and reloads them at once after each `hangup`. Never returns.
    pub(crate) async fn run(mut self, hangup: impl AsyncFn()) {
        loop {
            let requested = tokio::select! {
                () = hangup() => true,
                () = actix_web::rt::time::sleep(CHECK_INTERVAL) => false,
            };
            // Off the event loop, because files may be on a network, and checking the signing key takes a while.
            let check = move || {
                self.check(requested);
                self
            };
            match web::block(check).await {
                Ok(reloader) => self = reloader,
                Err(error) => {
                    tracing::error!(%error, "the TLS certificate is no longer reloaded");
                    return;
                }
            }
        }
    }

    fn check(&mut self, requested: bool) {
        let now = self.certificate.stamps();
        // Renewal replaces the certificate and the key one after the other. In between they do not match.
        let settled = now == self.seen;
        self.seen = now;
        if requested || (settled && self.certificate.is_outdated(&now)) {
            self.certificate.reload();
        }
    }
}

/// The stamps of both files.
type Stamps = [Option<Stamp>; 2];

/// A certificate chain with its key, and the files that both come from.
#[derive(Debug)]
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
}

#[derive(Debug)]
struct Current {
    certified: Arc<CertifiedKey>,
    /// The files when they were last loaded, whether or not they could be used.
    read: Stamps,
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current.certified))
    }
}

impl Certificate {
    fn open(chain: &Path, key: &Path, provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        // Taken before the files are read, so that the next check sees a change in the meantime.
        let read = [Stamp::of(chain), Stamp::of(key)];
        let certified = Arc::new(load(chain, key, &provider)?);
        Ok(Self {
            chain: chain.to_path_buf(),
            key: key.to_path_buf(),
            provider,
            current: RwLock::new(Current { certified, read }),
        })
    }

    fn stamps(&self) -> Stamps {
        [Stamp::of(&self.chain), Stamp::of(&self.key)]
    }

    fn is_outdated(&self, now: &Stamps) -> bool {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.read != *now
    }

    /// Rejects pipes: their contents can be read once, and a second read would wait forever.
    fn check_regular(&self) -> anyhow::Result<()> {
        for path in [&self.chain, &self.key] {
            let is_regular = fs_err::metadata(path)?.is_file();
            anyhow::ensure!(is_regular, "{}: not a regular file", path.display());
        }
        Ok(())
    }

    /// Loads both files. If they cannot be used, logs the error and keeps the certificate.
    fn reload(&self) {
        let read = self.stamps();
        let loaded = self
            .check_regular()
            .and_then(|()| load(&self.chain, &self.key, &self.provider));
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.read = read;
        let loaded = loaded.map(|certified| current.certified = Arc::new(certified));
        drop(current);
        match loaded {
            Ok(()) => {
                tracing::info!(certificate = %self.chain.display(), "the TLS certificate was reloaded");
            }
            Err(error) => tracing::error!(
                error = format!("{error:#}"),
                "the TLS certificate could not be reloaded; the server keeps the old one"
            ),
        }
    }
}

fn load(certificate: &Path, key: &Path, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
    let pem = text::read_bytes(certificate)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{}: not a PEM certificate chain", certificate.display()))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "{}: there is no certificate in this file",
        certificate.display()
    );
    let pem = text::read_bytes(key)?;
    let key_der = PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("{}: not a PEM private key", key.display()))?;
    CertifiedKey::from_der(chain, key_der, provider).with_context(|| {
        format!(
            "{} and {} do not belong together",
            certificate.display(),
            key.display()
        )
    })
}
