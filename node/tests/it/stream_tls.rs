//! Who gets in with which certificate.

use std::sync::Arc;

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use synod_core::{ClusterId, Delivery, Envelope, LinkId, NodeId, Transport};
use synod_node::clock::TokioClock;
use synod_node::stream::{
    Connections, HandshakeError, InsecurePlaintext, Refusal, Security, StreamConfig,
    StreamTransport, TokioTcp, TransportEvent,
};
use synod_node::tls::{Tls, TlsError, TlsMaterial, node_name};
use tokio::time::timeout;

use crate::stream_support::{CLUSTER, Events, LONG};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name`, signed by one authority; its holder trusts `trusted`.
fn material(name: String, signer: &Authority, trusted: &[&Authority]) -> TlsMaterial {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec![name]).unwrap();
    let certificate = params.signed_by(&key, signer).unwrap();
    let trusted: String = trusted.iter().map(|authority| authority.pem()).collect();
    let (chain, key) = (certificate.pem(), key.serialize_pem());
    TlsMaterial::from_pem(chain.as_bytes(), key.as_bytes(), trusted.as_bytes()).unwrap()
}

fn tls(node: u64, signer: &Authority, trusted: &[&Authority]) -> Tls {
    let name = node_name(NodeId(node), CLUSTER);
    Tls::new(NodeId(node), CLUSTER, material(name, signer, trusted)).unwrap()
}

struct Node {
    id: NodeId,
    address: String,
    transport: StreamTransport<Bytes>,
    events: Events,
    _connections: tokio::task::JoinHandle<()>,
}

impl Node {
    async fn start(node: u64, security: impl Security + 'static) -> Self {
        let events = Events::default();
        let recorder = events.clone();
        let config = StreamConfig::builder(NodeId(node), CLUSTER)
            .accept_unknown(true)
            .on_event(move |event| recorder.push(event))
            .build()
            .unwrap();
        let network = TokioTcp::bind("127.0.0.1:0").await.unwrap();
        let address = network.local_addr().unwrap().to_string();
        let clock = Arc::new(TokioClock::new());
        let (transport, connections): (_, Connections) =
            StreamTransport::new(config, clock, network, security);
        Self {
            id: NodeId(node),
            address,
            transport,
            events,
            _connections: tokio::spawn(connections),
        }
    }

    fn dials(&self, other: &Self) {
        self.transport.set_peer(other.id, &other.address).unwrap();
    }

    /// The next incarnation after `old`.
    async fn up(&self, peer: u64, old: LinkId) -> LinkId {
        let wanted = |event: &TransportEvent| match event {
            TransportEvent::Up { peer: it, link, .. } if it.0 == peer && *link > old => Some(*link),
            _ => None,
        };
        self.events.find(wanted).await
    }

    async fn insecure(&self) -> String {
        let wanted = |event: &TransportEvent| match event {
            TransportEvent::Failed { why, .. } if !matches!(why, HandshakeError::Connect(_)) => {
                Some(why.to_string())
            }
            _ => None,
        };
        self.events.find(wanted).await
    }

    async fn hears(&self, expected: &str) {
        let mut heard = Vec::new();
        let heard_it = |delivery: &Delivery<Bytes>| matches!(delivery, Delivery::Message(envelope) if envelope.message == expected);
        let wait = async {
            while !heard.iter().any(heard_it) {
                self.transport.recv(&mut heard).await.unwrap();
            }
        };
        timeout(LONG, wait).await.unwrap();
    }

    async fn says(&self, to: u64, link: LinkId, message: &'static str) {
        let message = Bytes::from_static(message.as_bytes());
        let (from, to) = (self.id, NodeId(to));
        let mut batch = vec![Envelope {
            from,
            to,
            link,
            message,
        }];
        self.transport.send(&mut batch).await;
    }
}

const NONE: LinkId = LinkId(0);

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_talk() {
    let ours = authority("ours");
    let one = Node::start(1, tls(1, &ours, &[&ours])).await;
    let two = Node::start(2, tls(2, &ours, &[&ours])).await;
    one.dials(&two);
    let (at_one, at_two) = (one.up(2, NONE).await, two.up(1, NONE).await);
    one.says(2, at_one, "to two").await;
    two.says(1, at_two, "to one").await;
    one.hears("to one").await;
    two.hears("to two").await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused_in_both_directions() {
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let one = Node::start(1, tls(1, &ours, &[&ours])).await;
    let credulous = Node::start(2, tls(2, &theirs, &[&ours, &theirs])).await;
    // It trusts us, but we do not trust it: as a client it is refused by our server ...
    credulous.dials(&one);
    let why = one.insecure().await;
    assert!(why.contains("UnknownIssuer"), "{why}");
    let why = credulous.insecure().await;
    assert!(why.contains("alert"), "{why}");
    // ... and as a server by our client.
    let one = Node::start(1, tls(1, &ours, &[&ours])).await;
    one.dials(&credulous);
    let why = one.insecure().await;
    assert!(
        why.contains("cannot secure") && why.contains("UnknownIssuer"),
        "{why}"
    );
    assert_eq!(one.transport.links(), []);
}

#[tokio::test]
async fn a_certificate_speaks_for_its_own_node_only() {
    let ours = authority("ours");
    // Node 3's certificate, in the hands of one who says to be node 2.
    let stolen = Impostor(tls(3, &ours, &[&ours]));
    let one = Node::start(1, tls(1, &ours, &[&ours])).await;
    let two = Node::start(2, stolen).await;
    two.dials(&one);
    let refused = Refusal::Certificate(NodeId(2));
    let wanted = |event: &TransportEvent| match event {
        TransportEvent::Refused { why, .. } | TransportEvent::RefusedBy { why, .. } => {
            Some(why.clone())
        }
        _ => None,
    };
    assert_eq!(one.events.find(wanted).await, refused);
    assert_eq!(two.events.find(wanted).await, refused);
    // As a server it is found out by the name that our client asks for.
    let four = Node::start(4, tls(4, &ours, &[&ours])).await;
    four.dials(&two);
    let why = four.insecure().await;
    assert!(why.contains("not valid for name"), "{why}");
}

struct Impostor(Tls);

#[async_trait::async_trait]
impl Security for Impostor {
    async fn connect(
        &self,
        peer: NodeId,
        stream: synod_node::stream::BoxStream,
    ) -> std::io::Result<synod_node::stream::Secured> {
        self.0.connect(peer, stream).await
    }

    async fn accept(
        &self,
        stream: synod_node::stream::BoxStream,
    ) -> std::io::Result<synod_node::stream::Secured> {
        self.0.accept(stream).await
    }
}

#[test]
fn a_certificate_for_any_node_is_for_none() {
    let ours = authority("ours");
    let wildcard = material("*.c7.synod".into(), &ours, &[&ours]);
    let refused = Tls::new(NodeId(2), CLUSTER, wildcard).unwrap_err();
    assert!(matches!(refused, TlsError::Name { .. }), "{refused}");
}

/// The clock decides, and both ends say why.
#[tokio::test]
async fn an_expired_certificate_is_refused_and_named() {
    let ours = authority("ours");
    let one = Node::start(1, tls(1, &ours, &[&ours])).await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![node_name(NodeId(2), CLUSTER)]).unwrap();
    params.not_before = rcgen::date_time_ymd(2001, 1, 1);
    params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    let chain = params.signed_by(&key, &ours).unwrap().pem();
    let (key, roots) = (key.serialize_pem(), ours.pem());
    let expired = TlsMaterial::from_pem(chain.as_bytes(), key.as_bytes(), roots.as_bytes());
    let tls = Tls::new(NodeId(2), CLUSTER, expired.unwrap()).unwrap();
    let two = Node::start(2, tls.clone()).await;
    two.dials(&one);
    let why = one.insecure().await;
    assert!(why.contains("certificate expired"), "{why}");
    let why = two.insecure().await;
    assert!(why.contains("CertificateExpired"), "{why}");

    // A new one, and the next attempt gets in.
    tls.reload(material(node_name(NodeId(2), CLUSTER), &ours, &[&ours]))
        .unwrap();
    one.up(2, NONE).await;
    two.up(1, NONE).await;
}

#[tokio::test]
async fn plaintext_does_not_get_in() {
    let ours = authority("ours");
    let one = Node::start(1, tls(1, &ours, &[&ours])).await;
    let plain = Node::start(2, InsecurePlaintext).await;
    plain.dials(&one);
    one.insecure().await;
    plain.insecure().await;
    let one = Node::start(1, tls(1, &ours, &[&ours])).await;
    one.dials(&plain);
    plain.insecure().await;
    assert_eq!(one.transport.links(), []);
    assert_eq!(plain.transport.links(), []);
}

#[tokio::test]
async fn certificates_are_replaced_without_a_restart() {
    let (old, new) = (authority("old"), authority("new"));
    let name = |node| node_name(NodeId(node), CLUSTER);
    let (tls_one, tls_two) = (tls(1, &old, &[&old]), tls(2, &old, &[&old]));
    let one = Node::start(1, tls_one.clone()).await;
    let two = Node::start(2, tls_two.clone()).await;
    one.dials(&two);
    let (at_one, at_two) = (one.up(2, NONE).await, two.up(1, NONE).await);

    // Both first trust both authorities, then show the new one's certificates.
    tls_one
        .reload(material(name(1), &old, &[&old, &new]))
        .unwrap();
    tls_two
        .reload(material(name(2), &new, &[&old, &new]))
        .unwrap();
    one.says(2, at_one, "links stay up").await;
    two.hears("links stay up").await;
    one.transport.reset_links();
    let (at_one, at_two) = (one.up(2, at_one).await, two.up(1, at_two).await);
    one.says(2, at_one, "across authorities").await;
    two.hears("across authorities").await;

    // The old authority is retired; whoever still shows its certificates is left out.
    tls_two.reload(material(name(2), &new, &[&new])).unwrap();
    two.transport.reset_links();
    one.insecure().await;
    two.insecure().await;
    assert_eq!(two.transport.links(), []);
    tls_one.reload(material(name(1), &new, &[&new])).unwrap();
    let (at_one, _) = (one.up(2, at_one).await, two.up(1, at_two).await);
    one.says(2, at_one, "all new").await;
    two.hears("all new").await;
}

#[test]
fn unusable_material_is_refused_and_leaves_the_old_in_use() {
    let ours = authority("ours");
    let tls = tls(1, &ours, &[&ours]);
    let another = material(node_name(NodeId(2), CLUSTER), &ours, &[&ours]);
    let error = tls.reload(another).unwrap_err();
    assert!(
        matches!(&error, TlsError::Name { expected } if expected == "n1.c7.synod"),
        "{error}"
    );
    let elsewhere = node_name(NodeId(1), ClusterId(8));
    assert!(tls.reload(material(elsewhere, &ours, &[&ours])).is_err());

    let good = CertificateParams::new(vec![node_name(NodeId(1), CLUSTER)]).unwrap();
    let key = KeyPair::generate().unwrap();
    let chain = good.signed_by(&key, &ours).unwrap().pem();
    let other_key = KeyPair::generate().unwrap().serialize_pem();
    let mixed = TlsMaterial::from_pem(
        chain.as_bytes(),
        other_key.as_bytes(),
        ours.pem().as_bytes(),
    );
    assert!(matches!(
        tls.reload(mixed.unwrap()),
        Err(TlsError::Rejected(_))
    ));

    let empty = TlsMaterial::from_pem(b"", other_key.as_bytes(), chain.as_bytes());
    assert!(matches!(empty, Err(TlsError::Missing { .. })));
    let no_key = TlsMaterial::from_pem(chain.as_bytes(), b"nothing", chain.as_bytes());
    assert!(matches!(no_key, Err(TlsError::Pem { .. })));
    let gone = TlsMaterial::from_files("/nowhere/chain.pem", "/nowhere/key.pem", "/nowhere/ca.pem");
    let error = gone.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read /nowhere/chain.pem: "),
        "{error}"
    );
}

#[test]
fn keys_are_not_printed() {
    let ours = authority("ours");
    let shown = material(node_name(NodeId(1), CLUSTER), &ours, &[&ours]);
    assert_eq!(
        format!("{shown:?}"),
        "TlsMaterial { chain: 1, authorities: 1, .. }"
    );
}
