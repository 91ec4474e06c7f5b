//! A TCP proxy between two nodes, for what netem cannot do everywhere: cuts, silence in one
//! direction, delay, trickle, and bytes that are damaged, repeated or missing.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use synod_core::{NodeId, Rng};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// What is read at once: less than some frames, so that they are passed on in parts.
const CHUNK: usize = 16 << 10;

/// How many bytes pass at once where they trickle, and the pause behind them.
const DROP: usize = 24;
const BETWEEN_DROPS: Duration = Duration::from_millis(1);

/// What happens to all bytes from one node to another.
#[derive(Clone, Default, Debug)]
pub(crate) struct Mode {
    /// No connection lives.
    pub(crate) cut: bool,
    /// Nothing arrives, and nobody is told.
    pub(crate) silent: bool,
    /// Each chunk waits, at most for so long.
    pub(crate) delay: Option<Duration>,
    /// A few bytes at a time.
    pub(crate) trickle: bool,
}

/// What happens once, to the next chunk.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shot {
    /// A bit is not what it was.
    Flip,
    /// A part that is no whole number of frames arrives twice.
    Duplicate,
    /// All of it arrives twice.
    Repeat,
    /// A part is missing.
    Hole,
    /// The connection ends before the chunk does.
    Close,
}

impl Shot {
    pub(crate) const ALL: [Self; 5] = [
        Self::Flip,
        Self::Duplicate,
        Self::Repeat,
        Self::Hole,
        Self::Close,
    ];

    /// Whether the bytes that arrive are none that a node has sent.
    const fn is_damage(self) -> bool {
        match self {
            Self::Flip | Self::Duplicate | Self::Hole => true,
            // Whole frames, perhaps: a machine knows what it has heard before.
            Self::Repeat | Self::Close => false,
        }
    }
}

/// What has really happened.
#[derive(Default, Debug)]
pub(crate) struct Counts {
    pub(crate) shots: Mutex<BTreeMap<Shot, u64>>,
    /// Connections that a fault has ended.
    pub(crate) cut: AtomicU64,
    /// Chunks that came into a silence.
    pub(crate) held: AtomicU64,
    /// Chunks that came late.
    pub(crate) delayed: AtomicU64,
    /// Pieces of chunks.
    pub(crate) trickled: AtomicU64,
    /// Connections with damaged bytes that have not ended yet.
    pub(crate) damaged: AtomicU64,
}

/// One direction between two nodes.
#[derive(Debug)]
pub(crate) struct Way {
    mode: watch::Sender<Mode>,
    shot: Mutex<Option<Shot>>,
    rng: Mutex<Rng>,
}

impl Way {
    fn new(seed: u64) -> Self {
        Self {
            mode: watch::Sender::new(Mode::default()),
            shot: Mutex::default(),
            rng: Mutex::new(Rng::new(seed)),
        }
    }

    fn draw(&self, below: usize) -> usize {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(rng.below(below as u64)).unwrap()
    }

    fn take_shot(&self) -> Option<Shot> {
        let mut shot = self.shot.lock().unwrap_or_else(PoisonError::into_inner);
        shot.take()
    }
}

/// All ways between the nodes of a cluster, and a proxy for each ordered pair.
#[derive(Debug)]
pub(crate) struct Proxies {
    ways: BTreeMap<(NodeId, NodeId), Arc<Way>>,
    pub(crate) counts: Arc<Counts>,
    addresses: BTreeMap<(NodeId, NodeId), String>,
    _tasks: JoinSet<()>,
}

impl Proxies {
    /// Listens for each node's connections to each other node, `targets`.
    pub(crate) async fn new(targets: &BTreeMap<NodeId, String>, seed: u64) -> io::Result<Self> {
        let pairs = targets
            .keys()
            .flat_map(|from| targets.keys().map(move |to| (*from, *to)));
        let pairs: Vec<_> = pairs.filter(|(from, to)| from != to).collect();
        let way = |pair: &(NodeId, NodeId)| Arc::new(Way::new(seed ^ (pair.0.0 * 16 + pair.1.0)));
        let ways: BTreeMap<_, _> = pairs.iter().map(|pair| (*pair, way(pair))).collect();
        let counts = Arc::new(Counts::default());
        let (mut tasks, mut addresses) = (JoinSet::new(), BTreeMap::new());
        for (from, to) in pairs {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            addresses.insert((from, to), listener.local_addr()?.to_string());
            let proxy = Proxy {
                target: targets[&to].clone(),
                there: Arc::clone(&ways[&(from, to)]),
                back: Arc::clone(&ways[&(to, from)]),
                counts: Arc::clone(&counts),
            };
            tasks.spawn(proxy.run(listener));
        }
        Ok(Self {
            ways,
            counts,
            addresses,
            _tasks: tasks,
        })
    }

    /// Where `from` finds `to`.
    pub(crate) fn address(&self, from: NodeId, to: NodeId) -> Option<&String> {
        self.addresses.get(&(from, to))
    }

    /// Changes what happens from one node to another.
    pub(crate) fn set(&self, from: NodeId, to: NodeId, change: impl FnOnce(&mut Mode)) {
        self.ways[&(from, to)].mode.send_modify(change);
    }

    /// Has it happen to the next bytes from one node to another.
    pub(crate) fn shoot(&self, from: NodeId, to: NodeId, shot: Shot) {
        let way = &self.ways[&(from, to)];
        *way.shot.lock().unwrap_or_else(PoisonError::into_inner) = Some(shot);
    }

    /// Everything is as it should be from now on.
    pub(crate) fn heal(&self) {
        for way in self.ways.values() {
            way.mode.send_replace(Mode::default());
            way.take_shot();
        }
    }
}

struct Proxy {
    target: String,
    there: Arc<Way>,
    back: Arc<Way>,
    counts: Arc<Counts>,
}

/// Who has ended a connection.
enum End {
    Node,
    Fault,
}

impl Proxy {
    async fn run(self, listener: TcpListener) {
        let proxy = Arc::new(self);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    if !proxy.is_cut() {
                        connections.spawn(Arc::clone(&proxy).connection(stream));
                    }
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.there.mode.borrow().cut || self.back.mode.borrow().cut
    }

    async fn connection(self: Arc<Self>, dialler: TcpStream) {
        let Ok(target) = TcpStream::connect(&self.target).await else {
            return;
        };
        for stream in [&dialler, &target] {
            let _slower_at_worst = stream.set_nodelay(true);
        }
        let (from_dialler, to_dialler) = dialler.into_split();
        let (from_target, to_target) = target.into_split();
        let mut there = Pump::new(&self.there, &self.counts, from_dialler, to_target);
        let mut back = Pump::new(&self.back, &self.counts, from_target, to_dialler);
        // Both streams are closed as soon as one direction has ended.
        let end = tokio::select! {
            end = there.run() => end,
            end = back.run() => end,
        };
        if matches!(end, End::Fault) {
            self.counts.cut.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Pump<'a> {
    way: &'a Way,
    mode: watch::Receiver<Mode>,
    counts: &'a Counts,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    /// Whether what has arrived there is not what was sent.
    is_damaged: bool,
}

impl Drop for Pump<'_> {
    fn drop(&mut self) {
        if self.is_damaged {
            self.counts.damaged.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<'a> Pump<'a> {
    fn new(way: &'a Way, counts: &'a Counts, from: OwnedReadHalf, to: OwnedWriteHalf) -> Self {
        Self {
            mode: way.mode.subscribe(),
            way,
            counts,
            from,
            to,
            is_damaged: false,
        }
    }

    async fn run(&mut self) -> End {
        let mut mode = self.mode.clone();
        tokio::select! {
            end = self.pass_on() => end,
            _ = mode.wait_for(|mode| mode.cut) => End::Fault,
        }
    }

    async fn pass_on(&mut self) -> End {
        let mut buffer = vec![0; CHUNK];
        loop {
            let Ok(count @ 1..) = self.from.read(&mut buffer).await else {
                return End::Node;
            };
            self.hold().await;
            let chunk = &mut buffer[..count];
            let sent = match self.way.take_shot() {
                None => self.send(chunk).await,
                Some(shot) => match self.shoot(shot, chunk).await {
                    Ok(true) => Ok(()),
                    Ok(false) => return End::Fault,
                    Err(error) => Err(error),
                },
            };
            if sent.is_err() {
                return End::Node;
            }
        }
    }

    /// As long as nothing is to arrive.
    async fn hold(&mut self) {
        let mode = self.mode.borrow().clone();
        if mode.silent {
            self.counts.held.fetch_add(1, Ordering::Relaxed);
            // It does not fail as long as the way is there.
            let _healed = self.mode.wait_for(|mode| !mode.silent).await;
        }
        if let Some(most) = mode.delay {
            self.counts.delayed.fetch_add(1, Ordering::Relaxed);
            let micros = self.way.draw(usize::try_from(most.as_micros()).unwrap());
            sleep(Duration::from_micros(micros as u64)).await;
        }
    }

    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.mode.borrow().trickle && !bytes.is_empty() {
            let (drop, rest) = bytes.split_at(DROP.min(bytes.len()));
            self.counts.trickled.fetch_add(1, Ordering::Relaxed);
            self.to.write_all(drop).await?;
            bytes = rest;
            sleep(BETWEEN_DROPS).await;
        }
        self.to.write_all(bytes).await
    }

    /// Whether the connection goes on.
    async fn shoot(&mut self, shot: Shot, chunk: &mut [u8]) -> io::Result<bool> {
        let place = self.way.draw(chunk.len());
        let part = inside_a_frame(chunk, place);
        {
            let shots = self.counts.shots.lock();
            let mut shots = shots.unwrap_or_else(PoisonError::into_inner);
            *shots.entry(shot).or_default() += 1;
        }
        if shot.is_damage() && !self.is_damaged {
            self.is_damaged = true;
            self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        }
        match shot {
            Shot::Flip => {
                chunk[place] ^= 1 << self.way.draw(8);
                self.to.write_all(chunk).await?;
            }
            Shot::Duplicate => {
                self.to.write_all(&chunk[..part]).await?;
                self.to.write_all(chunk).await?;
            }
            Shot::Repeat => {
                self.to.write_all(chunk).await?;
                self.to.write_all(chunk).await?;
            }
            Shot::Hole => self.to.write_all(&chunk[part..]).await?,
            Shot::Close => {
                self.to.write_all(&chunk[..part]).await?;
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// A place near `place` that is not between two frames (`synod_core::frame`): a part of the
/// stream that is missing, or there twice, is noticed unless it is made of whole frames.
fn inside_a_frame(chunk: &[u8], place: usize) -> usize {
    let mut at = 0;
    while at < place
        && let Some(length) = chunk.get(at..at + 4)
    {
        at += 8 + u32::from_le_bytes(length.try_into().unwrap()) as usize;
    }
    if at == place || place == 0 {
        place + 1
    } else {
        place
    }
}
