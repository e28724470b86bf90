//! One request to an admin socket, and its answer.

use std::path::Path;

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

/// Octets of an answer: a hundred thousand sessions.
const MOST_ANSWER: usize = 128 * 1024 * 1024;
/// For whom a process of the gateway asks.
pub(crate) const ON_BEHALF: &str = "socksd-on-behalf-of";

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Sends the request, in somebody's name if that is not one's own.
pub(crate) async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    who: Option<&str>,
) -> Result<(StatusCode, Bytes), Failure> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    if let Some(who) = who {
        request = request.header(ON_BEHALF, who);
    }
    let request = request.body(Empty::<Bytes>::new())?;
    let talk = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_ANSWER).collect().await?;
        Ok((status, body.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(talk);
    tokio::select! {
        answered = &mut talk => answered,
        ended = &mut connection => {
            ended?;
            talk.await
        }
    }
}
