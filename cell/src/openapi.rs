//! The services' OpenAPI documents.

use serde_json::{Map, Value};

use crate::services;

/// One document by service name.
pub fn documents() -> Result<Map<String, Value>, serde_json::Error> {
    let document = |service: Box<dyn kit::service::Service>| {
        Ok((service.declaration().name.to_owned(), serde_json::to_value(service.openapi())?))
    };
    services::all().into_iter().map(document).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// `docs/api/<service>.json` is what clients were promised. `CYTO_BLESS=1` writes it anew.
    #[test]
    fn the_openapi_documents_are_the_blessed_ones() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api");
        let bless = std::env::var_os("CYTO_BLESS").is_some();
        for (service, document) in super::documents().unwrap() {
            let now = serde_json::to_string_pretty(&document).unwrap() + "\n";
            let path = folder.join(format!("{service}.json"));
            if bless {
                std::fs::write(&path, &now).unwrap();
            }
            let blessed = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(blessed == now, "{service}: its OpenAPI document changed; bless it and read the difference");
        }
    }
}
