//! TLS, for who has no proxy in front that does it.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Reads a certificate chain and its key, both PEM; TLS 1.2 and 1.3.
///
/// # Errors
/// A file cannot be read, or the two do not belong together.
pub fn tls(certificate: &Path, key: &Path) -> anyhow::Result<ServerConfig> {
    let pem = fs_err::read(certificate)?;
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{}: not a PEM certificate chain", certificate.display()))?;
    anyhow::ensure!(
        !chain.is_empty(),
        "{}: there is no certificate in this file",
        certificate.display()
    );
    let pem = fs_err::read(key)?;
    let key_der = PrivateKeyDer::from_pem_slice(&pem)
        .with_context(|| format!("{}: not a PEM private key", key.display()))?;
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key_der)
        .with_context(|| {
            format!(
                "{} and {} do not belong together",
                certificate.display(),
                key.display()
            )
        })
}
