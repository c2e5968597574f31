//! A bounded map of what was asked for lately. Two halves: when the young one is full it becomes the old one, and
//! what nobody asked for since is forgotten with the old.

use std::collections::HashMap;

#[derive(Debug)]
pub struct Lately<V> {
    young: HashMap<Box<str>, V>,
    old: HashMap<Box<str>, V>,
    /// Of each half.
    most: usize,
}

impl<V: Clone> Lately<V> {
    /// Holds at most twice `most`.
    pub fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), most }
    }

    pub fn get(&mut self, name: &str) -> Option<V> {
        if let Some(found) = self.young.get(name) {
            return Some(found.clone());
        }
        let (name, found) = self.old.remove_entry(name)?;
        self.put(name, found.clone());
        Some(found)
    }

    pub fn put(&mut self, name: Box<str>, value: V) {
        if self.young.len() >= self.most && !self.young.contains_key(&name) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, value);
    }

    pub fn remove(&mut self, name: &str) {
        self.young.remove(name);
        self.old.remove(name);
    }

    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let mut lately = Lately::new(100);
        lately.put("used".into(), 0);
        for number in 1..10_000 {
            lately.put(format!("name-{number}").into(), number);
            assert_eq!(lately.get("used"), Some(0), "{number}");
        }
        assert!((100..=200).contains(&lately.len()), "{}", lately.len());
        assert_eq!(lately.get("name-1"), None);
        assert_eq!(lately.get("name-9999"), Some(9_999));
        lately.remove("used");
        assert_eq!(lately.get("used"), None);
    }
}
