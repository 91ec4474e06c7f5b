//! What becomes chosen, and the configurations among it: each comes into force as it is chosen.

use alloc::format;

use synod_core::{Decode, Entry, LogEvent, LogIndex, LogRecord};

use super::Node;
use crate::log::membership::stops;
use crate::log::{Detail, Membership};

impl Node {
    /// Learns that everything up to `index`, all of which it holds, is chosen: as far as the stop-sign
    /// that ends this configuration, if there is one. What it holds behind that was never chosen.
    pub(crate) fn choose(&mut self, index: LogIndex) {
        debug_assert!(
            index <= self.held.through(),
            "{index} is not held: {:?}",
            self.held
        );
        let index = self.open_stop().map_or(index, |stop| index.min(stop));
        if index <= self.chosen {
            return;
        }
        self.chosen = index;
        self.due = true;
        self.adopt_configs(index);
        self.settle_fast();
        if index.since(self.hinted) >= Self::HINT_EVERY {
            self.write_state();
        }
    }

    /// The first stop-sign that is accepted here and not known to be chosen.
    fn open_stop(&self) -> Option<LogIndex> {
        let epoch = self.epoch();
        let mut open = self.open_configs.iter();
        let stop = open.find(|(_, entry)| stops(entry, epoch));
        stop.map(|(index, _)| *index)
    }

    /// Configurations among what was just chosen come into force.
    fn adopt_configs(&mut self, through: LogIndex) {
        while let Some((index, _)) = self.open_configs.first()
            && *index <= through
        {
            let (index, entry) = self.open_configs.remove(0);
            self.adopt(index, &entry);
        }
    }

    /// A snapshot covers those up to `index`.
    pub(crate) fn open_configs_behind(&mut self, index: LogIndex) {
        self.open_configs.retain(|(at, _)| *at > index);
    }

    /// Something else is put in these slots.
    pub(crate) fn forget_configs(&mut self, first: LogIndex, last: LogIndex) {
        if !self.open_configs.is_empty() {
            let within = first..=last;
            self.open_configs
                .retain(|(index, _)| !within.contains(index));
        }
    }

    /// Notes a configuration that is not known to be chosen.
    pub(crate) fn note_config(&mut self, index: LogIndex, entry: Entry) {
        let place = self.open_configs.partition_point(|(at, _)| *at < index);
        self.open_configs.insert(place, (index, entry));
    }

    fn adopt(&mut self, index: LogIndex, entry: &Entry) {
        let membership = match Membership::decode_all(entry.payload.clone()) {
            Ok(membership) => membership,
            Err(error) => {
                let evidence = format!("the configuration at {index}: {error}");
                return self.fail_stop("configurations in the log are readable", evidence);
            }
        };
        let before = self.membership();
        if !membership.follows(before) {
            let evidence = format!("{membership:?} at {index}, behind {before:?}");
            return self.fail_stop("voters change one epoch at a time", evidence);
        }
        let stop = membership.epoch() > before.epoch();
        self.history.push(index, membership);
        if stop {
            // In this order: a crash between the two leaves a node that is still in the configuration
            // which has ended, and lacks votes that chose nothing in it. The other way round it
            // would take them for votes of the next one. And before anything else is written: a
            // vote in the next configuration is on no disk that does not know that configuration
            // to be in force.
            self.cut(index);
            // Slots that a leader of the configuration before has opened are not open in this one.
            self.fast.begin(index);
            self.write_state();
        }
        self.membership_changed();
    }

    /// Drops votes behind a stop-sign of which a quorum's promises, or its being chosen, have shown that
    /// nothing behind it was or will be chosen in its configuration (`stop.rs`).
    pub(crate) fn cut(&mut self, stop: LogIndex) {
        self.open_configs.retain(|(at, _)| *at <= stop);
        self.held.clamp(stop);
        self.clamp_durable(stop);
        if self.slots.sealed() > stop {
            let from = stop.next();
            self.outbox.write(LogRecord::Truncate { from });
            self.slots.truncate(stop);
        }
    }

    pub(crate) fn membership_changed(&mut self) {
        let membership = self.history.current();
        let detail = Detail::Membership {
            index: self.history.since(),
            epoch: membership.epoch(),
            voters: membership.voters().to_vec(),
            learners: membership.learners().to_vec(),
        };
        // A node that was taken out may come back under its id as a new learner with a new disk.
        let me = self.config.id;
        let before = self.known.len();
        self.known
            .retain(|(node, _)| *node == me || membership.contains(*node));
        if self.known.len() < before {
            // Durably: else a restart would remember the old disk and turn the new one away.
            self.write_state();
        }
        self.tell(LogEvent::Detail(detail));
    }
}
