//! Places for answers that take long: so many in all, and so many for one identity.
//!
//! A place is given back when it is dropped. Nobody waits for one: who finds none is told to come back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::problem::{Problem, ProblemKind};

/// When to try again, in seconds.
const RETRY_AFTER_SECONDS: u64 = 5;

/// The places of one kind; clones share them.
#[derive(Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    most: usize,
    most_of_one: usize,
}

/// A place that was taken.
pub(super) struct Place {
    places: Places,
    owner: String,
}

impl Places {
    pub(super) fn new(most: usize, most_of_one: usize) -> Places {
        Places { taken: Arc::default(), most, most_of_one }
    }

    /// Takes a place for `owner`.
    pub(super) fn take(&self, owner: String) -> Result<Place, Problem> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = taken.values().sum();
        let own = taken.get(&owner).copied().unwrap_or_default();
        if all >= self.most || own >= self.most_of_one {
            let detail = format!(
                "There are at most {} of these at one time, and {} for one user or token.",
                self.most, self.most_of_one
            );
            return Err(Problem::new(ProblemKind::Busy, detail).retry_after(RETRY_AFTER_SECONDS));
        }
        taken.insert(owner.clone(), own + 1);
        drop(taken);
        Ok(Place { places: self.clone(), owner })
    }
}

impl Place {
    /// For whom it was taken.
    pub(super) fn owner(&self) -> &str {
        &self.owner
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.owner) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(taken.remove(&self.owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_for_one_and_come_back() {
        let places = Places::new(3, 2);
        let take = |who: &str| places.take(who.to_owned());
        let (a, b) = (take("a").unwrap(), take("a").unwrap());
        assert!(take("a").is_err(), "one has two at the most");
        let c = take("b").unwrap();
        assert!(take("c").is_err(), "there are three in all");
        drop(a);
        assert!(take("a").is_ok());
        drop((b, c));
        assert!(places.taken.lock().unwrap().is_empty(), "nothing is left behind");
    }
}
