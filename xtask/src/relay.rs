//! A slow link: relays TCP on the loopback with a one-way delay and, if asked,
//! a bandwidth cap. In order, both ways at once, with bounded buffers. Stands
//! in for the kernel's netem, which not every kernel has; knows no protocol.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// The most that one read takes, in bytes.
const CHUNK: usize = 16 << 10;

/// How many chunks may be under way in one direction of one connection.
const CHUNKS_UNDER_WAY: usize = 1024;

/// What a link is like, each way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// From one end to the other; half the round trip.
    pub(crate) delay: Duration,
    /// Of one connection; no cap if absent.
    pub(crate) bytes_per_second: Option<u64>,
}

impl Link {
    /// A link with this round trip and no cap.
    pub(crate) fn round_trip(round_trip: Duration) -> Self {
        Self {
            delay: round_trip / 2,
            bytes_per_second: None,
        }
    }
}

/// A running relay. Dropping it refuses new connections; those it has end with
/// their ends.
pub(crate) struct Relay {
    address: SocketAddr,
    relayed: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
}

impl Relay {
    /// Starts to relay from a free loopback port to `target`.
    pub(crate) fn start(target: SocketAddr, link: Link) -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot listen for a relay")?;
        let relay = Self {
            address: listener.local_addr().context("cannot listen for a relay")?,
            relayed: Arc::default(),
            closing: Arc::default(),
        };
        let relayed = Arc::clone(&relay.relayed);
        let closing = Arc::clone(&relay.closing);
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if closing.load(Ordering::Relaxed) {
                    break;
                }
                // A target that refuses is seen at the near end as a closed connection.
                if let Ok(far) = TcpStream::connect(target) {
                    let _ = join(&near, &far, link, &relayed);
                }
            }
        });
        Ok(relay)
    }

    /// Where to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many bytes it has delivered, both ways together.
    pub(crate) fn relayed(&self) -> u64 {
        self.relayed.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Relaxed);
        // Wakes the listening thread, which then sees that it is to end.
        let _ = TcpStream::connect(self.address);
    }
}

fn join(
    near: &TcpStream,
    far: &TcpStream,
    link: Link,
    relayed: &Arc<AtomicU64>,
) -> std::io::Result<()> {
    for (from, to) in [(near, far), (far, near)] {
        from.set_nodelay(true)?;
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let (sender, receiver) = sync_channel(CHUNKS_UNDER_WAY);
        let relayed = Arc::clone(relayed);
        thread::spawn(move || take(from, &sender));
        thread::spawn(move || deliver(to, &receiver, link, &relayed));
    }
    Ok(())
}

/// Bytes and when they were sent.
type Chunk = (Instant, Vec<u8>);

fn take(mut from: TcpStream, sender: &SyncSender<Chunk>) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(count) = from.read(&mut buffer) {
        // An empty chunk carries the end, which takes as long as bytes do.
        if sender
            .send((Instant::now(), buffer[..count].to_vec()))
            .is_err()
            || count == 0
        {
            return;
        }
    }
}

fn deliver(mut to: TcpStream, receiver: &Receiver<Chunk>, link: Link, relayed: &AtomicU64) {
    let mut free_at = Instant::now();
    for (sent, bytes) in receiver {
        let mut due = sent + link.delay;
        if let Some(rate) = link.bytes_per_second {
            free_at = free_at.max(sent) + time_to_send(bytes.len(), rate);
            due = free_at + link.delay;
        }
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if bytes.is_empty() || to.write_all(&bytes).is_err() {
            break;
        }
        relayed.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn time_to_send(bytes: usize, per_second: u64) -> Duration {
    Duration::from_secs(1).mul_f64(bytes as f64 / per_second.max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut back = stream.try_clone().expect("a clone");
            std::io::copy(&mut stream, &mut back).expect("an echo");
            back.shutdown(Shutdown::Write).expect("an end");
        });
        address
    }

    #[test]
    fn bytes_come_back_in_order_after_a_round_trip_and_the_end_follows() {
        let round_trip = Duration::from_millis(40);
        let relay = Relay::start(echo(), Link::round_trip(round_trip)).expect("a relay");
        let mut stream = TcpStream::connect(relay.address()).expect("a connection");
        let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
        let started = Instant::now();
        let mut writer = stream.try_clone().expect("a clone");
        let content = sent.clone();
        let writing = thread::spawn(move || {
            writer.write_all(&content).expect("a write");
            writer.shutdown(Shutdown::Write).expect("an end");
        });
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("an echo");
        writing.join().expect("a writer");
        assert!(
            received == sent,
            "{} of {} bytes, or not those",
            received.len(),
            sent.len()
        );
        assert!(started.elapsed() >= round_trip);
    }

    #[test]
    fn a_cap_holds_bytes_back() {
        let link = Link {
            delay: Duration::ZERO,
            bytes_per_second: Some(1_000_000),
        };
        let relay = Relay::start(echo(), link).expect("a relay");
        let mut stream = TcpStream::connect(relay.address()).expect("a connection");
        let started = Instant::now();
        stream.write_all(&[7; 50_000]).expect("a write");
        stream.read_exact(&mut [0; 50_000]).expect("an echo");
        assert!(started.elapsed() >= Duration::from_millis(50));
    }
}
