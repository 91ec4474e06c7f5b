//! Certificates and keys, as they come from files.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use std::path::Path;
use std::{fs, io};

use futures_rustls::pki_types::pem::PemObject;
use futures_rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// What a node needs to prove itself and to check others.
pub struct TlsMaterial {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) authorities: Vec<CertificateDer<'static>>,
}

impl TlsMaterial {
    /// Reads PEM texts: the node's certificate, followed by intermediate ones if there are any; its
    /// private key; and the authorities that sign the certificates of this cluster's nodes.
    ///
    /// # Errors
    ///
    /// [`TlsError::Pem`] if a text is no PEM, [`TlsError::Missing`] if what it should hold is not in
    /// it.
    pub fn from_pem(chain: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            chain: certificates("certificate chain", chain)?,
            key: PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem {
                what: "private key",
                error: error.to_string(),
            })?,
            authorities: certificates("authorities", authorities)?,
        })
    }

    /// Reads PEM files: see [`from_pem`](Self::from_pem).
    ///
    /// # Errors
    ///
    /// [`TlsError::Read`] if a file cannot be read, and those of [`from_pem`](Self::from_pem).
    pub fn from_files(
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
        authorities: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        Self::from_pem(
            &read(chain.as_ref())?,
            &read(key.as_ref())?,
            &read(authorities.as_ref())?,
        )
    }

    pub(super) fn check_name(&self, name: &str) -> Result<(), TlsError> {
        if self
            .chain
            .first()
            .is_some_and(|own| super::is_for(own, name))
        {
            return Ok(());
        }
        Err(TlsError::Name {
            expected: name.into(),
        })
    }
}

fn certificates(what: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| TlsError::Pem {
        what,
        error: error.to_string(),
    })?;
    if read.is_empty() {
        return Err(TlsError::Missing { what });
    }
    Ok(read)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|error| TlsError::Read {
        path: path.display().to_string(),
        error,
    })
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial")
            .field("chain", &self.chain.len())
            .field("authorities", &self.authorities.len())
            .finish_non_exhaustive()
    }
}

/// Certificates or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A text is no PEM, or has nothing of the kind in it.
    #[error("cannot read the {what}: {error}")]
    Pem {
        /// What was being read.
        what: &'static str,
        /// What is wrong.
        error: String,
    },
    /// There is no certificate in a text that should hold some.
    #[error("there is no certificate in the {what}")]
    Missing {
        /// What was being read.
        what: &'static str,
    },
    /// The certificate is not for this node: it does not name it, or names any node by a wildcard.
    #[error(
        "the certificate does not name {expected} among its subject alternative names, or not it alone"
    )]
    Name {
        /// The name that it should have.
        expected: String,
    },
    /// A certificate or key is malformed, not supported, or does not fit the other.
    #[error("the certificates cannot be used: {0}")]
    Rejected(String),
}
