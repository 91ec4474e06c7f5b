//! Which of the things that a seed has drawn take place: each has a name of its own, so that a run
//! can be repeated with some of them only.

use alloc::collections::BTreeSet;
use core::fmt;
use core::str::FromStr;

use synod_core::{Rng, mix};

/// What kind of incident it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A fault of the schedule, by its place in it.
    Fault,
    /// A message is lost: from, to, which one.
    Lost,
    /// A message comes twice: from, to, which one.
    Doubled,
    /// A message takes much longer: from, to, which one.
    Late,
    /// A bit of a message is flipped: from, to, which one.
    Damaged,
    /// A write takes much longer: node, which one.
    Stalled,
    /// A write or its sync fails: node, which one.
    WriteFailed,
    /// An election makes a node crash: the node that stands, which time.
    ElectionCrash,
    /// A node crashes a few outputs behind a promise: node, which one.
    PromiseCrash,
    /// A node crashes while it recovers: node, in which life.
    RecoveryCrash,
    /// An answer is lost on its way to the client: client, which one.
    AnswerLost,
    /// A client asks something: client, which operation.
    Asked,
    /// Something of a scene's own, named as it likes.
    Own,
}

impl Kind {
    const ALL: [(Self, &'static str); 13] = [
        (Self::Fault, "fault"),
        (Self::Lost, "lost"),
        (Self::Doubled, "doubled"),
        (Self::Late, "late"),
        (Self::Damaged, "damaged"),
        (Self::Stalled, "stalled"),
        (Self::WriteFailed, "failed"),
        (Self::ElectionCrash, "crash-election"),
        (Self::PromiseCrash, "crash-promise"),
        (Self::RecoveryCrash, "crash-recovery"),
        (Self::AnswerLost, "unheard"),
        (Self::Asked, "op"),
        (Self::Own, "own"),
    ];

    fn name(self) -> &'static str {
        let mut named = Self::ALL.into_iter().filter(|(kind, _)| *kind == self);
        named.next().map_or("", |(_, name)| name)
    }
}

/// One thing that may take place in a run: `lost.0.2.17` is the loss of the 17th message from the
/// node at place 0 to the one at place 2.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Incident {
    /// What it is.
    pub kind: Kind,
    /// Whom it concerns, by place.
    pub one: u16,
    /// The other one, of a message.
    pub other: u16,
    /// Which one of its kind for those.
    pub count: u32,
}

impl Incident {
    pub(crate) const fn new(kind: Kind, one: usize, other: usize, count: u64) -> Self {
        Self {
            kind,
            one: one as u16,
            other: other as u16,
            count: count as u32,
        }
    }

    /// What is drawn for it, whatever else happens in the run.
    pub(crate) const fn rng(self, seed: u64) -> Rng {
        let place = (self.kind as u64) << 32 | (self.one as u64) << 16 | self.other as u64;
        Rng::new(mix(mix(seed, place), self.count as u64))
    }
}

impl fmt::Display for Incident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            one,
            other,
            count,
        } = self;
        write!(f, "{}.{one}.{other}.{count}", kind.name())
    }
}

/// A text that names no incident.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not an incident like lost.0.2.17")]
pub struct NoIncident(String);

impl FromStr for Incident {
    type Err = NoIncident;

    fn from_str(text: &str) -> Result<Self, NoIncident> {
        let parse = || {
            let mut parts = text.trim().split('.');
            let name = parts.next()?;
            let mut kinds = Kind::ALL.into_iter();
            let (kind, _) = kinds.find(|(_, known)| *known == name)?;
            let incident = Self {
                kind,
                one: parts.next()?.parse().ok()?,
                other: parts.next()?.parse().ok()?,
                count: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(incident)
        };
        parse().ok_or_else(|| NoIncident(text.into()))
    }
}

/// What of a seed takes place.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    only: Option<BTreeSet<Incident>>,
}

impl Schedule {
    /// All that it has drawn.
    #[must_use]
    pub const fn all() -> Self {
        Self { only: None }
    }

    /// These incidents and no others.
    #[must_use]
    pub fn only(incidents: impl IntoIterator<Item = Incident>) -> Self {
        Self {
            only: Some(incidents.into_iter().collect()),
        }
    }

    /// What [`Display`](fmt::Display) has written: incidents between commas, or `all`.
    ///
    /// # Errors
    ///
    /// [`NoIncident`] for the first part that is none.
    pub fn parse(text: &str) -> Result<Self, NoIncident> {
        if text.trim() == "all" {
            return Ok(Self::all());
        }
        let parts = text.split(',').filter(|part| !part.trim().is_empty());
        let only = parts.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { only: Some(only) })
    }

    pub(crate) fn allows(&self, incident: Incident) -> bool {
        self.only
            .as_ref()
            .is_none_or(|only| only.contains(&incident))
    }

    pub(crate) const fn is_all(&self) -> bool {
        self.only.is_none()
    }

    /// How many faults and how many operations are listed; `None` if it is all.
    #[must_use]
    pub fn len(&self) -> Option<(usize, usize)> {
        let only = self.only.as_ref()?;
        let asked = only.iter().filter(|one| one.kind == Kind::Asked).count();
        Some((only.len() - asked, asked))
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(only) = &self.only else {
            return f.write_str("all");
        };
        for (k, incident) in only.iter().enumerate() {
            let comma = if k == 0 { "" } else { "," };
            write!(f, "{comma}{incident}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for (k, (kind, _)) in Kind::ALL.into_iter().enumerate() {
            let incident = Incident::new(kind, k, 3, 70_000);
            assert_eq!(incident.to_string().parse(), Ok(incident));
        }
        for bad in [
            "",
            "lost",
            "lost.1.2",
            "lost.1.2.x",
            "lost.1.2.3.4",
            "none.1.2.3",
        ] {
            assert!(bad.parse::<Incident>().is_err(), "{bad}");
        }
        let schedule = Schedule::parse("fault.0.0.3, op.2.0.17").unwrap();
        assert_eq!(schedule.len(), Some((1, 1)));
        assert_eq!(Schedule::parse(&schedule.to_string()), Ok(schedule));
        assert_eq!(Schedule::parse("all"), Ok(Schedule::all()));
    }
}
