//! What stands on the stage: a decree, a log or a register.

use crate::decree::Decree;
use crate::hall::Hall;
use crate::log::Log;
use crate::register::Register;

/// A bug that is planted in every machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Bug {
    Decree(synod_paxos::single::planted::Bug),
    Log(synod_paxos::log::planted::Bug),
    Register(synod_paxos::register::planted::Bug),
}

pub(crate) enum Stage {
    Decree(Box<Decree>),
    Log(Box<Hall<Log>>),
    Register(Box<Hall<Register>>),
}

impl Stage {
    /// `log A B C`, `register A B C`, or what a decree is made of.
    pub(crate) fn set(words: &[&str], bug: Option<Bug>) -> Result<Self, String> {
        match (words, bug) {
            (["log", nodes @ ..], None | Some(Bug::Log(_))) => {
                let planted = bug.and_then(|bug| match bug {
                    Bug::Log(bug) => Some(bug),
                    Bug::Decree(_) | Bug::Register(_) => None,
                });
                let log = Log::new(nodes.len() as u64, planted);
                Ok(Self::Log(Box::new(Hall::new(log, nodes, bug.is_none())?)))
            }
            (["register", nodes @ ..], None | Some(Bug::Register(_))) => {
                let planted = bug.and_then(|bug| match bug {
                    Bug::Register(bug) => Some(bug),
                    Bug::Decree(_) | Bug::Log(_) => None,
                });
                let register = Register::new(nodes.len() as u64, planted);
                let hall = Hall::new(register, nodes, bug.is_none())?;
                Ok(Self::Register(Box::new(hall)))
            }
            (["log" | "register", ..], Some(_)) | (_, Some(Bug::Log(_) | Bug::Register(_))) => {
                Err("this bug is another protocol's".into())
            }
            (words, None) => Ok(Self::Decree(Box::new(Decree::set(words, None)?))),
            (words, Some(Bug::Decree(bug))) => {
                Ok(Self::Decree(Box::new(Decree::set(words, Some(bug))?)))
            }
        }
    }

    /// Does what a line says; what the machines say to that.
    pub(crate) fn act(&mut self, words: &[&str]) -> Result<Vec<String>, String> {
        match self {
            Self::Decree(decree) => decree.act(words),
            Self::Log(hall) => hall.act(words),
            Self::Register(hall) => hall.act(words),
        }
    }
}
