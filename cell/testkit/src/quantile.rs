/// The number below which a part `q` of the others lie; infinite, if there are none.
pub fn quantile(of: &[f64], q: f64) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::INFINITY)
}
