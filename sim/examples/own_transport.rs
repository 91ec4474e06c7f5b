//! Test how your transport turns messages into bytes and back, while bits flip: `cargo run --example
//! own_transport`; run it with `trusting` to see what happens without a checksum.

#![allow(clippy::print_stdout)] // an example talks

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, Encode, LogImage};
use synod_raft::{Config, Message, Raft};
use synod_sim::{Campaign, Kv, LogSubject, Simulation, Start, Subject, Wire};

/// The bytes of a message: its encoding and, behind it, a sum (Fletcher, 1982) that notices every
/// single flipped bit.
struct Own {
    trusting: bool,
}

fn sum(bytes: &[u8]) -> [u8; 2] {
    let add = |(a, b): (u16, u16), byte: &u8| {
        let a = (a + u16::from(*byte)) % 255;
        (a, (a + b) % 255)
    };
    let (a, b) = bytes.iter().fold((0, 0), add);
    [a as u8, b as u8]
}

impl Wire<Message> for Own {
    fn encode(&self, message: &Message) -> Bytes {
        let mut out = BytesMut::new();
        message.encode(&mut out);
        let sum = sum(&out);
        out.extend_from_slice(&sum);
        out.freeze()
    }

    fn decode(&self, mut bytes: Bytes) -> Result<Message, String> {
        let found = bytes.split_off(bytes.len().saturating_sub(2));
        if !self.trusting && found[..] != sum(&bytes) {
            return Err("the sum does not fit".into());
        }
        Message::decode_all(bytes).map_err(|error| error.to_string())
    }
}

// What is needed to test it begins here.

struct OnOwnTransport {
    wire: Own,
}

impl Subject for OnOwnTransport {
    type Machine = Raft;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Raft {
        let config = Config::builder(start.id).voters(start.voters.iter().copied());
        let config = config.seed(start.seed).build().expect("valid settings");
        Raft::new(config, start.restored, start.now).expect("the disk is readable")
    }

    fn wire(&self) -> Option<&dyn Wire<Message>> {
        Some(&self.wire)
    }
}

impl LogSubject for OnOwnTransport {}

fn main() {
    let trusting = std::env::args().any(|arg| arg == "trusting");
    let subject = OnOwnTransport {
        wire: Own { trusting },
    };
    let summary = Campaign::from_env("own transport", 60).run(&Simulation::new(subject, Kv));
    println!("{summary}");
    assert_eq!(summary.failure.is_some(), trusting);
}
