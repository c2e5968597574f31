//! The counted entries of a snapshot's summary.

use std::collections::HashMap;

use iceberg::spec::{DataContentType, DataFile, Summary};

/// Counts of files, rows and bytes: what this commit added and removed, and what there was before.
/// A total the parent does not state is unknown, and an unknown total is left out, never guessed.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    data_files: Count,
    delete_files: Count,
    records: Count,
    bytes: Count,
    position_deletes: Count,
    equality_deletes: Count,
}

#[derive(Debug, Default)]
struct Count {
    before: Option<u64>,
    added: u64,
    removed: u64,
}

impl Count {
    fn after(parent: Option<&Summary>, name: &str) -> Self {
        let before = match parent {
            None => Some(0),
            Some(summary) => summary.additional_properties.get(name).and_then(|value| value.parse().ok()),
        };
        Self { before, added: 0, removed: 0 }
    }

    fn write(&self, summary: &mut HashMap<String, String>, total: &str, added: &str, removed: &str) {
        for (name, value) in [(added, self.added), (removed, self.removed)] {
            if value > 0 {
                summary.insert(name.to_owned(), value.to_string());
            } else {
                summary.remove(name);
            }
        }
        match self.before.and_then(|before| (before + self.added).checked_sub(self.removed)) {
            Some(value) => summary.insert(total.to_owned(), value.to_string()),
            None => summary.remove(total),
        };
    }
}

impl Totals {
    pub(crate) fn after(parent: Option<&Summary>) -> Self {
        Self {
            data_files: Count::after(parent, "total-data-files"),
            delete_files: Count::after(parent, "total-delete-files"),
            records: Count::after(parent, "total-records"),
            bytes: Count::after(parent, "total-files-size"),
            position_deletes: Count::after(parent, "total-position-deletes"),
            equality_deletes: Count::after(parent, "total-equality-deletes"),
        }
    }

    pub(crate) fn add(&mut self, file: &DataFile) {
        self.bytes.added += file.file_size_in_bytes();
        self.data_files.added += 1;
        self.records.added += file.record_count();
    }

    pub(crate) fn remove(&mut self, file: &DataFile) {
        self.bytes.removed += file.file_size_in_bytes();
        let rows = file.record_count();
        match file.content_type() {
            DataContentType::Data => {
                self.data_files.removed += 1;
                self.records.removed += rows;
            }
            DataContentType::PositionDeletes => {
                self.delete_files.removed += 1;
                self.position_deletes.removed += rows;
            }
            DataContentType::EqualityDeletes => {
                self.delete_files.removed += 1;
                self.equality_deletes.removed += rows;
            }
        }
    }

    /// Everything that was there is removed, so totals are known again whatever the parent said.
    pub(crate) fn emptied(&mut self) {
        for count in [
            &mut self.data_files,
            &mut self.delete_files,
            &mut self.records,
            &mut self.bytes,
            &mut self.position_deletes,
            &mut self.equality_deletes,
        ] {
            count.before = Some(count.removed);
        }
    }

    pub(crate) fn write(&self, summary: &mut HashMap<String, String>) {
        self.data_files.write(summary, "total-data-files", "added-data-files", "deleted-data-files");
        self.delete_files.write(summary, "total-delete-files", "added-delete-files", "removed-delete-files");
        self.records.write(summary, "total-records", "added-records", "deleted-records");
        self.bytes.write(summary, "total-files-size", "added-files-size", "removed-files-size");
        self.position_deletes.write(
            summary,
            "total-position-deletes",
            "added-position-deletes",
            "removed-position-deletes",
        );
        self.equality_deletes.write(
            summary,
            "total-equality-deletes",
            "added-equality-deletes",
            "removed-equality-deletes",
        );
    }
}
