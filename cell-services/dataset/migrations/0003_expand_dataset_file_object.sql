-- Where the file lies below its transaction's folder. Every upload has an object of its own, so that
-- a second upload of a path never changes bytes that a commit is reading. Null: at its path.
alter table dataset_file add column object text;
