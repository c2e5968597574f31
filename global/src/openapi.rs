//! One document for everything clients may reach.

use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi};

pub fn document() -> OpenApi {
    let mut document = identity::openapi();
    document.merge(tenancy::openapi());
    document.info = InfoBuilder::new()
        .title("Cytoplane global plane")
        .description(Some("Sign-in, accounts, organisations, tenants, cells and contracts."))
        .version(env!("CARGO_PKG_VERSION"))
        .build();
    let components = document.components.get_or_insert_with(|| ComponentsBuilder::new().build());
    components
        .security_schemes
        .insert("bearer".to_owned(), SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)).into());
    document.security = Some(vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    document
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::document;

    #[test]
    fn every_family_of_paths_is_described() {
        let paths = document().paths.paths;
        for path in
            ["/oauth2/token", "/api/v1/users", "/api/v1/tenants/{tenant}", "/api/v1/tenants/{tenant}/members/{subject}"]
        {
            assert!(paths.contains_key(path), "{path}");
        }
        assert!(paths.keys().all(|p| !p.starts_with("/internal")));
    }

    /// `docs/api/global.json` is what clients were promised. `CYTO_BLESS=1` writes it anew.
    #[test]
    fn the_openapi_document_is_the_blessed_one() {
        let now = document().to_pretty_json().unwrap() + "\n";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/api/global.json");
        if std::env::var_os("CYTO_BLESS").is_some() {
            std::fs::write(&path, &now).unwrap();
        }
        let blessed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(blessed == now, "the OpenAPI document changed; bless it and read the difference");
    }
}
