//! One HTTP GET on a connection of its own, for probes and for the load generator.
//!
//! It keeps no connections and follows no redirects: a new connection sees at once that a server is
//! gone, which is what both callers want to find out.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An answer is read up to here; what follows cannot matter to a probe or a client that counts.
const LONGEST_ANSWER: usize = 1 << 20;

/// What is asked of whom.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub address: SocketAddr,
    pub path: &'a str,
    pub user_agent: &'a str,
    /// Complete header lines, each ending in CR and LF.
    pub headers: &'a str,
}

/// Asks, reads the whole answer, and returns its status code.
///
/// # Errors
///
/// When the connection is refused, reset, or closed before a complete answer. The caller sets the
/// time limit.
pub async fn get(request: Request<'_>) -> io::Result<u16> {
    let mut stream = TcpStream::connect(request.address).await?;
    stream.set_nodelay(true)?;
    let text = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nAccept: */*\r\nConnection: close\r\n{}\r\n",
        request.path, request.address, request.user_agent, request.headers
    );
    stream.write_all(text.as_bytes()).await?;

    let mut answer = Vec::with_capacity(512);
    let mut chunk = [0_u8; 2048];
    loop {
        let count = stream.read(&mut chunk).await?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&chunk[..count]);
        if answer.len() > LONGEST_ANSWER {
            break;
        }
    }
    status_code(&answer).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "connection closed before a complete answer",
        )
    })
}

/// Reads the status code, provided that the answer's head and announced body are complete.
fn status_code(answer: &[u8]) -> Option<u16> {
    let end_of_head = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end_of_head]).ok()?;
    let body_length = answer.len() - end_of_head - 4;
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length")
            .then(|| value.trim().parse::<usize>().ok())?
    });
    if announced.is_some_and(|announced| body_length < announced) {
        return None;
    }
    head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complete_answer_has_a_status() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno";
        assert_eq!(status_code(answer), Some(503));
    }

    #[test]
    fn a_body_cut_short_is_no_answer() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nno";
        assert_eq!(status_code(answer), None);
    }

    #[test]
    fn a_head_cut_short_is_no_answer() {
        assert_eq!(status_code(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
