//! Addresses of simulated pods and nodes.
//!
//! What the API server sees as 10.x.y.z is 127.x.y.z on this machine: the API server refuses
//! loopback addresses in endpoints, and loopback needs no set-up. The second octet differs from
//! test bed to test bed.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;

/// Second octets to choose from: clear of 10.96.0.0/12, where Services live, and of the addresses of
/// control planes, which end at 239.
const OCTETS: std::ops::Range<u8> = 240..255;

/// Third octets from here on belong to nodes, below it to pods.
const FIRST_NODE_BLOCK: u8 = 250;

/// Addresses below x.y.0.16 stay free: the reservation of the block is among them.
const FIRST_POD: u32 = 16;
const LAST_POD: u32 = ((FIRST_NODE_BLOCK as u32) << 8) - 1;

/// The port of the listener that marks a block as taken.
const RESERVATION_PORT: u16 = 10_255;

/// A block of addresses that belongs to this test bed alone, for as long as it lives.
#[derive(Debug)]
pub struct PodNetwork {
    octet: u8,
    next_pod: AtomicU32,
    in_use: Mutex<std::collections::HashSet<u32>>,
    _reservation: TcpListener,
}

impl PodNetwork {
    /// Takes a block that no other test bed on this machine holds.
    ///
    /// # Errors
    ///
    /// When every block is taken, or the machine has no loopback network.
    pub(crate) async fn reserve() -> anyhow::Result<Self> {
        let first: u8 = rand::random_range(OCTETS);
        let candidates = (first..OCTETS.end).chain(OCTETS.start..first);
        for octet in candidates {
            let address = (Ipv4Addr::new(127, octet, 0, 1), RESERVATION_PORT);
            if let Ok(reservation) = TcpListener::bind(address).await {
                return Ok(Self {
                    octet,
                    next_pod: AtomicU32::new(FIRST_POD),
                    in_use: Mutex::default(),
                    _reservation: reservation,
                });
            }
        }
        bail!("no free block of addresses in 127.240.0.0 to 127.254.255.255")
    }

    /// Gives a pod an address that has not been in use for as long as possible.
    pub(crate) fn claim(&self) -> anyhow::Result<PodAddress> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in FIRST_POD..=LAST_POD {
            let number = self.next_pod.fetch_add(1, Ordering::Relaxed);
            let number = FIRST_POD + (number - FIRST_POD) % (LAST_POD - FIRST_POD + 1);
            if in_use.insert(number) {
                let [_, _, high, low] = number.to_be_bytes();
                return Ok(PodAddress(Ipv4Addr::new(10, self.octet, high, low)));
            }
        }
        Err(anyhow::anyhow!("{} addresses in use", in_use.len()))
            .context("no address left for a pod")
    }

    pub(crate) fn release(&self, address: PodAddress) {
        let [_, _, high, low] = address.0.octets();
        let number = u32::from_be_bytes([0, 0, high, low]);
        self.in_use
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&number);
    }

    /// Returns the address of the node of this number, counted from one.
    pub(crate) fn node(&self, number: u16) -> PodAddress {
        let [high, low] = number.to_be_bytes();
        PodAddress(Ipv4Addr::new(
            10,
            self.octet,
            FIRST_NODE_BLOCK + (high & 3),
            low,
        ))
    }
}

impl fmt::Display for PodNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "10.{}.0.0/16", self.octet)
    }
}

/// An address as the API server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress(pub Ipv4Addr);

impl PodAddress {
    /// Returns where this address is served on this machine.
    #[must_use]
    pub fn loopback(self) -> Ipv4Addr {
        let [_, second, third, fourth] = self.0.octets();
        Ipv4Addr::new(127, second, third, fourth)
    }

    /// Returns where a port of this address is served on this machine.
    #[must_use]
    pub fn socket(self, port: u16) -> SocketAddr {
        (self.loopback(), port).into()
    }
}

impl fmt::Display for PodAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_beds_never_share_a_block() {
        let (one, other) = (
            PodNetwork::reserve().await.unwrap(),
            PodNetwork::reserve().await.unwrap(),
        );
        assert_ne!(one.to_string(), other.to_string());
    }

    #[tokio::test]
    async fn a_released_address_is_not_the_next_one() {
        let network = PodNetwork::reserve().await.unwrap();
        let first = network.claim().unwrap();
        network.release(first);
        assert_ne!(network.claim().unwrap(), first);
    }

    #[tokio::test]
    async fn pods_and_nodes_never_meet() {
        let network = PodNetwork::reserve().await.unwrap();
        let pods: std::collections::HashSet<_> = (FIRST_POD..=LAST_POD)
            .map(|_| network.claim().unwrap().0)
            .collect();
        assert!(network.claim().is_err());
        assert!(!pods.contains(&network.node(1).0));
        assert!(!pods.contains(&network.node(1000).0));
    }
}
