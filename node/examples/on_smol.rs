//! A replicated service on smol: three nodes over TCP with their logs on disk.
//!
//! The service itself is in `examples/service/mod.rs` and runs on any runtime; this is all that is different
//! on smol. Run it with `cargo run -p synod-node --example on_smol`.

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example has std and tells what it does"
)]

mod service;

use service::Runtime;
use synod_node::clock::AsyncIoClock;
use synod_node::stream::AsyncIoTcp;

fn main() -> service::Result<()> {
    smol::block_on(example())
}

async fn example() -> service::Result<()> {
    let mut listeners = Vec::new();
    for _ in 0..3 {
        let listener = AsyncIoTcp::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?.to_string();
        listeners.push((listener, address));
    }
    let sum = service::run(Runtime {
        clock: AsyncIoClock::new(),
        listeners,
        spawn: |future| smol::spawn(future).detach(),
    });
    println!("on smol, three nodes agree: the sum is {}", sum.await?);
    Ok(())
}
