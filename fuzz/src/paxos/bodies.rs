//! Messages that no correct peer would send.

use super::config;
use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use synod_core::{
    Denial, Encode, Entries, Entry, Generation, Instant, LogImage, LogIndex, Machine, NodeId,
    Outcome, Output, Round, SnapshotId, SnapshotMeta, Ticket,
};
use synod_paxos::Ballot;
use synod_paxos::log::{Accept, Body, Cover, MultiPaxos, Name, Page, Piece, Votes};

pub(super) fn body(script: &mut Unstructured<'_>, of: Ballot) -> Result<Body> {
    Ok(match script.int_in_range(0..=20)? {
        0 => Body::Ask {
            round: round(script)?,
        },
        1 => Body::Beat {
            round: round(script)?,
            stands: ballot(script)?,
            follows: ballot(script)?,
            content: script.arbitrary()?,
            priority: script.int_in_range(0..=2)?,
        },
        2 => Body::TakeOver,
        3 => Body::Prepare {
            after: index(script)?,
        },
        4 | 5 => Body::Promise(page(script)?),
        6 => Body::Nack,
        7 | 8 => Body::Accept(Accept {
            entries: entries(script, of)?,
            chosen: index(script)?,
            pushed: index(script)?,
            round: round(script)?,
            fast: match script.int_in_range(0..=2)? {
                0 => Some(index(script)?),
                _ => None,
            },
        }),
        9 => Body::Accepted {
            held: cover(script)?,
            round: round(script)?,
        },
        10 => Body::Fetch {
            after: index(script)?,
            through: match script.arbitrary()? {
                true => Some(index(script)?),
                false => None,
            },
            votes: script.arbitrary()?,
            staged: match script.arbitrary()? {
                true => Some((snapshot_id(script)?, number(script)?)),
                false => None,
            },
        },
        11 => Body::Page(page(script)?),
        12 => Body::Piece(Box::new(Piece {
            meta: meta(script)?,
            offset: number(script)?,
            chunk: payload(script)?,
        })),
        13 => Body::Stranger {
            known: Generation(number(script)?),
        },
        14 | 15 => reading(script)?,
        16 | 17 => fast(script, of)?,
        _ => forwarded(script)?,
    })
}

/// What is said in fast rounds.
fn fast(script: &mut Unstructured<'_>, of: Ballot) -> Result<Body> {
    let fast = Ballot {
        round: of.round | 1,
        ..of
    };
    if script.arbitrary()? {
        return Ok(Body::Offer(entries(script, fast)?));
    }
    let mut votes = Vec::new();
    for _ in 0..script.int_in_range(0..=3)? {
        votes.push(Votes {
            first: index(script)?,
            count: script.int_in_range(1..=4)?,
            name: name(script)?,
        });
    }
    Ok(Body::Voted(votes))
}

fn name(script: &mut Unstructured<'_>) -> Result<Name> {
    Ok(Name {
        life: script.int_in_range(0..=2)?,
        number: number(script)?,
    })
}

/// What is said about quorum reads and leases.
fn reading(script: &mut Unstructured<'_>) -> Result<Body> {
    let (life, round) = (number(script)?, round(script)?);
    let nanos = number(script)?.saturating_mul(1 << 24);
    Ok(match script.int_in_range(0..=4)? {
        0 => Body::QuorumRead { life, round },
        1 => Body::QuorumReadAt {
            life,
            round,
            last: index(script)?,
            chosen: index(script)?,
        },
        2 => Body::Fill {
            through: index(script)?,
        },
        3 => Body::Lease { round, nanos },
        _ => Body::Granted { round, nanos },
    })
}

/// What followers and leaders tell each other about proposals and reads.
fn forwarded(script: &mut Unstructured<'_>) -> Result<Body> {
    let life = number(script)?;
    let ticket = Ticket(number(script)?);
    Ok(match script.int_in_range(0..=3)? {
        0 => {
            let count = script.int_in_range(0..=3)?;
            let commands = (0..count).map(|_| payload(script)).collect::<Result<_>>()?;
            Body::Propose {
                life,
                first: ticket,
                commands,
            }
        }
        1 => Body::Proposed {
            life,
            first: ticket,
            count: u32::from(script.arbitrary::<u8>()?),
            outcome: match script.int_in_range(0..=2)? {
                0 => Outcome::Accepted(index(script)?),
                1 => Outcome::Refused(denial(script)?),
                _ => Outcome::Unknown,
            },
        },
        2 => Body::Read { life, ticket },
        _ => Body::ReadAt {
            life,
            ticket,
            index: match script.arbitrary()? {
                true => Ok(index(script)?),
                false => Err(denial(script)?),
            },
        },
    })
}

fn entries(script: &mut Unstructured<'_>, of: Ballot) -> Result<Entries> {
    let count: u64 = script.int_in_range(0..=3)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        entries.push(match script.int_in_range(0..=4)? {
            0 => Entry::blank(),
            1 => Entry {
                kind: synod_core::EntryKind::Config,
                payload: config_bytes(script)?,
            },
            2 => Entry {
                kind: synod_core::EntryKind::Named,
                payload: [&payload(script)?[..], &name(script)?.to_bytes()]
                    .concat()
                    .into(),
            },
            _ => Entry::command(payload(script)?),
        });
    }
    // As the decoder lets them through.
    let first = LogIndex(number(script)?.clamp(1, u64::MAX - count));
    let stamp = match script.int_in_range(0..=3)? {
        0 => ballot(script)?.stamp(),
        _ => of.stamp(),
    };
    Ok(Entries::new(first, stamp, entries))
}

fn page(script: &mut Unstructured<'_>) -> Result<Page> {
    let after = index(script)?;
    let count = script.int_in_range(0..=2)?;
    let mut runs: Vec<Entries> = Vec::new();
    for _ in 0..count {
        let of = ballot(script)?;
        let run = entries(script, of)?;
        // In order, often enough.
        let follows = runs.last().map_or(after, Entries::last);
        let first = match script.arbitrary()? {
            true => LogIndex(follows.0.min(1 << 62) + script.int_in_range(1..=2)?),
            false => run.first(),
        };
        runs.push(Entries::new(first, run.stamp(), run.as_slice().to_vec()));
    }
    let end = runs.last().map_or(after, Entries::last);
    Ok(Page {
        after,
        through: match script.arbitrary()? {
            true => end,
            false => index(script)?,
        },
        runs,
        chosen: index(script)?,
        last: index(script)?,
    })
}

fn cover(script: &mut Unstructured<'_>) -> Result<Cover> {
    let mut cover = Cover::up_to(LogIndex(number(script)? % (1 << 62)));
    for _ in 0..script.int_in_range(0..=2)? {
        let first = LogIndex(cover.last().0 + script.int_in_range(1..=3)?);
        cover.add(first, LogIndex(first.0 + script.int_in_range(0..=2)?));
    }
    Ok(cover)
}

pub(super) fn config_bytes(script: &mut Unstructured<'_>) -> Result<Bytes> {
    // A founder's first state ends with its configuration.
    let voters = script.int_in_range(1..=4)?;
    let mut log = MultiPaxos::new(
        config(voters, 1),
        LogImage::new().restored(0),
        Instant::START,
    )
    .expect("an empty disk is a start");
    let mut found = None;
    while let Some(output) = log.poll() {
        if let Output::Persist(_, records) = output {
            let state = records.into_iter().next();
            if let Some(synod_core::LogRecord::State(state)) = state {
                found = Some(state.slice(45..));
            }
        }
    }
    match (script.int_in_range(0..=3)?, found) {
        (0, _) | (_, None) => payload(script),
        (1, Some(config)) => {
            // The first change of the voters.
            let head = [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            Ok([&head, &config[1..]].concat().into())
        }
        (_, Some(config)) => Ok(config),
    }
}

fn meta(script: &mut Unstructured<'_>) -> Result<SnapshotMeta> {
    Ok(SnapshotMeta {
        id: snapshot_id(script)?,
        stamp: ballot(script)?.stamp(),
        config: config_bytes(script)?,
        size: u64::from(script.int_in_range(0..=8_u8)?),
    })
}

fn snapshot_id(script: &mut Unstructured<'_>) -> Result<SnapshotId> {
    Ok(SnapshotId {
        origin: Generation(script.int_in_range(1..=2)?),
        index: index(script)?,
    })
}

fn denial(script: &mut Unstructured<'_>) -> Result<Denial> {
    Ok(match script.int_in_range(0..=3)? {
        0 => Denial::NotLeader,
        1 => Denial::Busy { limit: 1 },
        2 => Denial::ChangeUnderWay(index(script)?),
        _ => Denial::TooLarge { len: 2, limit: 1 },
    })
}

/// As the decoder lets it through.
pub(super) fn ballot(script: &mut Unstructured<'_>) -> Result<Ballot> {
    Ok(Ballot {
        round: number(script)?.min(Ballot::LAST_ROUND),
        proposer: NodeId(script.int_in_range(1..=5)?),
    })
}

fn index(script: &mut Unstructured<'_>) -> Result<LogIndex> {
    number(script).map(LogIndex)
}

fn round(script: &mut Unstructured<'_>) -> Result<Round> {
    number(script).map(Round)
}

/// Small mostly, since only then do things meet; sometimes as great as may be.
fn number(script: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match script.arbitrary::<u8>()? {
        255 => u64::MAX,
        254 => u64::MAX - 1,
        253 => script.arbitrary()?,
        small => u64::from(small % 12),
    })
}

pub(super) fn payload(script: &mut Unstructured<'_>) -> Result<Bytes> {
    let len = script.int_in_range(0..=6)?;
    Ok(Bytes::copy_from_slice(script.bytes(len)?))
}
