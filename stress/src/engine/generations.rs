//! Which generations of the model have backends that keep their word.

/// Of each generation that a request may still be of.
#[derive(Debug)]
pub(super) struct Generations {
    /// The number of the oldest of them.
    first: u64,
    sound: Vec<bool>,
}

impl Generations {
    /// The first one is number 0.
    pub(super) fn new(is_sound: bool) -> Self {
        Self { first: 0, sound: vec![is_sound] }
    }

    /// The next one.
    pub(super) fn push(&mut self, is_sound: bool) {
        self.sound.push(is_sound);
    }

    /// Whether its backends keep their word. So must those of one that no request can be of.
    pub(super) fn is_sound(&self, generation: u64) -> bool {
        let at = generation.checked_sub(self.first);
        at.and_then(|at| self.sound.get(at as usize).copied()).unwrap_or(true)
    }

    /// Forgets all but the last: no request is left of an earlier one.
    pub(super) fn settle(&mut self) {
        let old = self.sound.len() - 1;
        self.sound.drain(..old);
        self.first += old as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_keep_their_numbers_when_old_ones_are_forgotten() {
        let mut generations = Generations::new(false);
        generations.push(true);
        generations.push(false);
        let sound = |generations: &Generations| [0, 1, 2, 3].map(|at| generations.is_sound(at));
        assert_eq!(sound(&generations), [false, true, false, true]);
        generations.settle();
        assert_eq!(sound(&generations), [true, true, false, true]);
        generations.push(false);
        assert_eq!(sound(&generations), [true, true, false, false]);
        assert_eq!(generations.sound.len(), 2);
    }
}
