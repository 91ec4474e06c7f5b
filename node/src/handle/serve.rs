//! The served side of a client's requests.

use std::time::{SystemTime, UNIX_EPOCH};

use synod_core::{ClientAnswer, ClientRequest, ClientResponse, Encode, Refusal};

use super::{Handle, ProposeError, ReadError};

impl Handle {
    /// Answers a client's request, for a node whose state machine is wrapped in
    /// [`Sessions`](synod_core::Sessions). The transport of your choice brings the request here and
    /// the answer back.
    pub async fn serve(&self, request: ClientRequest) -> ClientResponse {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let ms = since.map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
        self.serve_at(request, ms).await
    }

    /// As [`serve`](Self::serve), at a given time in ms since the Unix epoch: what sessions that
    /// nobody uses expire by.
    pub async fn serve_at(&self, request: ClientRequest, unix_ms: u64) -> ClientResponse {
        let ClientRequest { id, attempt, call } = request;
        let answer = match call {
            synod_core::ClientCall::Read { query, level } => match self.read(query, level).await {
                Ok(answered) => ClientAnswer::Read {
                    index: answered.index,
                    response: answered.response,
                },
                Err(error) => read_failed(error),
            },
            write => match write.into_command(unix_ms) {
                Some(command) => match self.propose(command.to_bytes()).await {
                    Ok(applied) => ClientAnswer::Applied {
                        index: applied.index,
                        response: applied.response,
                    },
                    Err(error) => write_failed(error),
                },
                None => ClientAnswer::Refused("a read is no command".into()),
            },
        };
        ClientResponse {
            id,
            attempt,
            leader: self.leader(),
            answer,
        }
    }
}

fn write_failed(error: ProposeError) -> ClientAnswer {
    match error {
        ProposeError::Rejected(rejected) => rejected.refusal.into(),
        ProposeError::Refused(refusal) => refusal.into(),
        // Nothing has happened: the next leader may take it.
        ProposeError::Displaced => ClientAnswer::NotLeader,
        ProposeError::Stopped => Refusal::Stopped.into(),
        ProposeError::Unknown => ClientAnswer::Unknown,
    }
}

fn read_failed(error: ReadError) -> ClientAnswer {
    match error {
        ReadError::Rejected(rejected) => rejected.refusal.into(),
        ReadError::Refused(refusal) => refusal.into(),
        ReadError::Stopped => Refusal::Stopped.into(),
        ReadError::Unknown => ClientAnswer::Unknown,
    }
}
