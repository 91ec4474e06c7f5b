//! A quorum system for serde: the flat list of thresholds with names instead of masks, so that a
//! human can read it and reading it does not recurse.

use crate::codec::{DecodeError, from_gates};
use crate::error::QuorumError;
use crate::gate::Gate;
use crate::{MAX_GATES, MAX_MEMBERS, NodeSet, Quorum, lower};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use synod_core::NodeId;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Form {
    members: Vec<NodeId>,
    gates: Vec<GateForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GateForm {
    need: u64,
    nodes: Vec<NodeId>,
    gates: Vec<usize>,
    weights: Vec<u32>,
}

impl From<Quorum> for Form {
    fn from(quorum: Quorum) -> Self {
        let form = |gate: &Gate| GateForm {
            need: gate.need,
            nodes: quorum.nodes(gate.leaves).collect(),
            gates: gate.gates.iter().collect(),
            weights: gate.weights.to_vec(),
        };
        Self {
            members: quorum.members().to_vec(),
            gates: quorum.gates().iter().map(form).collect(),
        }
    }
}

impl TryFrom<Form> for Quorum {
    type Error = DecodeError;

    fn try_from(form: Form) -> Result<Self, DecodeError> {
        if form.gates.len() > MAX_GATES {
            let gates = form.gates.len();
            return Err(QuorumError::TooManyGates { gates }.into());
        }
        let members = lower::member_list(form.members)?;
        let mut gates = Vec::new();
        for (index, gate) in form.gates.into_iter().enumerate() {
            gates.push(compile(index, gate, &members)?);
        }
        from_gates(&gates, members)
    }
}

fn compile(index: usize, form: GateForm, members: &[NodeId]) -> Result<Gate, DecodeError> {
    let mut leaves = NodeSet::EMPTY;
    for node in &form.nodes {
        let place = members.binary_search(node);
        let place = place.map_err(|_| QuorumError::Missing(*node))?;
        if !leaves.insert(place) {
            return Err(QuorumError::Duplicate(*node).into());
        }
    }
    let ascending = form.nodes.is_sorted() && form.gates.is_sorted();
    let known = form.gates.iter().all(|gate| *gate < index.min(MAX_MEMBERS));
    let gates: NodeSet = form.gates.iter().copied().filter(|_| known).collect();
    let weighed = form.weights.is_empty() || form.weights.len() == leaves.len() + gates.len();
    // weights belong to parts by their order
    if !ascending || !known || !weighed || gates.len() != form.gates.len() {
        return Err(DecodeError::Reference { index });
    }
    Ok(Gate {
        need: form.need,
        leaves,
        gates,
        weights: form.weights.into(),
    })
}
