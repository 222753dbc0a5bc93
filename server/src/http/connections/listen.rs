//! The listening socket.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// The connections that may wait to be accepted; the system may allow fewer. With the standard library's 128, the 129th of
/// many simultaneous connections is retried only a second later.
const BACKLOG: i32 = 4096;

/// Opens the listening socket.
///
/// # Errors
/// The address is in use, or is not one of this machine.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // A restarted server can use its port while old connections still time out there.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
