//! The nearest rows found so far, of each row of a block.

/// Sorted lists of bounded length: squared distance and row number. Ties are sorted by row number, so that a list's content does not
/// depend on the order of insertion.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lists {
    most: usize,
    within: f64,
    /// `most` places for each row, of which `lengths` are filled.
    entries: Vec<(f64, u32)>,
    lengths: Vec<u32>,
    /// For each row, a float32 number that is at least the squared distance of the farthest row that it would take.
    limits: Vec<f32>,
}

impl Lists {
    /// Starts with empty lists, which take `most` rows each that are no farther than the squared distance `within`.
    pub(crate) fn new(rows: usize, most: usize, within: f64) -> Self {
        Self {
            most,
            within,
            entries: vec![(0.0, 0); rows * most],
            lengths: vec![0; rows],
            limits: vec![rounded_up(within); rows],
        }
    }

    /// The length of a full list.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    pub(crate) fn get(&self, row: usize) -> &[(f64, u32)] {
        match self.lengths.get(row) {
            Some(length) => &self.entries[row * self.most..][..*length as usize],
            None => &[],
        }
    }

    pub(crate) fn limits(&self) -> &[f32] {
        &self.limits
    }

    pub(crate) fn limit(&self, row: usize) -> f32 {
        self.limits[row]
    }

    /// Whether `other` may belong into the row's list, if its squared distance is at least `bound`.
    pub(crate) fn may_take(&self, row: usize, bound: f32, other: u32) -> bool {
        // Without the second test, every pair of many equal rows would be computed again.
        bound <= self.limits[row] && !self.last(row).is_some_and(|last| last <= (0.0, other))
    }

    /// Inserts a row, unless the list has it, or is full of nearer ones.
    pub(crate) fn insert(&mut self, row: usize, squared: f64, other: u32) {
        let entry = (squared, other);
        if squared > self.within || self.last(row).is_some_and(|last| last <= entry) {
            return;
        }
        let length = self.lengths[row] as usize;
        let list = &mut self.entries[row * self.most..][..self.most];
        let place = list[..length].partition_point(|known| *known < entry);
        if list[..length].get(place) == Some(&entry) {
            return;
        }
        let kept = length.min(self.most - 1);
        list.copy_within(place..kept, place + 1);
        list[place] = entry;
        self.lengths[row] = kept as u32 + 1;
        if let Some((squared, _)) = self.last(row) {
            self.limits[row] = rounded_up(squared);
        }
    }

    /// The last entry of a full list.
    fn last(&self, row: usize) -> Option<(f64, u32)> {
        let list = self.get(row);
        (list.len() == self.most).then(|| list.last().copied())?
    }
}

/// A float32 number that is not below `number`.
pub(crate) fn rounded_up(number: f64) -> f32 {
    (number as f32).next_up()
}
