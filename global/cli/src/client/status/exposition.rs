//! Reads OpenMetrics text: just enough to add series up and to take a quantile.

use std::collections::BTreeMap;

/// The series of one or more processes.
#[derive(Debug, Default)]
pub struct Exposition(Vec<(String, BTreeMap<String, String>, f64)>);

impl Exposition {
    /// Takes one process's text in. Lines that are not understood are passed over: they are not ours.
    pub fn read(&mut self, text: &str) {
        self.0.extend(text.lines().filter_map(line));
    }

    fn series<'a>(&'a self, name: &'a str) -> impl Iterator<Item = (&'a BTreeMap<String, String>, f64)> {
        self.0.iter().filter(move |(known, ..)| known == name).map(|(_, labels, value)| (labels, *value))
    }

    /// Sum of the series that `wanted` takes by its labels; `None` if there is none.
    pub fn sum(&self, name: &str, wanted: impl Fn(&BTreeMap<String, String>) -> bool) -> Option<f64> {
        let values = self.series(name).filter(|(labels, _)| wanted(labels)).map(|(_, value)| value);
        values.fold(None, |sum, value| Some(sum.unwrap_or(0.0) + value))
    }

    pub fn greatest(&self, name: &str) -> Option<f64> {
        self.series(name).map(|(_, value)| value).reduce(f64::max)
    }

    /// Values of one label over all series of a name.
    pub fn labels(&self, name: &str, label: &str) -> Vec<String> {
        self.series(name).filter_map(|(labels, _)| labels.get(label).cloned()).collect()
    }

    /// The quantile of a histogram since its processes started, interpolated in its bucket; `None` without an
    /// observation.
    pub fn quantile(&self, name: &str, q: f64) -> Option<f64> {
        self.quantile_of(name, q, |_| true)
    }

    /// The same over the series that `wanted` takes by its labels.
    pub fn quantile_of(&self, name: &str, q: f64, wanted: impl Fn(&BTreeMap<String, String>) -> bool) -> Option<f64> {
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (labels, count) in self.series(&format!("{name}_bucket")).filter(|(labels, _)| wanted(labels)) {
            let end = labels.get("le")?.parse().ok()?;
            match buckets.iter_mut().find(|(known, _)| *known == end) {
                Some((_, sum)) => *sum += count,
                None => buckets.push((end, count)),
            }
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let all = buckets.last().map(|(_, count)| *count).filter(|all| *all > 0.0)?;
        let (mut start, mut before) = (0.0, 0.0);
        for (end, count) in buckets {
            if count >= q * all {
                let part = if count > before { (q * all - before) / (count - before) } else { 1.0 };
                // The last bucket has no end.
                return Some(if end.is_finite() { start + part * (end - start) } else { start });
            }
            (start, before) = (end, count);
        }
        None
    }
}

fn line(text: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    if text.starts_with('#') {
        return None;
    }
    let (series, value) = match text.split_once("} ") {
        Some((series, value)) => (series, value),
        None => text.split_once(' ')?,
    };
    let value = value.split(' ').next()?.parse().ok()?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some((name.to_owned(), pairs(labels), value))
}

/// Our own label values hold no quote and no comma.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.trim_matches('"').to_owned()));
    text.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x y\nrows_total{a=\"1\",b=\"x\"} 3\nrows_total{a=\"2\"} 4\nplain 2.5\n\
        t_bucket{le=\"1.0\"} 50\nt_bucket{le=\"2.0\"} 90\nt_bucket{le=\"+Inf\"} 100\n# EOF\n";

    fn read() -> Exposition {
        let mut exposition = Exposition::default();
        exposition.read(TEXT);
        exposition
    }

    #[test]
    fn series_are_added_up_by_name_and_label() {
        let exposition = read();
        assert_eq!(exposition.sum("rows_total", |_| true), Some(7.0));
        assert_eq!(exposition.sum("rows_total", |labels| labels.get("a").is_some_and(|a| a == "2")), Some(4.0));
        assert_eq!((exposition.sum("plain", |_| true), exposition.sum("absent", |_| true)), (Some(2.5), None));
        assert_eq!(exposition.labels("rows_total", "a"), ["1", "2"]);
    }

    #[test]
    fn a_quantile_lies_in_its_bucket() {
        let exposition = read();
        assert_eq!(exposition.quantile("t", 0.25), Some(0.5));
        assert_eq!(exposition.quantile("t", 0.7), Some(1.5));
        assert_eq!(exposition.quantile("t", 0.99), Some(2.0));
        assert_eq!(exposition.quantile("absent", 0.5), None);
        assert_eq!(exposition.quantile_of("t", 0.25, |labels| labels.get("event").is_some()), None);
    }
}
