//! One connection over standard input and output, as ssh's `ProxyCommand` wants it.

use std::fs::File;
use std::io;

use socks_client::{Client, Connection, Target};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{Exit, fail};

/// Octets moved at a time.
const BUFFER: usize = 64 * 1024;

/// Connects and carries until both sides have ended.
pub(crate) async fn run(client: &Client, target: Target) -> Result<Exit, Exit> {
    let shown = target.to_string();
    let connection = client.connect(target).await.map_err(|error| fail(Exit::Unavailable, error))?;
    let local = Local { input: tokio::io::stdin(), output: tokio::io::stdout(), end_output: close_stdout };
    match carry(connection, local).await {
        Ok(()) => Ok(Exit::Done),
        Err(error) => Err(fail(Exit::Unavailable, format_args!("connection to `{shown}`: {error}"))),
    }
}

/// The local side of the connection.
struct Local<R, W, F> {
    input: R,
    output: W,
    /// Ends the output in a way that whoever reads it sees.
    end_output: F,
}

/// Carries octets both ways; an end passes through, and the other way goes on.
async fn carry<R, W, F>(connection: Connection, local: Local<R, W, F>) -> io::Result<()>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
    F: FnOnce() -> io::Result<()>,
{
    let Local { mut input, mut output, end_output } = local;
    let (mut from_gateway, mut to_gateway) = tokio::io::split(connection);
    let down = async {
        pump(&mut from_gateway, &mut output).await?;
        output.shutdown().await?;
        end_output()
    };
    let up = async {
        pump(&mut input, &mut to_gateway).await?;
        to_gateway.shutdown().await
    };
    tokio::pin!(down, up);
    tokio::select! {
        done = &mut down => {
            done?;
            // The target has said everything. Whether it still listens is the target's business.
            let _ = up.await;
            Ok(())
        }
        done = &mut up => {
            done?;
            down.await
        }
    }
}

/// Moves octets until the end; each reading is passed on at once.
async fn pump(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(buffer.get(..read).unwrap_or_default()).await?;
        to.flush().await?;
    }
}

/// Ends standard output: a pipe is closed, and one half of a socket too.
fn close_stdout() -> io::Result<()> {
    // Fails for what is no socket, and needs no more then than to be closed.
    let _ = rustix::net::shutdown(rustix::stdio::stdout(), rustix::net::Shutdown::Write);
    // The descriptor itself stays in use, so that nothing else opened by this process becomes standard output.
    Ok(rustix::stdio::dup2_stdout(File::options().write(true).open("/dev/null")?)?)
}

#[cfg(test)]
mod tests;
