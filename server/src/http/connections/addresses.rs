//! Counts the connections of each address, so that one client cannot take all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections that are open, by address; clones share the counts.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

impl Addresses {
    /// Allows so many connections to each address.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            open: Arc::default(),
            most,
        }
    }

    /// Counts a connection for as long as the slot lives; `None` if the address has all that it may have.
    pub(crate) fn take(&self, address: IpAddr) -> Option<Slot> {
        let address = network(address);
        let mut open = self.lock();
        let count = open.entry(address).or_default();
        if *count >= self.most {
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
        // Nothing under the lock leaves the counts half-changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts as one address: an IPv6 client has 64 bits of its own to choose from.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) >> 64 << 64)),
        v4 => v4,
    }
}

/// A connection that is counted.
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
    fn each_address_has_slots_of_its_own_and_gives_them_back() {
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
