//! The command line: what is asked for, checked.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

use bytes::Bytes;
use lexopt::prelude::*;
use synod_core::{NodeId, ReadLevel};

use crate::protocol::ProtocolName;

/// Nodes and where they are.
pub type Addresses = BTreeMap<NodeId, String>;

/// What to do.
#[derive(Debug)]
pub(crate) enum Action {
    Help(&'static str),
    Version,
    Demo(DemoArgs),
    Serve(ServeArgs),
    Put(Addresses, Bytes, Bytes),
    Get(Addresses, Bytes, ReadLevel),
    Status(Addresses),
    Members(Addresses, MembersAction),
}

/// The settings of the demonstration.
#[derive(Debug)]
pub(crate) struct DemoArgs {
    pub(crate) protocol: ProtocolName,
    pub(crate) nodes: u64,
    pub(crate) seconds: u64,
    pub(crate) clients: u64,
    pub(crate) keep: bool,
    pub(crate) report: Option<PathBuf>,
    pub(crate) input: Option<PathBuf>,
}

/// The settings of one node.
#[derive(Debug)]
pub(crate) struct ServeArgs {
    pub(crate) protocol: ProtocolName,
    pub(crate) id: NodeId,
    pub(crate) peers: Addresses,
    pub(crate) data: PathBuf,
    pub(crate) client_addr: String,
    pub(crate) cluster_id: u64,
    pub(crate) join: bool,
    pub(crate) exit_with_stdin: bool,
}

/// What to do with the membership.
#[derive(Debug)]
pub(crate) enum MembersAction {
    List,
    AddLearner(NodeId, String),
    RemoveLearner(NodeId),
}

/// Reads the command line.
///
/// # Errors
///
/// What is wrong with it, for people.
pub(crate) fn parse(args: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Action, String> {
    let mut parser = lexopt::Parser::from_args(args);
    let first = parser.next().map_err(|error| error.to_string())?;
    let command = match first {
        None | Some(Short('h') | Long("help")) => return Ok(Action::Help(crate::help::MAIN)),
        Some(Short('V') | Long("version")) => return Ok(Action::Version),
        Some(Value(command)) => command.string().map_err(|error| error.to_string())?,
        Some(other) => return Err(unexpected(other)),
    };
    match command.as_str() {
        "demo" => demo(parser),
        "serve" => serve(parser),
        "put" => put(parser),
        "get" => get(parser),
        "status" => status(parser),
        "members" => members(parser),
        "help" => Ok(Action::Help(crate::help::MAIN)),
        other => Err(format!(
            "there is no command `{other}`; there are: demo, serve, put, get, status, members"
        )),
    }
}

fn unexpected(arg: lexopt::Arg<'_>) -> String {
    arg.unexpected().to_string()
}

/// A value of an option, as text.
fn text(parser: &mut lexopt::Parser) -> Result<String, String> {
    let value = parser.value().map_err(|error| error.to_string())?;
    value.string().map_err(|error| error.to_string())
}

/// A value of an option, as a number between two others.
fn number(parser: &mut lexopt::Parser, name: &str, from: u64, to: u64) -> Result<u64, String> {
    let value = text(parser)?;
    match value.parse() {
        Ok(number) if (from..=to).contains(&number) => Ok(number),
        _ => Err(format!(
            "{name} ({value}) must be a number from {from} to {to}"
        )),
    }
}

fn next<'a>(parser: &'a mut lexopt::Parser) -> Result<Option<lexopt::Arg<'a>>, String> {
    parser.next().map_err(|error| error.to_string())
}

fn demo(mut parser: lexopt::Parser) -> Result<Action, String> {
    let mut args = DemoArgs {
        protocol: ProtocolName::default(),
        nodes: 0,
        seconds: 12,
        clients: 16,
        keep: false,
        report: None,
        input: None,
    };
    let mut nodes = None;
    while let Some(arg) = next(&mut parser)? {
        match arg {
            Short('h') | Long("help") => return Ok(Action::Help(crate::help::DEMO)),
            Long("protocol") => args.protocol = text(&mut parser)?.parse()?,
            Long("nodes") => nodes = Some(number(&mut parser, "--nodes", 3, 9)?),
            Long("seconds") => args.seconds = number(&mut parser, "--seconds", 3, 30)?,
            Long("clients") => args.clients = number(&mut parser, "--clients", 1, 256)?,
            Long("keep") => args.keep = true,
            Long("report") => args.report = Some(text(&mut parser)?.into()),
            Long("input") => args.input = Some(text(&mut parser)?.into()),
            other => return Err(unexpected(other)),
        }
    }
    args.nodes = nodes.unwrap_or_else(|| args.protocol.nodes());
    Ok(Action::Demo(args))
}

fn serve(mut parser: lexopt::Parser) -> Result<Action, String> {
    let (mut id, mut data, mut client_addr) = (None, None, None);
    let mut peers = Addresses::new();
    let mut args = ServeArgs {
        protocol: ProtocolName::default(),
        id: NodeId(0),
        peers: Addresses::new(),
        data: PathBuf::new(),
        client_addr: String::new(),
        cluster_id: 1,
        join: false,
        exit_with_stdin: false,
    };
    while let Some(arg) = next(&mut parser)? {
        match arg {
            Short('h') | Long("help") => return Ok(Action::Help(crate::help::SERVE)),
            Long("protocol") => args.protocol = text(&mut parser)?.parse()?,
            Long("id") => id = Some(node_id(&text(&mut parser)?)?),
            Long("peers") => peers = addresses("--peers", &text(&mut parser)?)?,
            Long("data") => data = Some(PathBuf::from(text(&mut parser)?)),
            Long("client-addr") => client_addr = Some(address(&text(&mut parser)?)?),
            Long("cluster-id") => {
                args.cluster_id = number(&mut parser, "--cluster-id", 0, u64::MAX)?;
            }
            Long("join") => args.join = true,
            Long("exit-with-stdin") => args.exit_with_stdin = true,
            other => return Err(unexpected(other)),
        }
    }
    args.id = id.ok_or_else(|| missing("serve", "--id N"))?;
    args.data = data.ok_or_else(|| missing("serve", "--data DIR"))?;
    args.client_addr = client_addr.ok_or_else(|| missing("serve", "--client-addr HOST:PORT"))?;
    if peers.is_empty() {
        return Err(missing("serve", "--peers ID=HOST:PORT,..."));
    }
    if !peers.contains_key(&args.id) {
        let known: Vec<String> = peers.keys().map(|id| id.0.to_string()).collect();
        return Err(format!(
            "--id ({}) must be one of --peers ({}): that entry says where this node listens",
            args.id.0,
            known.join(", ")
        ));
    }
    if peers.values().any(|peer| *peer == args.client_addr) {
        return Err(format!(
            "--client-addr ({}) must differ from every address of --peers",
            args.client_addr
        ));
    }
    args.peers = peers;
    Ok(Action::Serve(args))
}

fn missing(command: &str, what: &str) -> String {
    format!("{command} needs {what}; see `synod-kv {command} --help`")
}

/// Options of a client, and what else was on the line.
struct ClientArgs {
    cluster: Addresses,
    words: Vec<Bytes>,
    level: ReadLevel,
}

/// `None` if help was asked for.
fn client(mut parser: lexopt::Parser, command: &str) -> Result<Option<ClientArgs>, String> {
    let mut args = ClientArgs {
        cluster: Addresses::new(),
        words: Vec::new(),
        level: ReadLevel::Linearizable,
    };
    if let Ok(cluster) = std::env::var("SYNOD_KV_CLUSTER") {
        args.cluster = addresses("SYNOD_KV_CLUSTER", &cluster)?;
    }
    while let Some(arg) = next(&mut parser)? {
        match arg {
            Short('h') | Long("help") => return Ok(None),
            Long("cluster") => args.cluster = addresses("--cluster", &text(&mut parser)?)?,
            Long("stale") if command == "get" => args.level = ReadLevel::Stale,
            Value(word) => {
                use std::os::unix::ffi::OsStringExt as _;
                args.words.push(word.into_vec().into());
            }
            other => return Err(unexpected(other)),
        }
    }
    if args.cluster.is_empty() {
        return Err(missing(command, "--cluster ID=HOST:PORT,..."));
    }
    Ok(Some(args))
}

fn put(parser: lexopt::Parser) -> Result<Action, String> {
    let Some(args) = client(parser, "put")? else {
        return Ok(Action::Help(crate::help::CLIENT));
    };
    match <[Bytes; 2]>::try_from(args.words) {
        Ok([key, value]) => Ok(Action::Put(args.cluster, key, value)),
        Err(words) => Err(format!(
            "put needs KEY and VALUE, not {} words",
            words.len()
        )),
    }
}

fn get(parser: lexopt::Parser) -> Result<Action, String> {
    let Some(args) = client(parser, "get")? else {
        return Ok(Action::Help(crate::help::CLIENT));
    };
    match <[Bytes; 1]>::try_from(args.words) {
        Ok([key]) => Ok(Action::Get(args.cluster, key, args.level)),
        Err(words) => Err(format!("get needs KEY, not {} words", words.len())),
    }
}

fn status(parser: lexopt::Parser) -> Result<Action, String> {
    let Some(args) = client(parser, "status")? else {
        return Ok(Action::Help(crate::help::CLIENT));
    };
    if let Some(word) = args.words.first() {
        return Err(format!("status takes no {}", word.escape_ascii()));
    }
    Ok(Action::Status(args.cluster))
}

fn members(parser: lexopt::Parser) -> Result<Action, String> {
    let Some(args) = client(parser, "members")? else {
        return Ok(Action::Help(crate::help::CLIENT));
    };
    let words: Vec<String> = args
        .words
        .iter()
        .map(|w| w.escape_ascii().to_string())
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let action = match words[..] {
        [] | ["list"] => MembersAction::List,
        ["add-learner", node] => {
            let (node, address) = one_address("add-learner", node)?;
            MembersAction::AddLearner(node, address)
        }
        ["remove-learner", node] => MembersAction::RemoveLearner(node_id(node)?),
        _ => {
            return Err(format!(
                "members takes: list, add-learner ID=HOST:PORT or remove-learner ID; not `{}`",
                words.join(" ")
            ));
        }
    };
    Ok(Action::Members(args.cluster, action))
}

fn node_id(text: &str) -> Result<NodeId, String> {
    match text.parse() {
        Ok(id) if id > 0 => Ok(NodeId(id)),
        _ => Err(format!("node id ({text}) must be a number from 1")),
    }
}

fn address(text: &str) -> Result<String, String> {
    match text.to_socket_addrs() {
        Ok(_) => Ok(text.into()),
        Err(error) => Err(format!("address ({text}) must be HOST:PORT: {error}")),
    }
}

fn one_address(option: &str, text: &str) -> Result<(NodeId, String), String> {
    let Some((id, host)) = text.split_once('=') else {
        return Err(format!("{option} ({text}) must be ID=HOST:PORT"));
    };
    Ok((node_id(id)?, address(host)?))
}

/// `1=host:port,2=host:port,...`
fn addresses(option: &str, text: &str) -> Result<Addresses, String> {
    let mut all = Addresses::new();
    for part in text.split(',') {
        let (id, address) = one_address(option, part)?;
        if let Some((twin, _)) = all.iter().find(|(_, other)| **other == address) {
            return Err(format!(
                "{option} has {address} twice, for node {} and node {}",
                NodeId::clone(twin).0,
                id.0
            ));
        }
        if let Some(other) = all.insert(id, address.clone()) {
            return Err(format!(
                "{option} has node {} twice, at {other} and at {address}",
                id.0
            ));
        }
    }
    Ok(all)
}
