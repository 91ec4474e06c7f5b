//! Mutual TLS between two nodes, with an authority and certificates made on the spot.
//!
//! `cargo run -p synod-node --example tls` shows who is let in, who is not, and how
//! certificates are replaced while everything runs.

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example has std and tells what it does"
)]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use synod_core::{ClusterId, Delivery, Envelope, Link, LinkId, NodeId, Transport};
use synod_node::clock::TokioClock;
use synod_node::stream::{StreamConfig, StreamTransport, TokioTcp, TransportEvent};
use synod_node::tls::{Tls, TlsMaterial, node_name};
use tokio::sync::mpsc;
use tokio::time::timeout;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CLUSTER: ClusterId = ClusterId(7);

#[tokio::main]
async fn main() -> Result<()> {
    let ours = Authority::new("our authority")?;
    let (tls_one, tls_two) = (ours.tls(NodeId(1))?, ours.tls(NodeId(2))?);
    let mut one = Node::start(NodeId(1), tls_one.clone()).await?;
    let two = Node::start(NodeId(2), tls_two.clone()).await?;

    println!("# Two nodes with certificates of our authority");
    one.transport.set_peer(NodeId(2), &two.address)?;
    let link = one.up(NodeId(2)).await?;
    one.send(NodeId(2), link, "hello over TLS").await;
    println!("n2 receives: {}", two.message().await?);

    println!("# An intruder that trusts us, with a certificate that somebody else has signed");
    let theirs = Authority::new("somebody else's authority")?;
    let material = theirs.material(NodeId(3), &ours)?;
    let mut intruder = Node::start(NodeId(3), Tls::new(NodeId(3), CLUSTER, material)?).await?;
    intruder.transport.set_peer(NodeId(1), &one.address)?;
    println!("n1 says: {}", one.refusal().await?);
    println!("n3 says: {}", intruder.refusal().await?);

    println!("# New certificates without a restart");
    tls_one.reload(ours.material(NodeId(1), &ours)?)?;
    tls_two.reload(ours.material(NodeId(2), &ours)?)?;
    one.transport.reset_links();
    let link = one.up(NodeId(2)).await?;
    one.send(NodeId(2), link, "hello with new certificates")
        .await;
    println!("n2 receives: {}", two.message().await?);
    Ok(())
}

/// Signs the certificates of one cluster. In earnest its key is kept far from the nodes.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self(issuer))
    }

    /// A fresh key and certificate, whose holder trusts what `trusted` has signed. The name in it is
    /// what binds it to the node.
    fn material(&self, node: NodeId, trusted: &Self) -> Result<TlsMaterial> {
        let key = KeyPair::generate()?;
        let params = CertificateParams::new(vec![node_name(node, CLUSTER)])?;
        let certificate = params.signed_by(&key, &self.0)?.pem();
        let (key, authorities) = (key.serialize_pem(), trusted.0.pem());
        let material = TlsMaterial::from_pem(
            certificate.as_bytes(),
            key.as_bytes(),
            authorities.as_bytes(),
        )?;
        Ok(material)
    }

    fn tls(&self, node: NodeId) -> Result<Tls> {
        Ok(Tls::new(node, CLUSTER, self.material(node, self)?)?)
    }
}

struct Node {
    id: NodeId,
    address: String,
    transport: StreamTransport<Bytes>,
    events: mpsc::UnboundedReceiver<TransportEvent>,
}

impl Node {
    async fn start(id: NodeId, tls: Tls) -> Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let config = StreamConfig::builder(id, CLUSTER)
            .accept_unknown(true)
            .on_event(move |event| {
                let _ = sender.send(event.clone());
            })
            .build()?;
        let network = TokioTcp::bind("127.0.0.1:0").await?;
        let address = network.local_addr()?.to_string();
        let clock = Arc::new(TokioClock::new());
        let (transport, connections) = StreamTransport::new(config, clock, network, tls);
        tokio::spawn(connections);
        Ok(Self {
            id,
            address,
            transport,
            events,
        })
    }

    async fn up(&self, peer: NodeId) -> Result<LinkId> {
        let mut arrived = Vec::new();
        loop {
            self.transport.recv(&mut arrived).await?;
            for delivery in arrived.drain(..) {
                match delivery {
                    Delivery::Link(from, Link::Up(link)) if from == peer => return Ok(link),
                    _ => {}
                }
            }
        }
    }

    async fn send(&self, to: NodeId, link: LinkId, text: &'static str) {
        let (from, message) = (self.id, Bytes::from_static(text.as_bytes()));
        let mut batch = vec![Envelope {
            from,
            to,
            link,
            message,
        }];
        self.transport.send(&mut batch).await;
    }

    async fn message(&self) -> Result<String> {
        let mut arrived = Vec::new();
        loop {
            self.transport.recv(&mut arrived).await?;
            for delivery in arrived.drain(..) {
                if let Delivery::Message(envelope) = delivery {
                    return Ok(String::from_utf8(envelope.message.to_vec())?);
                }
            }
        }
    }

    /// The next failed handshake.
    async fn refusal(&mut self) -> Result<TransportEvent> {
        loop {
            let event = timeout(Duration::from_secs(10), self.events.recv()).await?;
            if let Some(event @ TransportEvent::Failed { .. }) = event {
                return Ok(event);
            }
        }
    }
}
