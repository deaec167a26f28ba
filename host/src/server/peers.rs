//! Connections by where they come from: nobody takes all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The network's part of an IPv6 address: whoever has one address has all of these.
const NETWORK: u128 = u128::MAX << 64;

/// How many connections each address has.
pub(super) struct Peers {
    limit: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// A connection; given back when it is dropped.
pub(super) struct Seat {
    of: Arc<Peers>,
    from: IpAddr,
}

impl Peers {
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, counts: Mutex::default() })
    }

    /// `None` if there are as many from there as may be.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let from = network(address);
        let mut counts = self.lock();
        let count = counts.entry(from).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(Seat { of: Arc::clone(self), from })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nobody panics with it in the middle of a change.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.of.lock();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// An IPv4 address, whatever it is wrapped in; of an IPv6 address its network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & NETWORK).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_as_many_as_it_may() {
        let peers = Peers::new(2);
        let admit = |address: &str| peers.admit(address.parse().unwrap());
        let first = admit("192.0.2.1").unwrap();
        let second = admit("::ffff:192.0.2.1").unwrap();
        assert!(admit("192.0.2.1").is_none());
        let others = [admit("192.0.2.2"), admit("2001:db8::1"), admit("2001:db8::2:1")];
        assert!(others.iter().all(Option::is_some));
        assert!(admit("2001:db8::3").is_none() && admit("2001:db8:0:1::3").is_some());
        drop(second);
        let third = admit("192.0.2.1");
        assert!(third.is_some() && admit("192.0.2.1").is_none());
        drop((first, third, others));
        assert!(peers.lock().is_empty());
    }
}
