//! A loopback address that belongs to one bed.
//!
//! Ports alone would not do: one that is free now may be taken before the program that shall have
//! it has started. All of 127.0.0.0/8 is loopback, so every bed claims an address instead, and the
//! ports on it are its own.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;

/// Listening here claims the address. The kernel gives it up however the owner dies.
const CLAIM_PORT: u16 = 6400;
const ATTEMPTS: usize = 50;

/// A claimed address.
#[derive(Debug)]
pub(crate) struct Address {
    ip: Ipv4Addr,
    taken: Mutex<BTreeSet<u16>>,
    _claim: TcpListener,
}

impl Address {
    /// Claims an address that no other bed has.
    pub(crate) fn claim() -> anyhow::Result<Self> {
        let mut refusal = None;
        for _ in 0..ATTEMPTS {
            // Below 240, where the simulated pods and nodes begin.
            let ip = Ipv4Addr::new(
                127,
                rand::random_range(128..240),
                rand::random(),
                rand::random_range(1..255),
            );
            match TcpListener::bind((ip, CLAIM_PORT)) {
                Ok(claim) => {
                    return Ok(Self {
                        ip,
                        taken: Mutex::default(),
                        _claim: claim,
                    });
                }
                Err(error) => refusal = Some(error),
            }
        }
        Err(anyhow::anyhow!("{refusal:?}")).context(
            "cannot listen on any address of 127.0.0.0/8; the test bed needs the loopback \
             interface, and port 6400 not taken on all addresses",
        )
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    /// Returns the address that Kubernetes is told, since it refuses loopback addresses in Endpoints.
    pub(crate) fn advertised(&self) -> Ipv4Addr {
        let [_, second, third, fourth] = self.ip.octets();
        Ipv4Addr::new(10, second, third, fourth)
    }

    /// Returns a port of this address that it has not returned before.
    pub(crate) fn free_port(&self) -> anyhow::Result<SocketAddr> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..ATTEMPTS {
            let listener = TcpListener::bind((self.ip, 0))
                .and_then(|listener| listener.local_addr())
                .with_context(|| format!("no free port on {}", self.ip))?;
            if taken.insert(listener.port()) {
                return Ok(listener);
            }
        }
        anyhow::bail!("no port on {} that is not in use", self.ip)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_and_ports_are_never_shared() {
        let first = Address::claim().unwrap();
        let second = Address::claim().unwrap();
        assert_ne!(first.ip(), second.ip());
        let ports: Vec<_> = (0..50).map(|_| first.free_port().unwrap()).collect();
        let mut unique = ports.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ports.len());
    }

    #[test]
    fn the_advertised_address_is_no_loopback_address() {
        let address = Address::claim().unwrap();
        assert_eq!(address.advertised().octets()[0], 10);
        assert_eq!(
            address.advertised().octets()[1..],
            address.ip().octets()[1..]
        );
    }
}
