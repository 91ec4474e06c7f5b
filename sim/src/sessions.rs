//! Exactly-once on top of at-least-once: the table that clients' retries are looked up in.

use alloc::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use synod_core::{LogIndex, MachineError, StateMachine};

/// A command as it is in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub(crate) client: u64,
    /// The client's operation; the same for all attempts at it.
    pub(crate) seq: u64,
    /// This attempt at it: unique in a run.
    pub(crate) attempt: u64,
}

impl Header {
    const LEN: usize = 24;

    pub(crate) fn wrap(self, payload: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(Self::LEN + payload.len());
        out.put_u64(self.client);
        out.put_u64(self.seq);
        out.put_u64(self.attempt);
        out.put_slice(payload);
        out.freeze()
    }

    /// The header of a command and what it wraps; `None` if no client of ours wrote it.
    pub(crate) fn unwrap(mut command: Bytes) -> Option<(Self, Bytes)> {
        if command.len() < Self::LEN {
            return None;
        }
        let (client, seq, attempt) = (command.get_u64(), command.get_u64(), command.get_u64());
        let header = Self {
            client,
            seq,
            attempt,
        };
        Some((header, command))
    }
}

/// What a command did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Effect {
    /// It was applied.
    First,
    /// It had been applied; the response is that of the first time.
    Repeated,
    /// The client had moved on; nothing was done.
    Late,
}

/// A state machine behind a table of what each client asked last and was told.
#[derive(Debug)]
pub(crate) struct Sessions<M> {
    pub(crate) inner: M,
    last: BTreeMap<u64, (u64, Bytes)>,
}

impl<M: StateMachine> Sessions<M> {
    pub(crate) const fn new(inner: M) -> Self {
        Self {
            inner,
            last: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(
        &mut self,
        index: LogIndex,
        header: Header,
        payload: &Bytes,
    ) -> (Effect, Bytes) {
        match self.last.get(&header.client) {
            Some((seq, response)) if *seq == header.seq => {
                return (Effect::Repeated, response.clone());
            }
            Some((seq, _)) if *seq > header.seq => return (Effect::Late, Bytes::new()),
            _ => {}
        }
        let response = self.inner.apply(index, payload);
        self.last
            .insert(header.client, (header.seq, response.clone()));
        (Effect::First, response)
    }

    pub(crate) fn snapshot(&self) -> Result<Bytes, MachineError> {
        let mut out = BytesMut::new();
        out.put_u32(u32::try_from(self.last.len()).unwrap_or(u32::MAX));
        for (client, (seq, response)) in &self.last {
            out.put_u64(*client);
            out.put_u64(*seq);
            out.put_u32(u32::try_from(response.len()).unwrap_or(u32::MAX));
            out.put_slice(response);
        }
        out.put_slice(&self.inner.snapshot()?.collect_bytes()?);
        Ok(out.freeze())
    }

    pub(crate) fn restore(&mut self, mut bytes: Bytes) -> Result<(), MachineError> {
        let short = || MachineError::new("the snapshot ends early");
        let mut last = BTreeMap::new();
        for _ in 0..bytes.try_get_u32().map_err(|_| short())? {
            let client = bytes.try_get_u64().map_err(|_| short())?;
            let seq = bytes.try_get_u64().map_err(|_| short())?;
            let len = bytes.try_get_u32().map_err(|_| short())? as usize;
            if bytes.len() < len {
                return Err(short());
            }
            last.insert(client, (seq, bytes.split_to(len)));
        }
        self.inner.restore(bytes.into())?;
        self.last = last;
        Ok(())
    }
}
