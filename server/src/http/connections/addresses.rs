//! Limits the connections of each address, so that one client cannot take all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The open connections by address; clones share the counts.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    limit: usize,
}

impl Addresses {
    /// Allows `limit` connections to each address.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            open: Arc::default(),
            limit,
        }
    }

    /// Counts a connection until the slot is dropped. Returns `None` if the address is at its limit.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Slot> {
        let address = network(address);
        let mut open = self.lock();
        let count = open.entry(address).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Slot {
            addresses: self.clone(),
            address,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // No code under the lock leaves the counts half-changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address that counts for a client. IPv6 addresses are reduced to their /64 network, because a client may use all of it.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

/// A counted connection.
#[derive(Debug)]
pub(crate) struct Slot {
    addresses: Addresses,
    address: IpAddr,
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.addresses.lock();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn each_address_has_its_own_slots_and_releases_them() {
        let addresses = Addresses::new(2);
        let [a, b] = [1, 2].map(|n| IpAddr::from(Ipv4Addr::new(10, 0, 0, n)));
        let first = addresses.take(a);
        let second = addresses.take(a);
        assert!(first.is_some() && second.is_some());
        assert!(addresses.take(a).is_none());
        assert!(addresses.take(b).is_some());
        drop(first);
        assert!(addresses.take(a).is_some());
        drop(second);
        assert!(addresses.lock().is_empty());
    }
}
