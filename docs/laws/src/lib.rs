//! The architecture's laws, as tests. Each file is one law; a red test names the line that breaks it.

#[cfg(test)]
mod arrow;
#[cfg(test)]
mod bundle;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod floors;
#[cfg(test)]
mod lengths;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod names;
#[cfg(test)]
mod panics;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod sql;
#[cfg(test)]
mod tests_are_honest;
#[cfg(test)]
mod tree;
