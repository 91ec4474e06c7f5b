//! Mutual TLS: the way to run across machines.
//!
//! Both ends of a connection show a certificate that one of the cluster's own authorities has
//! signed. A certificate names the node that it belongs to, as a DNS name in its subject alternative
//! names: [`node_name`] gives `n3.c7.synod` for node 3 of cluster 7. The handshake refuses a peer
//! that claims another node id than its certificate names, so that a stolen or misconfigured member
//! can speak for nobody but itself; one with a wildcard in its place speaks for no node at all.
//! These names are never looked up, and certificates are checked against the system's clock. Where a certificate limits its
//! usage, it must allow both server and client authentication.
//!
//! Only TLS 1.3 is spoken, and sessions are not resumed: each connection proves itself anew.
//!
//! Keep the authority for this purpose alone: whoever has a certificate from it that names a node
//! can be that node. The example `tls` makes an authority and certificates, and shows who is let in.

mod material;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use core::fmt;
use std::io;
use std::sync::{PoisonError, RwLock};

use async_trait::async_trait;
use futures_rustls::pki_types::{CertificateDer, ServerName};
use futures_rustls::rustls::client::{Resumption, verify_server_name};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::server::{
    NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier,
};
use futures_rustls::rustls::version::TLS13;
use futures_rustls::rustls::{
    ClientConfig, CommonState, RootCertStore, ServerConfig, SupportedProtocolVersion,
};
use futures_rustls::{TlsAcceptor, TlsConnector};
use synod_core::{ClusterId, NodeId};

pub use material::{TlsError, TlsMaterial};

use crate::stream::{BoxStream, Identity, Secured, Security};

/// The DNS name that the certificate of a node must carry: `n<node>.c<cluster>.synod`.
///
/// ```
/// use synod_core::{ClusterId, NodeId};
/// use synod_node::tls::node_name;
///
/// assert_eq!(node_name(NodeId(3), ClusterId(7)), "n3.c7.synod");
/// ```
#[must_use]
pub fn node_name(node: NodeId, cluster: ClusterId) -> String {
    format!("n{}.c{}.synod", node.0, cluster.0)
}

/// Mutual TLS for a [`StreamTransport`](crate::stream::StreamTransport).
///
/// Cloning is cheap and gives another handle to the same certificates: give one to the transport and
/// keep one to [`reload`](Self::reload).
#[derive(Clone)]
pub struct Tls {
    node: NodeId,
    cluster: ClusterId,
    configs: Arc<RwLock<Configs>>,
}

#[derive(Clone)]
struct Configs {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// TLS for this node of this cluster.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if the certificate is not for this node, the key is not for the certificate, or
    /// either cannot be used.
    pub fn new(node: NodeId, cluster: ClusterId, material: TlsMaterial) -> Result<Self, TlsError> {
        let configs = Configs::new(&node_name(node, cluster), material)?;
        Ok(Self {
            node,
            cluster,
            configs: Arc::new(RwLock::new(configs)),
        })
    }

    /// Uses other certificates for all connections made from now on. Those that are up stay:
    /// [`reset_links`](crate::stream::StreamTransport::reset_links) makes them prove themselves
    /// anew.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new); the old certificates stay in use.
    pub fn reload(&self, material: TlsMaterial) -> Result<(), TlsError> {
        let configs = Configs::new(&node_name(self.node, self.cluster), material)?;
        *self.configs.write().unwrap_or_else(PoisonError::into_inner) = configs;
        Ok(())
    }

    fn configs(&self) -> Configs {
        let configs = self.configs.read();
        configs.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn server_name(&self, node: NodeId) -> io::Result<ServerName<'static>> {
        ServerName::try_from(node_name(node, self.cluster)).map_err(io::Error::other)
    }

    /// What the certificate at the other end proves.
    fn identity(&self, state: &CommonState) -> io::Result<Box<dyn Identity>> {
        let shown = state.peer_certificates().and_then(<[_]>::first);
        // The verifiers insist on one; this is for whoever changes them.
        let shown = shown.ok_or_else(|| io::Error::other("the peer has shown no certificate"))?;
        Ok(Box::new(Certificate {
            cluster: self.cluster,
            shown: shown.clone().into_owned(),
        }))
    }
}

impl Configs {
    fn new(name: &str, material: TlsMaterial) -> Result<Self, TlsError> {
        const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];
        let rejected = |error: &dyn fmt::Display| TlsError::Rejected(error.to_string());

        material.check_name(name)?;
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        for authority in material.authorities {
            roots.add(authority).map_err(|e| rejected(&e))?;
        }
        let roots = Arc::new(roots);

        let mut client = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(VERSIONS)
            .map_err(|e| rejected(&e))?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(material.chain.clone(), material.key.clone_key())
            .map_err(|e| rejected(&e))?;
        client.resumption = Resumption::disabled();

        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(VERSIONS)
            .map_err(|e| rejected(&e))?
            .with_client_cert_verifier(verifier.map_err(|e| rejected(&e))?)
            .with_single_cert(material.chain, material.key)
            .map_err(|e| rejected(&e))?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;

        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
        })
    }
}

#[async_trait]
impl Security for Tls {
    async fn connect(&self, peer: NodeId, stream: BoxStream) -> io::Result<Secured> {
        let connector = TlsConnector::from(self.configs().client);
        let stream = connector.connect(self.server_name(peer)?, stream).await?;
        let identity = self.identity(stream.get_ref().1)?;
        Ok(Secured {
            stream: Box::new(stream),
            identity,
        })
    }

    async fn accept(&self, stream: BoxStream) -> io::Result<Secured> {
        let acceptor = TlsAcceptor::from(self.configs().server);
        let stream = acceptor.accept(stream).await?;
        let identity = self.identity(stream.get_ref().1)?;
        Ok(Secured {
            stream: Box::new(stream),
            identity,
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("node", &self.node)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// A certificate whose signatures are verified, and whose key the other end has.
struct Certificate {
    cluster: ClusterId,
    shown: CertificateDer<'static>,
}

impl Identity for Certificate {
    fn certifies(&self, node: NodeId) -> bool {
        is_for(&self.shown, &node_name(node, self.cluster))
    }
}

fn is_for(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let Ok(certificate) = ParsedCertificate::try_from(certificate) else {
        return false;
    };
    let names = |name: &str| {
        ServerName::try_from(name).is_ok_and(|name| verify_server_name(&certificate, &name).is_ok())
    };
    // No node is called so: only a wildcard fits, and whoever has that could be any node.
    let any = name.split_once('.').map(|(_, rest)| format!("any.{rest}"));
    names(name) && !any.is_some_and(|any| names(&any))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use rcgen::{CertificateParams, KeyPair};

    fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).into()).collect();
        let key = KeyPair::generate().unwrap();
        let signed = CertificateParams::new(names).unwrap().self_signed(&key);
        Certificate {
            cluster: ClusterId(7),
            shown: signed.unwrap().der().clone(),
        }
    }

    #[test]
    fn a_certificate_is_for_the_nodes_that_it_names() {
        let two = certificate(&["n2.c7.synod", "two.example"]);
        assert!(two.certifies(NodeId(2)));
        for other in [1, 3, 22] {
            assert!(!two.certifies(NodeId(other)), "{other}");
        }
        let elsewhere = certificate(&["n2.c8.synod"]);
        assert!(!elsewhere.certifies(NodeId(2)));
    }

    #[test]
    fn a_wildcard_is_for_no_node() {
        for names in [&["*.c7.synod"][..], &["n2.c7.synod", "*.c7.synod"]] {
            assert!(!certificate(names).certifies(NodeId(2)), "{names:?}");
        }
    }
}
