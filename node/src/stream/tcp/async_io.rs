use alloc::boxed::Box;
use alloc::string::ToString;
use core::net::SocketAddr;
use std::io;

use async_net::{TcpListener, TcpStream};
use async_trait::async_trait;
use synod_core::NodeId;

use crate::stream::{BoxStream, Incoming, Network};

/// TCP on async-io, the reactor of smol; works under any executor. Sends small messages at once
/// (`TCP_NODELAY`).
#[derive(Debug)]
pub struct AsyncIoTcp {
    listener: TcpListener,
}

impl AsyncIoTcp {
    /// Listens at `address` (`host:port`; port 0 for a free one).
    ///
    /// # Errors
    ///
    /// The address does not resolve or cannot be listened at.
    pub async fn bind(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Ok(Self { listener })
    }

    /// The address that it listens at.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[async_trait]
impl Network for AsyncIoTcp {
    async fn connect(&self, _: NodeId, address: &str) -> io::Result<BoxStream> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    async fn accept(&self) -> io::Result<Incoming> {
        let (stream, remote) = self.listener.accept().await?;
        stream.set_nodelay(true)?;
        Ok(Incoming {
            stream: Box::new(stream),
            remote: remote.to_string(),
        })
    }
}
