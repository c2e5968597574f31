//! Names of datasets and of files inside a transaction.

/// Why a name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error(
        "a dataset's name is 1 to 63 characters of a-z, 0-9 and '_', and begins with a letter: it is also the name of its table"
    )]
    Dataset,
    #[error(
        "a file's path is 1 to 200 characters of A-Z, a-z, 0-9, '.', '_', '-' and '/', without empty, '.' or '..' parts"
    )]
    File,
}

/// The name is the table's name in SQL, so it needs no quotes there.
pub fn check_dataset(name: &str) -> Result<(), NameError> {
    let bytes = name.as_bytes();
    let sound = (1..=63).contains(&bytes.len())
        && bytes[0].is_ascii_lowercase()
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'_');
    if sound { Ok(()) } else { Err(NameError::Dataset) }
}

/// The path becomes part of an object's key.
pub fn check_file(path: &str) -> Result<(), NameError> {
    let sound = (1..=200).contains(&path.len())
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
        && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b));
    if sound { Ok(()) } else { Err(NameError::File) }
}
